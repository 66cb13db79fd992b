//! Further ways around a mask: functions that run SQL or carry values away, users' operators and casts, and
//! definitions that move, rename or recompute what is masked.

use crate::{
    leaks::{nothing_leaks, shows_the_value_without_a_mask},
    masking, masking_ssn,
};

/// None of the scripts shows the value through a gateway that masks `*.ssn`; all do without it.
fn all_are_stopped(scripts: &[&str]) {
    for script in scripts {
        // Each in a database of its own: it may leave something behind that changes what the next one does.
        shows_the_value_without_a_mask(&[script]);
        let (_database, gateway) = masking_ssn();
        nothing_leaks(&gateway.alice(), &[script]);
    }
}

#[test]
fn functions_that_run_sql() {
    all_are_stopped(&[
        "SELECT 1 WHERE query_to_xml('SELECT set_config(''x.k'', string_agg(ssn, '',''), false) FROM customers', true, true, '') IS NOT NULL; SHOW x.k",
        "SELECT 1 FROM (SELECT 1 WHERE pg_catalog.\"query_to_xml\"('SELECT set_config(''x.k'', ssn, false) FROM customers WHERE id = 1', true, true, '') IS NOT NULL) q; SHOW x.k",
        "PREPARE p AS SELECT 1 WHERE query_to_xml('SELECT set_config(''x.k'', ssn, false) FROM customers WHERE id = 1', true, true, '') IS NOT NULL; EXECUTE p; SHOW x.k",
        "SELECT count(*) FROM ts_stat('SELECT to_tsvector(set_config(''x.k'', ssn, false)) FROM customers WHERE id = 1'); SHOW x.k",
        "CREATE TABLE loot (id int, a int DEFAULT length(query_to_xml('SELECT set_config(''x.k'', ssn, false) FROM customers WHERE id = 1', true, true, '')::text)); INSERT INTO loot (id) VALUES (1); SHOW x.k; DROP TABLE loot",
    ]);
}

#[test]
fn functions_that_carry_values_away() {
    all_are_stopped(&[
        "BEGIN; ALTER TABLE customers ADD CONSTRAINT c CHECK (id > 1 OR set_config('x.k', ssn, false) IS NOT NULL); SHOW x.k; ROLLBACK",
        "BEGIN; DROP VIEW customer_cards, cards_again, shouted; CREATE DOMAIN d AS text CHECK (value IS NULL OR set_config('x.k', value, false) IS NOT NULL); ALTER TABLE customers ALTER COLUMN ssn TYPE d; SHOW x.k; ROLLBACK",
        "BEGIN; CREATE POLICY p ON customers USING (id > 1 OR set_config('x.k', ssn, false) IS NOT NULL); ALTER TABLE customers ENABLE ROW LEVEL SECURITY; ALTER TABLE customers FORCE ROW LEVEL SECURITY; SELECT count(*) FROM customers; SHOW x.k; ROLLBACK",
        "CREATE VIEW mine AS SELECT 1 AS one FROM customers WHERE id = 1 AND set_config('x.k', ssn, false) IS NOT NULL; SELECT one FROM mine; SHOW x.k; DROP VIEW mine",
        "CREATE TABLE loot (a int); CREATE RULE r AS ON INSERT TO loot DO ALSO SELECT set_config('x.k', ssn, false) FROM customers WHERE id = 1; INSERT INTO loot VALUES (1); SHOW x.k; DROP TABLE loot",
        "CREATE SEQUENCE s; SELECT 1 FROM customers WHERE id = 1 AND setval('s', replace(ssn, '-', '')::bigint) > 0; SELECT last_value FROM s; DROP SEQUENCE s",
        "CREATE SEQUENCE s; SELECT setval('s', replace(ssn, '-', '')::bigint) IS NULL FROM customers WHERE id = 1; SELECT last_value FROM s; DROP SEQUENCE s",
        "SELECT 1 FROM customers WHERE id = 1 AND pg_try_advisory_lock(replace(ssn, '-', '')::bigint); SELECT objid FROM pg_locks WHERE locktype = 'advisory'",
    ]);
}

