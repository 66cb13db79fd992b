//! The gate's idea of a session and the server's stay the same, whatever a client sends and whenever
//! it leaves: names, settings, what ran, and what the record says of it.

use std::time::Duration;

use sluicegate_tests::{
    programs::eventually,
    seed::SSN_PART,
    wire::{self, Wire, errors_of, holds, message, rows_of, tags_of, zero_ended},
};

use crate::{masking_ssn, open, record::newest};

/// The rows of a table, by a connection past the gateway.
fn count(database: &sluicegate_tests::Database, table: &str) -> String {
    database.direct().psql(&format!("SELECT count(*) FROM {table}")).ok().trim().to_owned()
}

#[test]
fn what_was_accepted_before_a_goodbye_still_runs() {
    for (database, gateway) in [open(), masking_ssn()] {
        database.direct().psql("CREATE TABLE kept (n int)").ok();
        let ways = [
            vec![message('Q', &zero_ended("INSERT INTO kept VALUES (1)")), message('X', &[])],
            vec![
                message('Q', &zero_ended("SELECT pg_sleep(0.3)")),
                message('Q', &zero_ended("INSERT INTO kept VALUES (2)")),
            ],
            vec![
                [
                    wire::parse("", "INSERT INTO kept VALUES (3)"),
                    wire::bind("", "", &[], false),
                    wire::execute("", 0),
                    wire::sync(),
                ]
                .concat(),
                message('X', &[]),
            ],
        ];
        for (done, way) in (1..).zip(ways) {
            let (mut wire, _) = Wire::login(&gateway.alice());
            wire.send_bytes(&way.concat());
            drop(wire);
            eventually("the statement ran", Duration::from_secs(10), || count(&database, "kept") == done.to_string());
        }
    }
}

#[test]
fn what_a_client_read_before_it_left_is_recorded() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(
        &[
            wire::parse("", "SELECT c.* FROM customers c, generate_series(1, 100)"),
            wire::bind("", "", &[], false),
            wire::execute("", 100),
            message('H', &[]),
        ]
        .concat(),
    );
    assert_eq!(rows_of(&wire.read_until("s")).len(), 100);
    drop(wire);
    let session = newest(&gateway, 1);
    assert_eq!(session["summary"]["rows"], 100, "{session}");
    // One customer in three has no number to mask.
    assert_eq!(session["summary"]["masked"], 67, "{session}");
}

#[test]
fn a_view_replaced_while_a_query_waits_for_it_shows_nothing() {
    let (_database, gateway) = masking_ssn();
    let (mut owner, _) = Wire::login(&gateway.alice());
    assert!(errors_of(&owner.query("CREATE VIEW waited AS SELECT upper(name) AS x FROM customers")).is_empty());
    let ways = [
        message('Q', &zero_ended("SELECT x FROM waited")),
        message('Q', &zero_ended("SELECT lower(x) FROM waited")),
        message('Q', &zero_ended("COPY (SELECT x FROM waited) TO STDOUT")),
        [wire::parse("", "SELECT x FROM waited"), wire::bind("", "", &[], true), wire::execute("", 0), wire::sync()]
            .concat(),
    ];
    for way in ways {
        owner.query("BEGIN");
        owner.query("CREATE OR REPLACE VIEW waited AS SELECT upper(ssn) AS x FROM customers");
        let (mut reader, _) = Wire::login(&gateway.alice());
        reader.send_bytes(&way);
        std::thread::sleep(Duration::from_millis(300));
        owner.query("COMMIT");
        let answer = reader.read_until("Z");
        assert!(!holds(&answer, SSN_PART), "{}", tags_of(&answer));
        assert_eq!(errors_of(&answer).len(), 1, "{}", tags_of(&answer));
        owner.query("CREATE OR REPLACE VIEW waited AS SELECT upper(name) AS x FROM customers");
    }
}

#[test]
fn settings_changed_by_a_portal_that_is_not_done_are_known() {
    let (database, gateway) = masking_ssn();
    let owned = "CREATE SCHEMA a; CREATE TABLE a.people (x text); CREATE SCHEMA b; \
                 CREATE VIEW b.people AS SELECT ssn AS x FROM public.customers";
    database.direct().psql(owned).ok();
    let (mut wire, _) = Wire::login(&gateway.alice());
    for text in ["SET search_path TO a", "BEGIN"] {
        assert!(errors_of(&wire.query(text)).is_empty());
    }
    let text = "SELECT set_config('search_path', x, false) FROM (VALUES ('b'), ('b')) v(x)";
    wire.send_bytes(
        &[wire::parse("", text), wire::bind("", "", &[], false), wire::execute("", 1), message('H', &[])].concat(),
    );
    wire.read_until("sE");
    wire.send_bytes(&wire::sync());
    wire.read_until("Z");
    assert!(!holds(&wire.query("SELECT lower(x) FROM people"), SSN_PART));
}

