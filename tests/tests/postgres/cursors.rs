//! What SQL itself prepares and keeps open: PREPARE and EXECUTE, DECLARE and FETCH.

use sluicegate_tests::{
    Gateway,
    wire::{Wire, errors_of, rows_of, tags_of},
};

use crate::{database, guarded, masking_ssn, open};

#[test]
fn what_is_executed_is_decided_as_what_was_prepared() {
    let (database, gateway) = guarded(r#"deny = ["delete"]"#);
    let run = gateway.alice().psql_on(
        "PREPARE reads (int) AS SELECT id FROM orders WHERE id = $1; EXECUTE reads (3);\n\
         PREPARE removes AS DELETE FROM orders; EXECUTE removes;\nDEALLOCATE reads; EXECUTE reads (3);\nSELECT 'alive';\n",
    );
    assert_eq!(run.stdout, "3\nalive\n", "{}", run.stderr);
    assert!(run.stderr.contains("42501"), "{}", run.stderr);
    assert_eq!(database.direct().psql("SELECT count(*) FROM orders").ok().trim(), "30");
}

#[test]
fn a_prepared_statement_is_masked_when_it_runs() {
    let (_database, gateway) = masking_ssn();
    let run = gateway
        .alice()
        .psql("PREPARE p (int) AS SELECT name, ssn FROM customers WHERE id = $1; EXECUTE p (1); EXECUTE p (2)");
    assert_eq!(run.ok(), "Ada Lovelace|[redacted]\nBlaise Pascal|[redacted]\n");
}

#[test]
fn a_cursor_is_masked_at_every_fetch() {
    let (_database, gateway) = masking_ssn();
    let script = "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id, ssn FROM customers ORDER BY id;\n\
                  FETCH 1 FROM c; FETCH NEXT c; MOVE ABSOLUTE 0 c; FETCH FORWARD 2 FROM c; CLOSE c; COMMIT;\n";
    assert_eq!(gateway.alice().psql(script).ok(), "1|[redacted]\n2|[redacted]\n1|[redacted]\n2|[redacted]\n");
}

#[test]
fn cursors_and_statements_of_other_columns_work_as_ever() {
    let (database, gateway) = masking_ssn();
    let script = "BEGIN; DECLARE c CURSOR FOR SELECT id, total FROM orders ORDER BY id; FETCH 2 c; FETCH ALL c; COMMIT;\n\
                  PREPARE p AS SELECT sum(total) FROM orders; EXECUTE p; DEALLOCATE ALL; DISCARD ALL;\n\
                  DECLARE h CURSOR WITH HOLD FOR SELECT id FROM orders; FETCH 1 h; CLOSE ALL;\n";
    assert_eq!(gateway.alice().psql(script).ok(), database.direct().psql(script).ok());
}

#[test]
fn names_that_nobody_prepared_are_never_harmless() {
    let (_database, gateway) = guarded("");
    let (mut wire, _) = Wire::login(&gateway.alice());
    for sql in ["EXECUTE nothing", "FETCH ALL FROM nothing"] {
        let answer = wire.query(sql);
        assert_eq!((tags_of(&answer), errors_of(&answer)), ("EZ".to_owned(), vec!["42501".to_owned()]), "{sql}");
    }
}

#[test]
fn statements_of_the_protocol_and_of_sql_share_their_names() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    use sluicegate_tests::wire::{bind, execute, parse, sync};
    // Prepared by SQL, run by the protocol.
    wire.query("PREPARE p AS SELECT ssn FROM customers WHERE id = 1");
    wire.send_bytes(&[bind("", "p", &[], true), execute("", 0), sync()].concat());
    let answer = wire.read_until("Z");
    let masked = vec![vec![Some("[redacted]".to_owned())]];
    assert!(rows_of(&answer) == masked || errors_of(&answer).len() == 1, "{answer:?}");
    // Prepared by the protocol, run by SQL.
    wire.send_bytes(&[parse("q", "SELECT ssn FROM customers WHERE id = 1"), sync()].concat());
    wire.read_until("Z");
    let answer = wire.query("EXECUTE q");
    assert!(rows_of(&answer) == masked || errors_of(&answer).len() == 1, "{answer:?}");
    // Prepared by the protocol, dropped by SQL, as poolers and drivers do between two users.
    for (name, drop) in [("r", "DEALLOCATE r"), ("s", "DEALLOCATE ALL"), ("t", "DISCARD ALL")] {
        wire.query("ROLLBACK");
        wire.send_bytes(&[parse(name, "SELECT name FROM customers WHERE id = 1"), sync()].concat());
        assert_eq!(tags_of(&wire.read_until("Z")), "1Z", "{drop}");
        assert_eq!(tags_of(&wire.query(drop)).chars().last(), Some('Z'));
        wire.send_bytes(&[bind("", name, &[], true), execute("", 0), sync()].concat());
        assert_eq!(errors_of(&wire.read_until("Z")), ["26000"], "{drop}");
        wire.send_bytes(
            &[parse(name, "SELECT ssn FROM customers WHERE id = 1"), bind("", name, &[], true), execute("", 0), sync()]
                .concat(),
        );
        assert_eq!(rows_of(&wire.read_until("Z")), masked, "{drop}");
    }
    // Declared by SQL, drained by the protocol.
    wire.query("BEGIN");
    wire.query("DECLARE c CURSOR FOR SELECT ssn FROM customers WHERE id = 1");
    wire.send_bytes(&[execute("c", 0), sync()].concat());
    let answer = wire.read_until("Z");
    assert!(rows_of(&answer) == masked || errors_of(&answer).len() == 1, "{answer:?}");
}

#[test]
fn a_failed_prepare_leaves_no_name_behind() {
    let (_database, gateway) = open();
    let run = gateway.alice().psql_on("PREPARE p AS SELECT nothing FROM nowhere;\nPREPARE p AS SELECT 1;\nEXECUTE p;\nBEGIN; PREPARE r AS SELECT 2; ROLLBACK; EXECUTE r;\n");
    assert_eq!(run.stdout, "1\n2\n", "{}", run.stderr);
}

#[test]
fn a_portal_that_is_looked_into_is_read_part_by_part() {
    use sluicegate_tests::wire::{bind, execute, parse, sync};
    let database = database();
    let gateway = Gateway::before(&database).policy("pii-mask", r#"detect = ["card"]"#).start();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN");
    let sql = "SELECT repeat('z', 50) FROM generate_series(1, 1000)";
    wire.send_bytes(&[parse("s", sql), bind("p", "s", &[], true), sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "12Z");
    for _ in 0..4 {
        wire.send_bytes(&[execute("p", 250), sync()].concat());
        assert_eq!(tags_of(&wire.read_until("Z")), format!("{}sZ", "D".repeat(250)));
    }
}
