//! The extended protocol: statements, portals and formats, as drivers use them and as they might.

use sluicegate_tests::{
    client::{soon, sqlstate},
    seed::{EMAIL, SSN},
    wire::{Wire, bind, close, describe, errors_of, execute, holds, parse, rows_of, sync, tags_of},
};
use tokio_postgres::{
    SimpleQueryMessage,
    types::{ToSql, Type},
};

use crate::{masking_ssn, open};

const MASKED: &str = "[redacted]";

const READ: &str = "SELECT email, ssn FROM customers WHERE id = $1";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_through_in_binary_and_in_text() {
    let (database, gateway) = open();
    let (through, straight) = (gateway.alice().connect().await, database.direct().connect().await);
    let columns = "t, vc, b, i2, i4, i8, f4, f8, by, ta, ia, j::text, num::text, dt::text, en::text, x::text";
    let sql = format!("SELECT {columns} FROM everything");
    let (a, b) =
        (soon(through.client.query_one(&sql, &[])).await.unwrap(), straight.client.query_one(&sql, &[]).await.unwrap());
    assert_eq!((a.get::<_, &str>(0), a.get::<_, &str>(1), a.get::<_, bool>(2)), (b.get(0), b.get(1), b.get(2)));
    assert_eq!((a.get::<_, i16>(3), a.get::<_, i32>(4), a.get::<_, i64>(5)), (b.get(3), b.get(4), b.get(5)));
    assert_eq!((a.get::<_, f32>(6), a.get::<_, f64>(7), a.get::<_, &[u8]>(8)), (b.get(6), b.get(7), b.get(8)));
    assert_eq!((a.get::<_, Vec<String>>(9), a.get::<_, Vec<i32>>(10)), (b.get(9), b.get(10)));
    let text = |messages: Vec<SimpleQueryMessage>| {
        messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect::<Vec<_>>())
            }
            _ => None,
        })
    };
    let all = "SELECT * FROM everything";
    let (a, b) = (through.client.simple_query(all).await.unwrap(), straight.client.simple_query(all).await.unwrap());
    assert_eq!(text(a), text(b));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_statement_is_masked_every_time_it_runs() {
    let (_database, gateway) = masking_ssn();
    let session = gateway.alice().connect().await;
    let statement = soon(session.client.prepare(READ)).await.unwrap();
    for (id, ssn) in [(1, Some(MASKED)), (2, Some(MASKED)), (3, None), (1, Some(MASKED))] {
        let row = soon(session.client.query_one(&statement, &[&id])).await.unwrap();
        assert_eq!(row.get::<_, Option<&str>>(1), ssn);
        assert!(row.get::<_, &str>(0).ends_with("@example.com"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_is_masked_however_it_is_drained() {
    let (_database, gateway) = masking_ssn();
    let mut session = gateway.alice().connect().await;
    let transaction = session.client.transaction().await.unwrap();
    let statement = transaction.prepare("SELECT id, ssn FROM customers ORDER BY id").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let rows = soon(transaction.query_portal(&portal, 1)).await.unwrap();
        let Some(row) = rows.first() else { break };
        seen.push((row.get::<_, i32>(0), row.get::<_, Option<String>>(1)));
    }
    let masked = Some(MASKED.to_owned());
    assert_eq!(seen, [(1, masked.clone()), (2, masked), (3, None)]);
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_many_types_arrive_as_they_were_sent() {
    let (_database, gateway) = open();
    let session = gateway.alice().connect().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let sql = "SELECT $1::int8, $2::text, $3::bytea, $4::text[], $5::float8, $6::bool";
    let texts = vec![Some("a"), None, Some("{}")];
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&i64::MIN, &"quote ' and \\ and €", &bytes, &texts, &1.5f64, &None::<bool>];
    let row = soon(session.client.query_one(sql, &parameters)).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (i64::MIN, "quote ' and \\ and €"));
    assert_eq!(row.get::<_, Vec<u8>>(2), bytes);
    assert_eq!(row.get::<_, Vec<Option<&str>>>(3), [Some("a"), None, Some("{}")]);
    assert_eq!((row.get::<_, f64>(4), row.get::<_, Option<bool>>(5)), (1.5, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_round_trip_queries_are_masked() {
    let (_database, gateway) = masking_ssn();
    let session = gateway.alice().connect().await;
    let rows = soon(session.client.query_typed(READ, &[(&1i32, Type::INT4)])).await.unwrap();
    assert_eq!((rows[0].get::<_, &str>(0), rows[0].get::<_, &str>(1)), (EMAIL, MASKED));
}

#[test]
fn a_driver_that_never_describes_gets_masked_rows_and_no_more_messages_than_it_asked_for() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    for binary in [false, true] {
        wire.send_bytes(&[parse("", READ), bind("", "", &["1"], binary), execute("", 0), sync()].concat());
        let answer = wire.read_until("Z");
        assert_eq!(tags_of(&answer), "12DCZ");
        assert_eq!(rows_of(&answer), [[Some(EMAIL.to_owned()), Some(MASKED.to_owned())]]);
        assert!(!holds(&answer, SSN));
    }
}

#[test]
fn a_statement_described_once_is_masked_in_later_batches_without_a_describe() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[parse("s", READ), describe('S', "s"), sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "1tTZ");
    for _ in 0..3 {
        wire.send_bytes(&[bind("p", "s", &["1"], true), execute("p", 0), close('P', "p"), sync()].concat());
        let answer = wire.read_until("Z");
        assert_eq!((tags_of(&answer).as_str(), holds(&answer, SSN)), ("2DC3Z", false));
    }
}

#[test]
fn portals_that_take_turns_keep_their_own_masks() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN");
    let open = |portal: &str, column: &str| {
        [parse("", &format!("SELECT {column} FROM customers ORDER BY id")), bind(portal, "", &[], false)].concat()
    };
    wire.send_bytes(
        &[
            open("a", "ssn"),
            open("b", "email"),
            execute("b", 1),
            execute("a", 1),
            execute("b", 1),
            execute("a", 2),
            sync(),
        ]
        .concat(),
    );
    let answer = wire.read_until("Z");
    assert_eq!(tags_of(&answer), "1212DsDsDsDDsZ");
    let seen: Vec<_> = rows_of(&answer).into_iter().flatten().collect();
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(seen, [text(EMAIL), text(MASKED), text("blaise@example.com"), text(MASKED), None]);
}

#[test]
fn each_result_column_may_have_its_own_format() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    // The unnamed portal and statement, no parameter formats, no parameters, two formats: binary, text.
    let body = b"\0\0\0\0\0\0\0\x02\0\x01\0\0";
    wire.send_bytes(&parse("", "SELECT id, ssn FROM customers WHERE id = 1"));
    wire.send('B', body);
    wire.send_bytes(&[execute("", 0), sync()].concat());
    let answer = wire.read_until("Z");
    let row = answer.iter().find(|message| message.tag == 'D').expect("a row").values();
    assert_eq!(row, [Some(vec![0, 0, 0, 1]), Some(MASKED.as_bytes().to_vec())]);
}

#[test]
fn the_servers_own_errors_come_through_in_their_place() {
    let (_database, gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[parse("s", "SELECT 1"), parse("s", "SELECT 2"), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["42P05"]);
    wire.send_bytes(&[bind("", "nothing", &[], false), execute("", 0), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["26000"]);
    wire.send_bytes(&[execute("nowhere", 0), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["34000"]);
    wire.send_bytes(&[parse("", "SELECT 1 FROM nowhere"), bind("", "", &[], false), execute("", 0), sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "EZ");
    wire.send_bytes(&[parse("", ""), bind("", "", &[], false), execute("", 0), sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "12IZ");
    assert_eq!(tags_of(&wire.query("SELECT 1")), "TDCZ");
}

#[test]
fn flush_answers_before_sync() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[parse("", READ), describe('S', "")].concat());
    wire.send('H', &[]);
    assert_eq!(tags_of(&wire.read_until("T")), "1tT");
    wire.send_bytes(&[bind("", "", &["1"], false), execute("", 0)].concat());
    wire.send('H', &[]);
    assert_eq!(tags_of(&wire.read_until("C")), "2DC");
    wire.send_bytes(&sync());
    assert_eq!(tags_of(&wire.read_until("Z")), "Z");
}

#[test]
fn the_unnamed_statement_is_replaced_by_the_next() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[parse("", "SELECT email FROM customers WHERE id = 1"), sync()].concat());
    wire.read_until("Z");
    wire.send_bytes(&[parse("", "SELECT ssn FROM customers WHERE id = 1"), sync()].concat());
    wire.read_until("Z");
    wire.send_bytes(&[bind("", "", &[], true), execute("", 0), sync()].concat());
    assert_eq!(rows_of(&wire.read_until("Z")), [[Some(MASKED.to_owned())]]);
    // A simple query destroys it.
    wire.query("SELECT 1");
    wire.send_bytes(&[bind("", "", &[], true), execute("", 0), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["26000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_result_is_an_error_and_the_session_lives_on() {
    let (_database, gateway) = masking_ssn();
    let session = gateway.alice().connect().await;
    let answer = soon(session.client.query("SELECT row_to_json(c) FROM customers c", &[])).await;
    assert_eq!(sqlstate(&answer.unwrap_err()), "42501");
    let row = soon(session.client.query_one("SELECT 1", &[])).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 1);
}