#[test]
fn names_that_a_function_may_have_changed_are_not_believed() {
    let (database, gateway) = masking_ssn();
    let swap = "CREATE FUNCTION swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
                EXECUTE 'DEALLOCATE p'; EXECUTE 'PREPARE p AS SELECT upper(ssn) FROM customers'; RETURN 1; END $$";
    database.direct().psql(swap).ok();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("PREPARE p AS SELECT upper(name) FROM customers");
    wire.query("SELECT 1 WHERE swap() = 1");
    assert!(!holds(&wire.query("EXECUTE p"), SSN_PART));
    wire.query("DEALLOCATE ALL");
    wire.send_bytes(&[wire::parse("p", "SELECT upper(name) FROM customers WHERE id = 1"), wire::sync()].concat());
    wire.read_until("Z");
    wire.query("SELECT 1 WHERE swap() = 1");
    wire.send_bytes(&[wire::bind("", "p", &[], false), wire::execute("", 0), wire::sync()].concat());
    let answer = wire.read_until("Z");
    assert!(!holds(&answer, SSN_PART) && rows_of(&answer).len() == 1, "{}", tags_of(&answer));
}

#[test]
fn rows_that_a_rule_adds_are_refused() {
    let (database, gateway) = masking_ssn();
    let rule = "CREATE TABLE ruled (n int); \
                CREATE RULE r AS ON INSERT TO ruled DO ALSO SELECT upper(ssn) FROM customers";
    database.direct().psql(rule).ok();
    let (mut wire, _) = Wire::login(&gateway.alice());
    let answer = wire.query("INSERT INTO ruled VALUES (1)");
    assert!(!holds(&answer, SSN_PART) && errors_of(&answer) == ["42501"], "{}", tags_of(&answer));
}

#[test]
fn a_query_amid_copy_data_ends_the_session() {
    let (_database, gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send('Q', &zero_ended("COPY hr.people FROM STDIN"));
    wire.read_until("G");
    wire.send('Q', &zero_ended("SELECT 1"));
    assert_eq!(errors_of(&wire.read_until("E")), ["08P01"]);
    assert!(wire.is_closed_by_server());
}

#[test]
fn a_pipeline_of_many_messages_is_answered_whole() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    let one = [wire::parse("", "SELECT 1"), wire::bind("", "", &[], false), wire::execute("", 0)].concat();
    let sender = {
        let mut bytes = one.repeat(5000);
        bytes.extend(wire::sync());
        bytes
    };
    wire.send_bytes(&sender);
    assert_eq!(rows_of(&wire.read_until("Z")).len(), 5000);
}

#[test]
fn code_that_a_transaction_has_just_made_is_not_taken_for_the_servers() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN");
    wire.query("CREATE FUNCTION peek(text, int) RETURNS text LANGUAGE sql AS $$ SELECT ssn FROM customers LIMIT 1 $$");
    assert!(errors_of(&wire.query("CREATE OPERATOR || (LEFTARG = text, RIGHTARG = int, FUNCTION = peek)")).is_empty());
    assert!(!holds(&wire.query("SELECT 'a'::text || 1"), SSN_PART));
    wire.query("ROLLBACK");
    wire.query("BEGIN");
    wire.query("CREATE FUNCTION upper(int) RETURNS text LANGUAGE sql AS $$ SELECT ssn FROM customers LIMIT 1 $$");
    assert!(!holds(&wire.query("SELECT upper(1)"), SSN_PART));
    wire.query("ROLLBACK");
    assert_eq!(rows_of(&wire.query("SELECT 'a'::text || 1")), [[Some("a1".to_owned())]]);
}

#[test]
fn questions_that_the_server_skipped_are_asked_again() {
    let (database, gateway) = masking_ssn();
    let owned = "CREATE SCHEMA a; CREATE TABLE a.people (x text); CREATE SCHEMA b; \
                 CREATE VIEW b.people AS SELECT ssn AS x FROM public.customers";
    database.direct().psql(owned).ok();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("SET search_path TO a");
    wire.query("SELECT 1");
    wire.query("SET search_path TO b");
    // The gate's question stands behind a message that fails, so the server never answers it.
    wire.send_bytes(&[wire::describe('S', "nothing"), wire::parse("", "SELECT 1"), wire::sync()].concat());
    wire.read_until("Z");
    assert!(!holds(&wire.query("SELECT lower(x) FROM people"), SSN_PART));
}

#[test]
fn statements_that_the_server_did_not_prepare_again_are_prepared_later() {
    let (database, gateway) = masking_ssn();
    let swap = "CREATE FUNCTION swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
                EXECUTE 'DEALLOCATE p'; EXECUTE 'PREPARE p AS SELECT upper(ssn) FROM customers'; RETURN 1; END $$";
    database.direct().psql(swap).ok();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[wire::parse("p", "SELECT upper(name) FROM customers WHERE id = 1"), wire::sync()].concat());
    wire.read_until("Z");
    wire.query("SELECT 1 WHERE swap() = 1");
    wire.query("SELECT 1");
    wire.send_bytes(&[wire::describe('S', "nothing"), wire::bind("", "p", &[], false), wire::sync()].concat());
    wire.read_until("Z");
    wire.send_bytes(&[wire::bind("", "p", &[], false), wire::execute("", 0), wire::sync()].concat());
    let answer = wire.read_until("Z");
    assert!(!holds(&answer, SSN_PART) && rows_of(&answer).len() == 1, "{}", tags_of(&answer));
}