#[test]
fn operators_and_casts_that_users_made() {
    all_are_stopped(&[
        "CREATE FUNCTION peek(text, int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = $2'; CREATE OPERATOR || (LEFTARG = text, RIGHTARG = int, FUNCTION = peek); SELECT 'a'::text || 1; DROP FUNCTION peek CASCADE",
        "CREATE FUNCTION peek(text, int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = $2'; CREATE OPERATOR ~~ (LEFTARG = text, RIGHTARG = int, FUNCTION = peek); SELECT 'a'::text LIKE 1; DROP FUNCTION peek CASCADE",
        "CREATE TYPE boxed AS (i int); CREATE FUNCTION unbox(boxed) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = ($1).i'; CREATE CAST (boxed AS text) WITH FUNCTION unbox(boxed) AS IMPLICIT; CREATE TABLE b (v boxed); INSERT INTO b VALUES (ROW(1)); SELECT v::text FROM b; DROP TABLE b; DROP TYPE boxed CASCADE",
        "CREATE TYPE boxed AS (i int); CREATE FUNCTION unbox(boxed) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = ($1).i'; CREATE CAST (boxed AS text) WITH FUNCTION unbox(boxed) AS IMPLICIT; CREATE TABLE b (v boxed); INSERT INTO b VALUES (ROW(1)); SELECT upper(v) FROM b; DROP TABLE b; DROP TYPE boxed CASCADE",
    ]);
}

#[test]
fn definitions_that_move_or_recompute_a_column() {
    all_are_stopped(&[
        "ALTER TABLE customers RENAME ssn TO zz; SELECT zz FROM customers; ALTER TABLE customers RENAME zz TO ssn",
        "ALTER TABLE IF EXISTS ONLY public.customers RENAME COLUMN ssn TO zz; SELECT zz FROM customers",
        "BEGIN; CREATE TABLE x (); ALTER TABLE customers RENAME ssn TO zz; SELECT zz FROM customers; ROLLBACK",
        "ALTER TABLE customers ALTER COLUMN phone TYPE text USING ssn; SELECT phone FROM customers",
        "ALTER TABLE customers ALTER phone SET DATA TYPE text USING upper(\"ssn\"), ADD COLUMN q text; SELECT phone FROM customers",
        "ALTER TABLE customers ADD COLUMN x text GENERATED ALWAYS AS (ssn) STORED; SELECT x FROM customers",
    ]);
}

#[test]
fn relations_that_move_out_of_a_pattern() {
    let scripts = [
        "ALTER TABLE customers RENAME TO harmless; SELECT ssn FROM harmless",
        "ALTER TABLE customers SET SCHEMA hr; SELECT ssn FROM hr.customers",
        "ALTER SCHEMA public RENAME TO harmless; SELECT ssn FROM harmless.customers",
        "ALTER INDEX customers RENAME TO harmless; SELECT ssn FROM harmless",
        "CREATE TABLE parent (LIKE customers); ALTER TABLE customers INHERIT parent; SELECT ssn FROM parent",
    ];
    for script in &scripts {
        shows_the_value_without_a_mask(&[script]);
        let (_database, gateway) = masking(r#"columns = ["public.customers.ssn"]"#);
        nothing_leaks(&gateway.alice(), &[script]);
    }
}

#[test]
fn other_definitions_stay_possible() {
    let (_database, gateway) = masking_ssn();
    let script = "ALTER TABLE customers ADD COLUMN note text; CREATE INDEX by_ssn ON customers (ssn); \
                  ALTER TABLE customers RENAME note TO remark; ALTER TABLE orders RENAME TO purchases; \
                  ALTER TABLE customers DROP COLUMN remark; ALTER TABLE customers ALTER COLUMN name SET DEFAULT ''; \
                  ALTER TABLE hr.people ALTER COLUMN ssn TYPE varchar(20) USING trim(ssn); \
                  CREATE SEQUENCE s; SELECT setval('s', (SELECT max(id) FROM customers)); SELECT nextval('s'); \
                  ALTER TABLE purchases ADD COLUMN twice numeric GENERATED ALWAYS AS (total * 2) STORED; SELECT 'done'";
    let run = gateway.alice().psql_on(script);
    assert!(run.stdout.contains("done"), "{}\n{}", run.stdout, run.stderr);
    assert!(!run.stderr.contains("ERROR"), "{}", run.stderr);
}

#[test]
fn a_migration_that_sees_nothing_may_rename() {
    let (_database, gateway) = masking(r#"columns = ["*"]"#);
    let script =
        "ALTER TABLE customers RENAME ssn TO zz; ALTER TABLE customers RENAME TO people; SELECT zz FROM people";
    let run = gateway.alice().psql_on(script);
    assert!(!run.stderr.contains("ERROR"), "{}", run.stderr);
    nothing_leaks(&gateway.alice(), &["SELECT zz FROM people"]);
}
