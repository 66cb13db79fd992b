//! The first bytes of a connection: what is asked before a login, and what may be asked in it.

use sluicegate_tests::{
    Postgres,
    seed::SSN_PART,
    wire::{Message, Wire, code, errors_of, holds, message, rows_of, tags_of},
};

use crate::{masking_ssn, open};

#[test]
fn encryption_that_is_not_offered_is_declined_and_the_login_goes_on() {
    let (_database, gateway) = open();
    let mut wire = Wire::connect(gateway.port());
    for request in [code::GSS, code::SSL] {
        wire.send_packet(&request.to_be_bytes());
        assert_eq!(wire.read_byte(), b'N');
    }
    let alice = gateway.alice();
    wire.start_up(&alice, code::V3_0, &[]);
    assert_eq!(wire.read_until("RE")[0].body, 3u32.to_be_bytes());
    wire.password(&alice.password);
    assert_eq!(tags_of(&wire.read_until("Z")).chars().next(), Some('R'));
}

#[test]
fn a_client_that_asks_without_end_is_dropped() {
    let (_database, gateway) = open();
    let mut wire = Wire::connect(gateway.port());
    for _ in 0..2 {
        wire.send_packet(&code::SSL.to_be_bytes());
    }
    assert!(wire.is_closed_by_server());
}

#[test]
fn a_newer_protocol_is_negotiated_down() {
    let (_database, gateway) = open();
    let (mut wire, greeting) = Wire::login_with(&gateway.alice(), code::V3_2, &[("_pq_.unheard_of", "1")]);
    let negotiation = greeting.iter().find(|message| message.tag == 'v').expect("NegotiateProtocolVersion");
    assert!(
        negotiation.body.starts_with(&code::V3_0.to_be_bytes()) || negotiation.body.starts_with(&0u32.to_be_bytes())
    );
    assert!(negotiation.body.ends_with(b"_pq_.unheard_of\0"));
    assert_eq!(tags_of(&wire.query("SELECT 1")), "TDCZ");
}

#[test]
fn replication_is_refused() {
    let (_database, gateway) = open();
    for value in ["true", "database", "1", "on", "yes"] {
        let (mut wire, greeting) = Wire::login_with(&gateway.alice(), code::V3_0, &[("replication", value)]);
        assert_eq!(errors_of(&greeting).len(), 1, "replication={value}");
        assert!(wire.is_closed_by_server());
    }
    let (_, greeting) = Wire::login_with(&gateway.alice(), code::V3_0, &[("replication", "false")]);
    assert!(errors_of(&greeting).is_empty());
}

#[test]
fn options_of_a_login_are_the_settings_they_stand_for() {
    let (_database, gateway) = open();
    let options = [("options", "-c search_path=hr -c work_mem=7MB --DateStyle=German"), ("TimeZone", "Asia/Tokyo")];
    let (mut wire, _) = Wire::login_with(&gateway.alice(), code::V3_0, &options);
    let shown = wire.query("SELECT current_setting('search_path'), current_setting('work_mem'), current_setting('TimeZone'), date '2024-02-29'");
    let expected = ["hr", "7MB", "Asia/Tokyo", "29.02.2024"].map(|value| Some(value.to_owned()));
    assert_eq!(rows_of(&shown), [expected]);
}

#[test]
fn a_login_cannot_set_itself_past_a_mask() {
    let (_database, gateway) = masking_ssn();
    let attempts: [&[(&str, &str)]; 6] = [
        &[("options", "-c search_path=hr")],
        &[("search_path", "hr")],
        &[("options", "-c sluicegate.user=admin")],
        &[("sluicegate.user", "admin")],
        &[("options", "-c standard_conforming_strings=off")],
        &[("options", "-c role=postgres -c session_authorization=postgres")],
    ];
    for attempt in attempts {
        let (mut wire, greeting) = Wire::login_with(&gateway.alice(), code::V3_0, attempt);
        if errors_of(&greeting).is_empty() {
            for sql in ["SELECT ssn FROM people", "SELECT ssn || '' FROM public.customers", "SELECT ssn FROM hr.people"]
            {
                let answer = wire.query(sql);
                assert!(!holds(&answer, SSN_PART) && !holds(&answer, "22-3333"), "{attempt:?}: {sql}");
            }
            let who = rows_of(&wire.query("SELECT current_setting('sluicegate.user')"));
            assert_eq!(who, [[Some("alice".to_owned())]], "{attempt:?}");
        }
    }
}

#[test]
fn a_cancel_request_with_a_wrong_key_cancels_nothing() {
    let (_database, gateway) = open();
    let (mut wire, greeting) = Wire::login(&gateway.alice());
    let key =
        |messages: &[Message]| messages.iter().find(|message| message.tag == 'K').expect("BackendKeyData").body.clone();
    let mut wrong = key(&greeting);
    *wrong.last_mut().unwrap() ^= 1;
    wire.send('Q', b"SELECT pg_sleep(1)\0");
    let mut canceller = Wire::connect(gateway.port());
    canceller.send_packet(&[&code::CANCEL.to_be_bytes()[..], &wrong].concat());
    assert!(canceller.is_closed_by_server());
    assert_eq!(tags_of(&wire.read_until("Z")), "TDCZ");
    wire.send('Q', b"SELECT pg_sleep(30)\0");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut canceller = Wire::connect(gateway.port());
    canceller.send_packet(&[&code::CANCEL.to_be_bytes()[..], &key(&greeting)].concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["57014"]);
}

#[test]
fn the_key_to_cancel_is_not_the_targets_own() {
    let (_database, gateway) = open();
    let (mut wire, greeting) = Wire::login(&gateway.alice());
    let key = greeting.iter().find(|message| message.tag == 'K').unwrap().body.clone();
    wire.send('Q', b"SELECT pg_sleep(1)\0");
    let mut canceller = Wire::connect(_database.port());
    canceller.send_packet(&[&code::CANCEL.to_be_bytes()[..], &key].concat());
    assert!(canceller.is_closed_by_server());
    assert_eq!(tags_of(&wire.read_until("Z")), "TDCZ");
    assert!(Postgres::shared().log().len() > 1);
}

#[test]
fn messages_that_make_no_sense_end_the_session_and_not_the_gateway() {
    let (_database, gateway) = open();
    let nonsense: [&[u8]; 6] = [
        &[b'?', 0, 0, 0, 4],
        &[b'Q', 0, 0, 0, 3],
        &[b'Q', 0xff, 0xff, 0xff, 0xff],
        &[b'B', 0, 0, 0, 5, 0],
        &[b'P', 0, 0, 0, 6, 0, 0],
        &[b'Q', 0, 0, 0, 5, b'x'],
    ];
    for bytes in nonsense {
        let (mut wire, _) = Wire::login(&gateway.alice());
        // In one write: after the first of them the gateway may have closed already.
        wire.send_bytes(&[bytes, &message('S', &[]), &message('X', &[])].concat());
        assert!(wire.is_closed_by_server(), "{bytes:?}");
    }
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
}
