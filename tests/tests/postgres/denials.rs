//! A denial is an error of the server's own kind: SQLSTATE 42501, with the server's own rules for
//! transactions and pipelines, and the session lives on.

use sluicegate_tests::{
    client::{soon, sqlstate},
    wire::{self, Wire, bind, close, describe, errors_of, execute, parse, rows_of, sync, tags_of, zero_ended},
};

use crate::guarded;

const NO_DROPS: &str = r#"deny = ["drop"]"#;

const INSERT: &str = "INSERT INTO orders (customer_id, total) VALUES (1, 7)";

const COUNT: &str = "SELECT count(*)::text FROM orders";

#[test]
fn outside_a_transaction_the_session_lives_on() {
    let (database, gateway) = guarded(NO_DROPS);
    let run = gateway.alice().psql_on("DROP TABLE orders;\nSELECT 'alive';\n");
    assert_eq!(run.stdout.trim(), "alive");
    assert!(run.stderr.contains("ERROR:  42501: ") && run.stderr.contains("sql-guard"), "{}", run.stderr);
    assert_eq!(database.direct().psql(COUNT).ok().trim(), "30");
}

#[test]
fn inside_a_transaction_the_transaction_fails_as_with_any_error() {
    let (database, gateway) = guarded(NO_DROPS);
    let script = format!("BEGIN;\n{INSERT};\nDROP TABLE orders;\nSELECT 'unseen';\nCOMMIT;\n{COUNT};\n");
    let run = gateway.alice().psql_on(&script);
    let codes: Vec<_> = run.stderr.lines().filter_map(|line| line.split("ERROR:  ").nth(1)?.get(..5)).collect();
    assert_eq!(codes, ["42501", "25P02"], "{}", run.stderr);
    assert_eq!(run.stdout.trim(), "30");
    assert_eq!(database.direct().psql(COUNT).ok().trim(), "30");
}

#[test]
fn a_savepoint_survives_a_denial() {
    let (_database, gateway) = guarded(NO_DROPS);
    let script =
        format!("BEGIN;\nSAVEPOINT here;\nDROP TABLE orders;\nROLLBACK TO here;\n{INSERT};\nCOMMIT;\n{COUNT};\n");
    let run = gateway.alice().psql_on(&script);
    assert_eq!(run.stdout.trim(), "31", "{}", run.stderr);
    assert_eq!(run.stderr.matches("ERROR").count(), 1);
}

#[test]
fn a_message_with_a_denied_statement_runs_none_of_its_statements() {
    let (database, gateway) = guarded(NO_DROPS);
    let error = gateway.alice().psql_one(&format!("{INSERT}; DROP TABLE orders; {INSERT}")).failed();
    assert!(error.contains("42501"), "{error}");
    let error = gateway.alice().psql_one(&format!("COMMIT; {INSERT}; COMMIT; DROP TABLE orders")).failed();
    assert!(error.contains("42501"), "{error}");
    assert_eq!(database.direct().psql(COUNT).ok().trim(), "30");
}

#[test]
fn the_error_has_the_fields_of_a_real_one_and_a_hint() {
    let (_database, gateway) = guarded(NO_DROPS);
    let (mut wire, _) = Wire::login(&gateway.alice());
    let answer = wire.query("DROP TABLE orders");
    assert_eq!(tags_of(&answer), "EZ");
    let error = &answer[0];
    assert_eq!(["S", "V"].map(|f| error.field(f.chars().next().unwrap()).unwrap()), ["ERROR", "ERROR"]);
    assert_eq!(error.field('C').unwrap(), "42501");
    assert!(error.field('M').unwrap().contains("sql-guard"));
    assert!(error.field('H').is_some());
    assert_eq!(answer[1].body, b"I");
    wire.query("BEGIN");
    assert_eq!(wire.query("DROP TABLE orders").last().unwrap().body, b"E");
}

#[test]
fn simple_queries_sent_ahead_are_answered_in_order() {
    let (_database, gateway) = guarded(NO_DROPS);
    let (mut wire, _) = Wire::login(&gateway.alice());
    let queries = ["SELECT 1", "DROP TABLE orders", "SELECT 2", "DROP TABLE customers", "SELECT 3"];
    let bytes: Vec<u8> = queries.iter().flat_map(|sql| wire::message('Q', &zero_ended(sql))).collect();
    wire.send_bytes(&bytes);
    let answers: Vec<_> = queries.iter().map(|_| tags_of(&wire.read_until("Z"))).collect();
    assert_eq!(answers, ["TDCZ", "EZ", "TDCZ", "EZ", "TDCZ"]);
}

