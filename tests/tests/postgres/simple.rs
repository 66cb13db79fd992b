//! The simple protocol as psql speaks it: what a person types, and what must look as if the
//! database itself had answered.

use sluicegate_tests::wire::{Wire, errors_of, rows_of, tags_of};

use crate::{database, masking_ssn, open};

/// What people type that only looks at the schema.
const LOOKING: &str = r"
\d
\d customers
\d+ orders
\d+ customer_cards
\d hr.people
\dt+
\dv
\di
\df
\df+ ssn_of
\dn
\du
\l
\dT+
\dD
\dp
\ds
\sf ssn_of
\sv customer_cards
\dx
\des
\dRp
\ddp
\dconfig work_mem
\encoding
";

/// What people type that reads, writes and errs.
const WORKING: &str = r"
SELECT 1;
SELECT 1 AS a, 'x' AS b \gdesc
SELECT id, name FROM customers ORDER BY id;
SELECT count(*), sum(total) FROM orders GROUP BY status;
;
-- only a comment
SELECT 1\; SELECT 2\; SELECT 3;
SELECT 1/0;
SELECT nothing FROM nowhere;
SELEC 1;
BEGIN; INSERT INTO orders (customer_id, total) VALUES (1, 9.99); SELECT count(*) FROM orders; ROLLBACK;
INSERT INTO orders (customer_id, total) VALUES (99, 1);
SELECT count(*) FROM orders;
UPDATE orders SET total = total + 1 WHERE id = 1 RETURNING id, total;
DELETE FROM orders WHERE id = 2;
EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 1;
SHOW search_path;
SET search_path = hr;
SELECT id FROM people;
RESET search_path;
SELECT now() IS NOT NULL;
DO $$ BEGIN RAISE NOTICE 'noticed %', 42; END $$;
SELECT complain('text');
CREATE TABLE made (a int); DROP TABLE made;
SELECT 'ä' || chr(8364), E'tab\there', $tag$it's$tag$;
SELECT * FROM generate_series(1, 3) AS n;
SELECT id AS one FROM customers LIMIT 1 \gset
\echo :one
SELECT null, ''; VALUES (1, 'a'), (2, NULL);
\timing off
SELECT pg_sleep(0.01);
VACUUM orders;
";

#[test]
fn psql_sees_what_it_would_see_at_the_database() {
    let (_database, gateway) = open();
    let direct = database().direct();
    let (through, straight) = (gateway.alice().psql_on(WORKING), direct.psql_on(WORKING));
    assert_eq!(through.stdout, straight.stdout);
    assert_eq!(through.stderr, straight.stderr);
}

#[test]
fn psql_describes_the_schema_as_the_database_would() {
    let (_database, gateway) = open();
    let direct = database().direct();
    assert_looks_alike(&gateway.alice().psql_on(LOOKING), &direct.psql_on(LOOKING), &direct.database, &_database.name);
}

#[test]
fn psql_describes_the_schema_where_columns_are_masked() {
    let (_database, gateway) = masking_ssn();
    let direct = database().direct();
    assert_looks_alike(&gateway.alice().psql_on(LOOKING), &direct.psql_on(LOOKING), &direct.database, &_database.name);
}

/// The same output, but for the names of the two databases, and for `\l`, which lists those of the
/// tests that run at the same time.
fn assert_looks_alike(
    through: &sluicegate_tests::programs::Run,
    straight: &sluicegate_tests::programs::Run,
    name: &str,
    other: &str,
) {
    let plain = |text: &str| {
        let lines = text.replace(name, "DB").replace(other, "DB");
        let kept: Vec<_> =
            lines.lines().filter(|l| !l.contains("|UTF8|") && !l.starts_with("app=CTc")).map(str::to_owned).collect();
        kept.into_iter().filter(|line| !line.starts_with("=Tc/")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(plain(&through.stderr), plain(&straight.stderr));
    assert_eq!(plain(&through.stdout), plain(&straight.stdout));
}

#[test]
fn one_message_with_many_statements_answers_as_the_database_does() {
    let (database, gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    let answer = wire
        .query("SELECT 1; SELECT 2, 3; ; CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT a FROM t");
    assert_eq!(tags_of(&answer), "TDCTDCCCTDDCZ");
    assert_eq!(tags_of(&wire.query("")), "IZ");
    assert_eq!(tags_of(&wire.query(" -- nothing\n;;")), "IZ");
    // An error in the middle undoes the whole message.
    let answer = wire.query("INSERT INTO orders (customer_id, total) VALUES (1, 5); SELECT 1/0; SELECT 1");
    assert_eq!((errors_of(&answer), tags_of(&answer)), (vec!["22012".to_owned()], "CEZ".to_owned()));
    assert_eq!(database.direct().psql("SELECT count(*) FROM orders").ok().trim(), "30");
    assert_eq!(rows_of(&wire.query("SELECT count(*) FROM orders")), [[Some("30".to_owned())]]);
}

#[test]
fn transaction_status_is_the_servers_own() {
    let (_database, gateway) = open();
    let (mut wire, greeting) = Wire::login(&gateway.alice());
    let status = |messages: &[sluicegate_tests::wire::Message]| char::from(messages.last().unwrap().body[0]);
    assert_eq!(status(&greeting), 'I');
    assert_eq!(status(&wire.query("BEGIN")), 'T');
    assert_eq!(status(&wire.query("SELECT 1/0")), 'E');
    assert_eq!(errors_of(&wire.query("SELECT 1")), ["25P02"]);
    assert_eq!(status(&wire.query("ROLLBACK")), 'I');
}

#[test]
fn a_changed_setting_is_reported_to_the_client() {
    let (_database, gateway) = open();
    let (mut wire, greeting) = Wire::login(&gateway.alice());
    let parameters = |messages: &[sluicegate_tests::wire::Message], name: &str| {
        let mut reports = messages.iter().filter(|message| message.tag == 'S');
        reports.any(|message| message.body.starts_with(&[name.as_bytes(), &[0]].concat()))
    };
    for name in ["server_version", "client_encoding", "DateStyle", "standard_conforming_strings"] {
        assert!(parameters(&greeting, name), "{name} is not reported");
    }
    assert!(parameters(&wire.query("SET DateStyle = 'German'"), "DateStyle"));
    assert_eq!(rows_of(&wire.query("SELECT date '2024-02-29'")), [[Some("29.02.2024".to_owned())]]);
}
