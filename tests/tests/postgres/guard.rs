//! What `sql-guard` lets pass and what it does not.

use sluicegate_tests::wire::{Wire, bind, describe, errors_of, execute, parse, rows_of, sync, tags_of};

use crate::guarded;

/// Asserts for each statement whether it is denied.
fn decides(settings: &str, allowed: &[&str], denied: &[&str]) {
    let (_database, gateway) = guarded(settings);
    for sql in allowed {
        let run = gateway.alice().psql_one(sql);
        assert!(run.status.success(), "{settings} denies {sql}: {}", run.stderr);
    }
    for sql in denied {
        let run = gateway.alice().psql_one(sql);
        assert!(
            run.stderr.contains("42501") && run.stderr.contains("sql-guard"),
            "{settings} allows {sql}: {}{}",
            run.stdout,
            run.stderr
        );
    }
}

#[test]
fn kinds_are_denied_by_name() {
    decides(
        r#"deny = ["drop", "truncate", "alter table"]"#,
        &[
            "SELECT 1",
            "CREATE TABLE t (a int)",
            "SELECT 'DROP TABLE t' AS drop",
            "-- DROP TABLE t",
            "CREATE INDEX ON t (a)",
        ],
        &[
            "DROP TABLE t",
            "drop table t",
            "DROP /* x */ TABLE IF EXISTS t",
            "TRUNCATE t",
            "ALTER TABLE t ADD b int",
            "SELECT 1; DROP VIEW shouted",
            "DROP INDEX orders_by_customer",
            "PREPARE p AS SELECT 1; DROP TABLE t",
        ],
    );
}

#[test]
fn classes_are_denied_by_name() {
    decides(
        r#"deny = ["ddl", "admin", "opaque"]"#,
        &["SELECT 1", "UPDATE orders SET total = 1 WHERE id = 1", "SET work_mem = '8MB'", "BEGIN; COMMIT"],
        &[
            "CREATE TABLE t (a int)",
            "DROP TABLE orders",
            "DO $$ BEGIN END $$",
            "CREATE ROLE r",
            "GRANT SELECT ON orders TO PUBLIC",
            "VACUUM orders",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "SELECT id INTO t FROM orders",
            "CREATE TABLE t AS SELECT 1",
        ],
    );
}

#[test]
fn allow_only_read_is_a_read_only_target() {
    decides(
        r#"allow_only = ["read"]"#,
        &[
            "SELECT * FROM orders",
            "WITH o AS (SELECT id FROM orders) SELECT * FROM o",
            "EXPLAIN SELECT * FROM orders",
            "SHOW search_path",
            "BEGIN; SELECT 1; COMMIT",
            "SET search_path = hr",
            "TABLE orders",
            "VALUES (1)",
        ],
        &[
            "INSERT INTO orders (customer_id, total) VALUES (1, 1)",
            "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
            "EXPLAIN ANALYZE DELETE FROM orders WHERE id = 1",
            "SELECT id INTO TEMP t FROM orders",
            "CREATE TEMP TABLE t (a int)",
            "COPY orders FROM STDIN",
            "DO $$ BEGIN DELETE FROM orders; END $$",
            "TRUNCATE orders",
            "PREPARE p AS DELETE FROM orders",
            "MERGE INTO orders o USING customers c ON o.customer_id = c.id WHEN MATCHED THEN DELETE",
        ],
    );
}