#[test]
fn a_denial_in_a_pipeline_skips_to_sync_and_undoes_the_batch() {
    let (database, gateway) = guarded(NO_DROPS);
    let (mut wire, _) = Wire::login(&gateway.alice());
    let run = |sql: &str| [parse("", sql), bind("", "", &[], false), describe('P', ""), execute("", 0)].concat();
    wire.send_bytes(&[run(INSERT), run("DROP TABLE orders"), run(INSERT), sync(), run(COUNT), sync()].concat());
    let first = wire.read_until("Z");
    assert_eq!((tags_of(&first), errors_of(&first)), ("12nCEZ".to_owned(), vec!["42501".to_owned()]));
    let second = wire.read_until("Z");
    assert_eq!((tags_of(&second), rows_of(&second)), ("12TDCZ".to_owned(), vec![vec![Some("30".to_owned())]]));
    assert_eq!(database.direct().psql(COUNT).ok().trim(), "30");
}

#[test]
fn a_denied_named_statement_does_not_exist() {
    let (_database, gateway) = guarded(NO_DROPS);
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[parse("s", "DROP TABLE orders"), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["42501"]);
    wire.send_bytes(&[bind("", "s", &[], false), execute("", 0), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["26000"]);
    // The name is free: a statement that may exist can have it.
    wire.send_bytes(&[parse("s", COUNT), bind("", "s", &[], false), execute("", 0), close('S', "s"), sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "12DC3Z");
}

#[test]
fn a_statement_of_the_same_name_survives_the_denial_of_another() {
    let (_database, gateway) = guarded(NO_DROPS);
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[parse("s", "SELECT 'first'"), sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "1Z");
    wire.send_bytes(&[parse("s", "DROP TABLE orders"), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")).len(), 1);
    wire.send_bytes(&[bind("", "s", &[], false), execute("", 0), sync()].concat());
    assert_eq!(rows_of(&wire.read_until("Z")), [[Some("first".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_pipelines_around_a_denial() {
    let (_database, gateway) = guarded(NO_DROPS);
    let session = gateway.alice().connect().await;
    let client = &session.client;
    let answers = soon(async {
        tokio::join!(
            client.query_one("SELECT 1 AS n", &[]),
            client.execute("DROP TABLE orders", &[]),
            client.query_one("SELECT 2 AS n", &[]),
            client.batch_execute("DROP TABLE customers"),
            client.query_one("SELECT count(*) FROM orders", &[]),
        )
    });
    let (one, dropped, two, batch, count) = answers.await;
    assert_eq!((one.unwrap().get::<_, i32>(0), two.unwrap().get::<_, i32>(0)), (1, 2));
    assert_eq!(sqlstate(&dropped.unwrap_err()), "42501");
    assert_eq!(sqlstate(&batch.unwrap_err()), "42501");
    assert_eq!(count.unwrap().get::<_, i64>(0), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_tokio_postgres_fails_and_rolls_back() {
    let (_database, gateway) = guarded(NO_DROPS);
    let mut session = gateway.alice().connect().await;
    let transaction = session.client.transaction().await.unwrap();
    transaction.execute(INSERT, &[]).await.unwrap();
    assert_eq!(sqlstate(&soon(transaction.execute("DROP TABLE orders", &[])).await.unwrap_err()), "42501");
    assert_eq!(sqlstate(&soon(transaction.execute("SELECT 1", &[])).await.unwrap_err()), "25P02");
    transaction.rollback().await.unwrap();
    let count: String = soon(session.client.query_one(COUNT, &[])).await.unwrap().get(0);
    assert_eq!(count, "30");
}

#[test]
fn a_denied_copy_in_does_not_swallow_what_follows() {
    let (database, gateway) = guarded(r#"deny = ["copy"]"#);
    let run = gateway.alice().psql_on("COPY hr.people FROM STDIN;\nSELECT 'alive';\n");
    assert!(run.stderr.contains("42501"), "{}", run.stderr);
    assert_eq!(run.stdout.trim(), "alive");
    let (mut wire, _) = Wire::login(&gateway.alice());
    // A client that sends its rows without waiting to be asked for them.
    let eager = [
        wire::message('Q', &zero_ended("COPY hr.people FROM STDIN")),
        wire::message('d', b"7\tx\t1\n"),
        wire::message('c', &[]),
    ];
    wire.send_bytes(&eager.concat());
    assert_eq!(errors_of(&wire.read_until("Z")), ["42501"]);
    assert_eq!(rows_of(&wire.query("SELECT count(*) FROM hr.people")), [[Some("1".to_owned())]]);
    assert_eq!(database.direct().psql("SELECT count(*) FROM hr.people").ok().trim(), "1");
}
