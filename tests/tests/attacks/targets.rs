//! Targets that are down, die, stall or speak garbage.

use sluicegate_tests::{
    Bystander, Database, Fault, Gateway, Relay,
    builder::Builder,
    programs::{eventually, free_port},
    wire::{Wire, code, message, tags_of},
};

use crate::{SOON, calm, database, error_in, last_words, with_calm};

/// A result that is longer than what is buffered on its way.
const LONG: &str = "SELECT repeat('x', 1000), ssn FROM customers, generate_series(1, 30000)";

/// How much of it comes.
const BEGINNING: usize = 300_000;

fn behind(relay: &Relay, database: &Database) -> Builder {
    Gateway::before(database).address(&relay.address()).target_lines("connect_timeout = 2")
}

/// A database, the relay before it, and the gateway before that; its target `calm` is the same database without
/// the relay. The gateway masks nothing, or one column.
fn relayed(masks: bool) -> (Database, Relay, Gateway) {
    let database = database();
    let relay = Relay::before(&database);
    let gateway = behind(&relay, &database);
    let gateway = if masks { gateway.policy("pii-mask", r#"columns = ["*.ssn"]"#) } else { gateway };
    let gateway = with_calm(gateway, &database);
    (database, relay, gateway)
}

#[test]
fn a_target_that_is_down_is_told_at_once_and_holds_nothing() {
    let database = database();
    let address = format!("127.0.0.1:{}", free_port());
    let gateway = with_calm(Gateway::before(&database).address(&address), &database);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    for _ in 0..20 {
        let error = gateway.alice().psql("SELECT 1").failed();
        assert!(error.contains("cannot be reached"), "{error}");
    }
    gateway.wait_for_log(0, "the target cannot be used");
    bystander.is_unharmed();
}

#[test]
fn a_target_that_dies_in_the_middle_of_a_result_ends_it_with_an_error() {
    for masks in [false, true] {
        let (_database, relay, gateway) = relayed(masks);
        let mut bystander = Bystander::at(&gateway, calm(&gateway));
        let (mut wire, _) = Wire::login(&gateway.alice());
        wire.query("SELECT 1");
        relay.breaks(BEGINNING, Fault::Close);
        wire.send('Q', &[LONG.as_bytes(), &[0]].concat());
        let answer = last_words(&mut wire);
        let rows = answer.iter().filter(|message| message.tag == 'D').count();
        assert!(rows > 50, "{rows} rows came before");
        assert_eq!(answer.last().map(|message| message.tag), Some('E'), "nothing follows the error");
        let (code, text) = error_in(&answer);
        assert!(code == "08006" && text.contains("the target closed the connection"), "{code} {text}");
        gateway.wait_for_log(0, "the target cut the session off");
        let error = gateway.alice().psql(LONG).failed();
        assert!(error.contains("08006"), "{error}");
        relay.heals();
        assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
        bystander.is_unharmed();
    }
}

#[test]
fn a_target_that_dies_in_the_middle_of_a_value_does_not_have_its_error_taken_for_more_of_it() {
    let (_database, relay, gateway) = relayed(false);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("SELECT 1");
    // A row of more than 16 MiB is passed on as it comes.
    relay.breaks(20_000_000, Fault::Close);
    wire.send('Q', b"SELECT repeat('x', 40000000)\0");
    let mut bytes = Vec::new();
    let _ = std::io::Read::read_to_end(wire.stream(), &mut bytes);
    assert!(bytes.len() > 16_000_000, "{} bytes came", bytes.len());
    assert!(bytes.ends_with(b"xxxxxxxx"), "{:?}", String::from_utf8_lossy(&bytes[bytes.len() - 200..]));
    gateway.wait_for_log(0, "the target cut the session off");
    bystander.is_unharmed();
}

#[test]
fn a_target_that_stalls_can_be_cancelled_and_is_left_when_the_client_goes() {
    let (database, relay, gateway) = relayed(false);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    relay.breaks(BEGINNING, Fault::Stall);
    let (mut wire, greeting) = Wire::login(&gateway.alice());
    // The server has sent all that it can send until it is cancelled.
    let sleeping =
        "SELECT CASE n WHEN 600 THEN pg_sleep(600)::text ELSE repeat('x', 1000) END FROM generate_series(1, 600) n";
    wire.send('Q', &[sleeping.as_bytes(), &[0]].concat());
    wire.read_until("D");
    eventually("the target stalls", SOON, || relay.happened() == 1);
    let running = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE 'SELECT CASE n%'";
        database.administer(sql).trim() == "1"
    };
    assert!(running());
    bystander.works();
    let key = greeting.iter().find(|message| message.tag == 'K').expect("a key to cancel by");
    let mut canceller = Wire::connect(gateway.port());
    canceller.send_packet(&[&code::CANCEL.to_be_bytes()[..], &key.body].concat());
    assert!(canceller.is_closed_by_server());
    eventually("the query is cancelled at the target", SOON, || !running());
    // The word of it does not come through. When the client goes, the gateway does not wait for it.
    drop(wire);
    gateway.wait_for_log(0, "it is given up");
    bystander.is_unharmed();
    relay.heals();
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
}

#[test]
fn a_target_that_stalls_at_the_login_is_told_in_time() {
    let (_database, relay, gateway) = relayed(false);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    relay.breaks(0, Fault::Stall);
    let logins: Vec<_> = (0..10).map(|_| gateway.alice().psql_start("SELECT 1")).collect();
    bystander.works();
    for login in logins {
        let error = login.finish(SOON).failed();
        assert!(error.contains("the target cannot be reached"), "{error}");
    }
    relay.heals();
    bystander.is_unharmed();
}

#[test]
fn garbage_of_a_target_ends_the_session_with_a_clear_error() {
    for masks in [false, true] {
        let (_database, relay, gateway) = relayed(masks);
        let mut bystander = Bystander::at(&gateway, calm(&gateway));
        let garbage: [(&str, Vec<u8>); 7] = [
            ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            ("no length", vec![b'T', 0, 0, 0, 3, 0, 0]),
            ("a length of 4 GiB", vec![b'D', 0xff, 0xff, 0xff, 0xff]),
            ("a description of 1 GiB", [&[b'T', 0x3f, 0xff, 0xff, 0xff], &[b'x'; 1 << 20][..]].concat()),
            ("columns that are not there", message('T', &[0, 9, b'x', 0])),
            ("a type that there is not", message('~', &[])),
            ("a row without a description", message('D', &[0, 1, 0, 0, 0, 1, b'x'])),
        ];
        for (what, bytes) in garbage {
            let from = gateway.log().len();
            relay.heals();
            let (mut wire, _) = Wire::login(&gateway.alice());
            assert_eq!(tags_of(&wire.query("SELECT name FROM customers WHERE id = 1")), "TDCZ");
            relay.breaks(0, Fault::Say(bytes));
            wire.send('Q', b"SELECT name FROM customers WHERE id = 1\0");
            let words = last_words(&mut wire);
            assert!(words.iter().any(|message| message.tag == 'E'), "{what}: no error");
            let (code, text) = error_in(&words);
            assert!(code == "08P01" && text.contains("the target"), "{what}: {code} {text}");
            gateway.wait_for_log(from, "the target cut the session off");
        }
        relay.heals();
        bystander.is_unharmed();
    }
}

#[test]
fn garbage_of_a_target_at_the_login_is_a_clear_error() {
    let (_database, relay, gateway) = relayed(false);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 4096], &[b'R', 0, 0, 0, 8, 0, 0, 0, 99]] {
        let from = gateway.log().len();
        relay.breaks(0, Fault::Say(bytes.to_vec()));
        let error = gateway.alice().psql("SELECT 1").failed();
        assert!(error.contains("the target did not answer") || error.contains("could not log in"), "{error}");
        gateway.wait_for_log(from, "the target cannot be used");
    }
    relay.heals();
    bystander.is_unharmed();
}