#[test]
fn a_migration_job_may_change_schemas_only_and_sees_every_value_masked() {
    let database = crate::database();
    let gateway = sluicegate_tests::Gateway::before(&database)
        .policy("sql-guard", r#"allow_only = ["ddl", "read"]"#)
        .policy("pii-mask", r#"columns = ["*"]"#)
        .start();
    let job = gateway.endpoint("ci-migrate");
    job.psql("ALTER TABLE orders ADD note text; CREATE INDEX ON orders (note)").ok();
    let shown = job.psql("SELECT id, name, ssn FROM customers WHERE name LIKE 'Ada%'").ok();
    assert_eq!(shown.trim(), "0|[redacted]|[redacted]");
    assert!(job.psql("UPDATE orders SET note = 'x' WHERE id = 1").failed().contains("42501"));
    assert_eq!(database.direct().psql("SELECT count(note) FROM orders").ok().trim(), "0");
}

#[test]
fn writes_need_a_where() {
    decides(
        "require_where = true",
        &["UPDATE orders SET total = 1 WHERE id = 1", "DELETE FROM orders WHERE id = 2", "SELECT * FROM orders"],
        &[
            "UPDATE orders SET total = 1",
            "DELETE FROM orders",
            "WITH w AS (SELECT 1 WHERE true) DELETE FROM orders",
            "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT * FROM gone",
            "SELECT 1; DELETE FROM orders",
            "EXPLAIN ANALYZE UPDATE orders SET total = 1",
        ],
    );
}

#[test]
fn what_cannot_be_analysed_is_blocked_unless_the_settings_say_otherwise() {
    let odd = "SELECT 1 FROM orders WHERE id = 1 FOR NOTHING";
    decides("", &["SELECT 1"], &[odd, "SELEC 1"]);
    let (_database, gateway) = guarded(r#"unanalysable = "allow""#);
    assert!(gateway.alice().psql_one(odd).failed().contains("42601"));
}

#[test]
fn more_rows_than_allowed_end_in_an_error() {
    let (database, gateway) = guarded("max_rows = 10");
    assert_eq!(gateway.alice().psql("SELECT n FROM generate_series(1, 10) n").ok().lines().count(), 10);
    let error = gateway.alice().psql("SELECT n FROM generate_series(1, 11) n").failed();
    assert!(error.contains("42501") && error.contains("10"), "{error}");
    // A result without end is stopped at the server too, and the session lives on.
    let (mut wire, _) = Wire::login(&gateway.alice());
    let endless = "SELECT generate_series(1, 1000000000), repeat('x', 1000)";
    for _ in 0..2 {
        let answer = wire.query(endless);
        assert_eq!((errors_of(&answer), rows_of(&answer).len()), (vec!["42501".to_owned()], 10));
        assert_eq!(rows_of(&wire.query("SELECT 'alive'")), [[Some("alive".to_owned())]]);
    }
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%1000000000%' AND datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(database.administer(busy).trim(), "0");
    // Each result of a message counts for itself, and a block in the middle keeps what came before.
    let answer = wire.query("SELECT 1; SELECT n FROM generate_series(1, 20) n; SELECT 2");
    assert_eq!(errors_of(&answer), ["42501"]);
    assert!(tags_of(&answer).starts_with("TDCTD") && tags_of(&answer).ends_with("EZ"), "{}", tags_of(&answer));
}

#[test]
fn a_limit_in_the_middle_of_a_transaction_fails_the_transaction() {
    let (database, gateway) = guarded("max_rows = 10");
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN");
    wire.query("INSERT INTO orders (customer_id, total) VALUES (1, 1)");
    let answer = wire.query("SELECT n FROM generate_series(1, 100000) n");
    assert_eq!((errors_of(&answer), answer.last().unwrap().body.as_slice()), (vec!["42501".to_owned()], &b"E"[..]));
    assert_eq!(errors_of(&wire.query("SELECT 1")), ["25P02"]);
    assert_eq!(tags_of(&wire.query("ROLLBACK")), "CZ");
    assert_eq!(database.direct().psql("SELECT count(*) FROM orders").ok().trim(), "30");
}

#[test]
fn a_limit_holds_in_the_extended_protocol() {
    let (_database, gateway) = guarded("max_rows = 10");
    let (mut wire, _) = Wire::login(&gateway.alice());
    let run = |rows: u32| {
        let sql = format!("SELECT n FROM generate_series(1, {rows}) n");
        [parse("", &sql), bind("", "", &[], true), describe('P', ""), execute("", 0), sync()].concat()
    };
    wire.send_bytes(&[run(10), run(100_000), run(3)].concat());
    let answers = [(); 3].map(|()| wire.read_until("Z"));
    assert_eq!(answers.each_ref().map(|answer| errors_of(answer).len()), [0, 1, 0]);
    assert_eq!((rows_of(&answers[0]).len(), rows_of(&answers[2]).len()), (10, 3));
    assert!(rows_of(&answers[1]).len() <= 10);
}

#[test]
fn a_limit_counts_the_rows_of_a_copy() {
    let (_database, gateway) = guarded("max_rows = 10");
    let error = gateway.alice().psql("COPY (SELECT n FROM generate_series(1, 100000) n) TO STDOUT").failed();
    assert!(error.contains("42501"), "{error}");
    assert_eq!(gateway.alice().psql("COPY hr.people TO STDOUT").ok().lines().count(), 1);
}
