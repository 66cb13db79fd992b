//! Ways around a mask that others fell for. Whatever a statement does with a masked value, the client
//! never holds a part of it: the statement is blocked, its output masked, or its text withheld.

use sluicegate_tests::{
    client::Endpoint,
    seed::{SSN, SSN_PART},
    wire::{self, Wire, errors_of, holds, zero_ended},
};

use crate::{database, masking, masking_ssn};

/// What of the value no answer may hold, also in other clothes: backwards, without dashes, as
/// hexadecimal bytes, in base64.
const PARTS: [&str; 8] =
    [SSN_PART, "65-4321", "9876-54-321", "123456789", "3132332d3435", "MTIzLTQ1", "123,45,6789", "123-45-"];

/// Runs each script in a session of its own and looks for the value in everything that came back.
pub(super) fn nothing_leaks(alice: &Endpoint, scripts: &[&str]) {
    let mut leaks = Vec::new();
    for script in scripts {
        let run = alice.psql_on(script);
        let all = format!("{}\n{}", run.stdout, run.stderr);
        if let Some(part) = PARTS.iter().find(|part| all.contains(*part)) {
            leaks.push(format!("{script}\n    holds {part}: {}", all.trim()));
        }
    }
    assert!(leaks.is_empty(), "{} of {} leak:\n{}", leaks.len(), scripts.len(), leaks.join("\n"));
}

/// The control: without a mask every one of these scripts does show the value, so that none of them
/// passes because it is wrong.
pub(super) fn shows_the_value_without_a_mask(scripts: &[&str]) {
    let database = database();
    let mut harmless = Vec::new();
    for script in scripts {
        let run = database.direct().psql_on(script);
        let all = format!("{}\n{}", run.stdout, run.stderr);
        if !PARTS.iter().any(|part| all.contains(part)) {
            harmless.push(format!("{script}\n    {}", all.trim()));
        }
    }
    assert!(harmless.is_empty(), "these show nothing even without a mask:\n{}", harmless.join("\n"));
}

#[test]
fn expressions() {
    let scripts = [
        "SELECT upper(ssn) FROM customers",
        "SELECT ssn || '' FROM customers",
        "SELECT 'x' || ssn || 'y' FROM customers",
        "SELECT ssn::varchar(200) FROM customers",
        "SELECT CAST(ssn AS name) FROM customers",
        "SELECT CASE WHEN id > 0 THEN ssn END FROM customers",
        "SELECT coalesce(ssn, '') FROM customers",
        "SELECT nullif(ssn, '') FROM customers",
        "SELECT greatest(ssn, '') FROM customers",
        "SELECT reverse(ssn) FROM customers",
        "SELECT replace(ssn, '-', '') FROM customers",
        "SELECT replace(ssn, '-', '')::int FROM customers",
        "SELECT encode(ssn::bytea, 'hex') FROM customers",
        "SELECT encode(ssn::bytea, 'base64') FROM customers",
        "SELECT ssn::bytea FROM customers",
        "SELECT format('%s', ssn) FROM customers",
        "SELECT concat(ssn, '!') FROM customers",
        "SELECT string_to_array(ssn, '-') FROM customers",
        "SELECT regexp_replace(ssn, 'x', 'y') FROM customers",
        "SELECT substr(ssn, 1, 7) FROM customers",
        "SELECT overlay(ssn placing '' from 1 for 0) FROM customers",
        "SELECT ARRAY[ssn] FROM customers",
        "SELECT unnest(ARRAY[ssn]) FROM customers",
        "SELECT ROW(ssn) FROM customers",
        "SELECT (ROW(ssn)).f1 FROM customers",
        "SELECT ssn COLLATE \"C\" FROM customers",
        "SELECT json_build_object('a', ssn) FROM customers",
        "SELECT quote_literal(ssn) FROM customers",
        "SELECT ssn || NULL::text, ssn || '' AS name FROM customers",
        "SELECT /* /* nested */ still */ ssn || '' FROM customers",
        "SELECT ssn -- \n || '' FROM customers",
        "SELECT $$x$$ || ssn FROM customers",
        "SELECT E'\\'' || ssn FROM customers",
        "SELECT U&\"!0073sn\" UESCAPE '!' || '' FROM customers",
        "SELECT first_value(ssn) OVER () FROM customers",
        "SELECT lag(ssn, 0) OVER () FROM customers",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn whole_rows_and_aggregates() {
    let scripts = [
        "SELECT c FROM customers c",
        "SELECT customers FROM customers",
        "SELECT c::text FROM customers c",
        "SELECT (c).ssn FROM customers c",
        "SELECT (c).* FROM customers c",
        "SELECT ROW(c.*) FROM customers c",
        "SELECT row_to_json(c) FROM customers c",
        "SELECT to_jsonb(customers) FROM customers",
        "SELECT to_jsonb(c) ->> 'ssn' FROM customers c",
        "SELECT json_agg(c) FROM customers c",
        "SELECT jsonb_object_agg(id, ssn) FROM customers",
        "SELECT array_agg(ssn) FROM customers",
        "SELECT array_agg(c) FROM customers c",
        "SELECT string_agg(ssn, ',') FROM customers",
        "SELECT min(ssn) FROM customers",
        "SELECT min(ssn) FILTER (WHERE id = 1) FROM customers",
        "SELECT mode() WITHIN GROUP (ORDER BY ssn) FROM customers WHERE id = 1",
        "SELECT ssn FROM customers GROUP BY ssn HAVING ssn > ''",
        "SELECT hashtext(ssn), ssn || '' FROM customers",
        "SELECT jsonb_each(to_jsonb(c)) FROM customers c",
        "SELECT value FROM customers c, jsonb_each_text(to_jsonb(c))",
        "SELECT xmlforest(ssn) FROM customers",
        "SELECT xmlelement(name x, ssn) FROM customers",
        "SELECT jsonb_populate_record(NULL::customers, to_jsonb(c)) FROM customers c",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn subqueries_unions_and_joins() {
    let scripts = [
        "SELECT ssn FROM customers UNION ALL SELECT ''",
        "SELECT ssn FROM customers UNION SELECT name FROM customers",
        "SELECT name FROM customers UNION SELECT ssn FROM customers",
        "SELECT ssn FROM customers EXCEPT SELECT ''",
        "SELECT ssn FROM customers INTERSECT SELECT ssn FROM customers",
        "SELECT u FROM (SELECT upper(ssn) AS u FROM customers) q",
        "SELECT (SELECT ssn FROM customers ORDER BY id LIMIT 1)",
        "SELECT ARRAY(SELECT ssn FROM customers)",
        "VALUES ((SELECT ssn FROM customers ORDER BY id LIMIT 1))",
        "WITH w AS (SELECT ssn AS s FROM customers) SELECT s || '' FROM w",
        "WITH w (s) AS (SELECT ssn FROM customers UNION ALL SELECT 'x') SELECT s FROM w",
        "WITH RECURSIVE w (s, n) AS (SELECT ssn, 1 FROM customers UNION ALL SELECT s, n + 1 FROM w WHERE n < 2) SELECT s FROM w",
        "SELECT x.v FROM customers c, LATERAL (SELECT c.ssn || '') x (v)",
        "SELECT ssn FROM customers a FULL JOIN (SELECT ssn FROM customers) b USING (ssn)",
        "SELECT ssn FROM customers a NATURAL JOIN customers b",
        "SELECT v FROM customers, unnest(ARRAY[ssn]) v",
        "SELECT v FROM customers CROSS JOIN LATERAL regexp_split_to_table(ssn, 'x') v",
        "SELECT id, (SELECT c.ssn) FROM customers c",
        "WITH gone AS (DELETE FROM orders RETURNING customer_id) SELECT ssn || '' FROM customers, gone LIMIT 3",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn views_and_functions() {
    let scripts = [
        "SELECT * FROM customer_cards",
        "SELECT tax_id || '' FROM customer_cards",
        "SELECT code FROM cards_again",
        "SELECT row_to_json(v) FROM cards_again v",
        "SELECT loud FROM shouted",
        "SELECT loud || '' FROM shouted",
        "SELECT ssn_of(1)",
        "SELECT v FROM ssn_of(1) v",
        "SELECT id, ssn_of(id) FROM customers",
        "CREATE TEMP VIEW mine AS SELECT ssn AS harmless FROM customers; SELECT harmless FROM mine",
        "CREATE VIEW mine AS SELECT ssn AS harmless FROM customers; SELECT harmless FROM mine; DROP VIEW mine",
        "CREATE VIEW mine AS SELECT upper(ssn) AS harmless FROM customers; SELECT harmless FROM mine; DROP VIEW mine",
        "CREATE MATERIALIZED VIEW mine AS SELECT ssn AS harmless FROM customers; SELECT harmless FROM mine; DROP MATERIALIZED VIEW mine",
        "BEGIN; CREATE VIEW mine AS SELECT ssn AS harmless FROM customers; SELECT harmless FROM mine; ROLLBACK",
        "BEGIN; ALTER TABLE customers RENAME ssn TO harmless; SELECT harmless FROM customers; ROLLBACK",
        "CREATE FUNCTION mine() RETURNS SETOF text LANGUAGE sql AS 'SELECT ssn FROM public.customers'; SELECT mine(); DROP FUNCTION mine()",
        "CREATE FUNCTION public.upper(integer) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = $1'; SELECT upper(1); DROP FUNCTION public.upper(integer)",
        "CREATE FUNCTION pg_temp.mine() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = 1'; SELECT pg_temp.mine()",
        "SELECT query_to_xml('SELECT ssn FROM customers', true, false, '')",
        "SELECT table_to_xml('customers', true, false, '')",
        "SELECT schema_to_xml('public', true, false, '')",
        "SELECT database_to_xml(true, false, '')",
        "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM customers; SELECT cursor_to_xml('c', 5, true, false, '')",
        "CREATE OPERATOR public.## (RIGHTARG = integer, FUNCTION = ssn_of); SELECT OPERATOR(public.##) 1",
        "CREATE OPERATOR public.## (RIGHTARG = integer, FUNCTION = ssn_of); SELECT ## 1",
        "CREATE TYPE boxed AS (i integer); CREATE FUNCTION unbox(boxed) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM public.customers WHERE id = ($1).i'; CREATE CAST (boxed AS text) WITH FUNCTION unbox(boxed); SELECT ROW(1)::boxed::text",
        "ANALYZE customers; SELECT histogram_bounds, most_common_vals FROM pg_stats WHERE tablename = 'customers'",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn statements_cursors_and_copies() {
    let scripts = [
        "PREPARE p AS SELECT ssn || '' FROM customers; EXECUTE p",
        "PREPARE p (int) AS SELECT ssn FROM customers WHERE id = $1; EXECUTE p (1)",
        "BEGIN; DECLARE c CURSOR FOR SELECT upper(ssn) FROM customers; FETCH ALL c; COMMIT",
        "BEGIN; DECLARE c CURSOR FOR SELECT ssn FROM customers; FETCH 1 FROM c; FETCH ABSOLUTE 1 c; COMMIT",
        "BEGIN; DECLARE c BINARY CURSOR FOR SELECT ssn FROM customers; FETCH ALL c; COMMIT",
        "BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT ssn FROM customers; COMMIT; FETCH NEXT c; FETCH BACKWARD ALL c",
        "COPY customers TO STDOUT",
        "COPY customers (ssn) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *)",
        "COPY customers (notes, ssn) TO STDOUT CSV HEADER",
        "COPY (SELECT ssn FROM customers) TO STDOUT",
        "COPY (SELECT ssn || '' FROM customers) TO STDOUT",
        "COPY (SELECT c FROM customers c) TO STDOUT",
        "COPY (SELECT * FROM customer_cards) TO STDOUT",
        "COPY (SELECT loud FROM shouted) TO STDOUT",
        "COPY (UPDATE customers SET phone = phone RETURNING ssn || '') TO STDOUT",
        "\\copy (SELECT ssn FROM customers) TO STDOUT",
        "\\copy customers TO STDOUT CSV DELIMITER '|'",
        "SELECT ssn FROM customers \\gdesc\n SELECT ssn FROM customers \\gx",
        "SELECT ssn AS s FROM customers WHERE id = 1 \\gset\n \\echo :s",
        "SELECT 'SELECT ' || quote_literal(ssn) FROM customers WHERE id = 1 \\gexec",
        "EXECUTE 'nothing'; SELECT ssn || '' FROM customers",
        "INSERT INTO customers (name, email) VALUES ('x', 'y') RETURNING (SELECT ssn FROM customers WHERE id = 1)",
        "UPDATE customers SET phone = phone RETURNING ssn || ''",
        "DELETE FROM orders USING customers c WHERE c.id = customer_id AND c.id = 1 RETURNING c.ssn || ''",
        "UPDATE orders SET total = total FROM customers c WHERE c.id = customer_id RETURNING c",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT ssn || '' FROM customers; SELECT max(ssn || '') FROM customers WHERE id = 1",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn copies_of_the_value_elsewhere() {
    let scripts = [
        "CREATE TABLE loot AS SELECT ssn AS harmless FROM customers; SELECT harmless FROM loot; DROP TABLE loot",
        "SELECT ssn AS harmless INTO TEMP loot FROM customers; SELECT harmless FROM loot",
        "CREATE TEMP TABLE loot (a text); INSERT INTO loot SELECT ssn FROM customers; SELECT a FROM loot",
        "BEGIN; UPDATE customers SET notes = ssn; SELECT notes FROM customers; ROLLBACK",
        "BEGIN; UPDATE customers SET notes = 'was ' || ssn WHERE id = 1; SELECT notes FROM customers WHERE id = 1; ROLLBACK",
        "BEGIN; UPDATE orders SET status = 'new' FROM customers c WHERE c.id = 1 RETURNING c.ssn || ''; ROLLBACK",
        "BEGIN; INSERT INTO customers (name, email) SELECT ssn, 'x' FROM customers WHERE ssn > ''; SELECT name FROM customers; ROLLBACK",
        "BEGIN; WITH w AS (UPDATE customers SET notes = ssn RETURNING notes AS n) SELECT n FROM w; ROLLBACK",
        "BEGIN; MERGE INTO customers c USING customers s ON c.id = s.id WHEN MATCHED THEN UPDATE SET notes = s.ssn; SELECT notes FROM customers; ROLLBACK",
        "SELECT lo_from_bytea(4242, ssn::bytea) FROM customers WHERE id = 1; SELECT convert_from(lo_get(4242), 'UTF8')",
        "PREPARE p AS INSERT INTO orders (customer_id, total) SELECT 1, replace(ssn, '-', '')::bigint FROM customers WHERE id = 1 RETURNING total::bigint; EXECUTE p",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn errors_and_notices() {
    let scripts = [
        "SELECT ssn::int FROM customers",
        "SELECT CAST(ssn AS date) FROM customers",
        "SELECT 1 FROM customers WHERE ssn::int = 1",
        "SELECT 1 FROM customers ORDER BY ssn::numeric",
        "SELECT ssn::uuid FROM customers",
        "SELECT ssn::inet FROM customers",
        "SELECT ssn::order_status FROM customers",
        "SELECT ('[\"' || ssn || '\"')::json FROM customers",
        "SELECT xmlparse(document '<' || ssn || '>') FROM customers",
        "SELECT to_date(ssn, 'YYYY-MM-DD') FROM customers",
        "SELECT ssn::regclass FROM customers",
        "SELECT to_regclass(ssn), ssn::regtype FROM customers",
        "SELECT set_config('work_mem', ssn, false) FROM customers",
        "SELECT pg_catalog.quote_ident(ssn)::regrole FROM customers",
        "INSERT INTO customers (name, email, ssn) SELECT name, email, ssn FROM customers",
        "CREATE TABLE narrow (a text CHECK (a IS NULL)); INSERT INTO narrow SELECT ssn FROM customers; DROP TABLE narrow",
        "CREATE TEMP TABLE n (a int); INSERT INTO n SELECT ssn::int FROM customers",
        "SELECT complain(ssn) FROM customers",
        "DO $$ BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers WHERE id = 1); END $$",
        "DO $$ BEGIN RAISE WARNING USING MESSAGE = (SELECT ssn FROM customers WHERE id = 1); END $$",
        "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = (SELECT ssn FROM customers WHERE id = 1), ERRCODE = '42501'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'x', HINT = (SELECT ssn FROM customers WHERE id = 1), ERRCODE = '42601'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'x', COLUMN = (SELECT ssn FROM customers WHERE id = 1), ERRCODE = '23505'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'x', CONSTRAINT = (SELECT ssn FROM customers WHERE id = 1), TABLE = (SELECT ssn FROM customers WHERE id = 1), SCHEMA = (SELECT ssn FROM customers WHERE id = 1); END $$",
        "DO $$ BEGIN EXECUTE 'SELECT ' || (SELECT quote_ident(ssn) FROM customers WHERE id = 1); END $$",
        "DO $$ BEGIN EXECUTE 'SELECT * FROM ' || (SELECT quote_ident(ssn) FROM customers WHERE id = 1); END $$",
        "DO $$ BEGIN PERFORM set_config('application_name', (SELECT ssn FROM customers WHERE id = 1), false); END $$; SHOW application_name",
        "SELECT set_config('application_name', ssn, false) FROM customers WHERE id = 1; SHOW application_name",
        "SELECT set_config('my.loot', ssn, false) FROM customers WHERE id = 1; SHOW my.loot",
        "SELECT set_config('my.loot', ssn, false) FROM customers WHERE id = 1; SELECT current_setting('my.loot')",
        "LISTEN loot; SELECT pg_notify('loot', ssn) FROM customers WHERE id = 1",
        "LISTEN loot; DO $$ BEGIN PERFORM pg_notify('loot', ssn) FROM customers WHERE id = 1; END $$",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn names_and_string_settings() {
    let scripts = [
        "SET search_path = hr; SELECT ssn || '' FROM public.customers",
        "CREATE SCHEMA x; CREATE VIEW x.orders AS SELECT ssn AS id FROM public.customers; SET search_path = x, public; SELECT id FROM orders; DROP SCHEMA x CASCADE",
        "CREATE SCHEMA x; CREATE VIEW x.orders AS SELECT ssn AS id FROM public.customers; SELECT set_config('search_path', 'x', false); SELECT id FROM orders; DROP SCHEMA x CASCADE",
        "CREATE TEMP VIEW orders AS SELECT ssn AS id FROM customers; SELECT id FROM orders",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = hr', current_database()); END $$; \\c\n SELECT ssn || '' FROM public.customers; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET search_path', current_database()); END $$",
        "SET standard_conforming_strings = off; SELECT '\\' || ssn || ' FROM orders --' FROM customers; SELECT ssn || '' FROM customers",
        "SET standard_conforming_strings = off; SELECT '\\'', ssn || '' FROM customers",
        "SET backslash_quote = on; SELECT E'\\'', ssn || '' FROM customers",
        "SET client_encoding = 'LATIN1'; SELECT ssn || '' FROM customers",
        "SET client_encoding = 'SJIS'; SELECT ssn || '' FROM customers",
        "SET quote_all_identifiers = on; SELECT ssn || '' FROM customers",
        "SET DateStyle = 'German'; SELECT ssn || '' FROM customers",
        "SET bytea_output = 'escape'; SELECT ssn::bytea FROM customers",
    ];
    shows_the_value_without_a_mask(&scripts);
    let (_database, gateway) = masking_ssn();
    nothing_leaks(&gateway.alice(), &scripts);
}

#[test]
fn a_glob_over_everything_masks_what_cannot_be_resolved() {
    let (_database, gateway) = masking(r#"columns = ["*"]"#);
    nothing_leaks(
        &gateway.alice(),
        &["SELECT c FROM customers c", "SELECT * FROM shouted", "SELECT ssn_of(1)", "SELECT * FROM customers"],
    );
    let run = gateway.alice().psql_on("SELECT name FROM customers WHERE id = 1");
    assert_eq!(run.stdout.trim(), "[redacted]", "{}", run.stderr);
}

#[test]
fn a_function_call_message_is_blocked_with_or_without_policies() {
    for gateway in [masking_ssn().1, crate::open().1, crate::guarded("").1] {
        let (mut wire, _) = Wire::login(&gateway.alice());
        let oid = wire.query("SELECT 'ssn_of'::regproc::oid::int");
        let oid: u32 = wire::rows_of(&oid)[0][0].as_ref().unwrap().parse().unwrap();
        // One argument in binary, result in text: see FunctionCall in the manual's message formats.
        let body = [&oid.to_be_bytes()[..], &[0, 1, 0, 1, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0]].concat();
        wire.send('F', &body);
        let answer = wire.read_until("Z");
        assert_eq!(errors_of(&answer), ["42501"]);
        assert!(!holds(&answer, SSN));
        assert_eq!(wire::tags_of(&wire.query("SELECT 1")), "TDCZ");
    }
}

#[test]
fn a_statement_that_does_not_parse_is_not_guessed_at() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    // Not valid UTF-8, so nobody knows what the server would read.
    wire.send('Q', b"SELECT '\xff' || ssn FROM customers\0");
    let answer = wire.read_until("Z");
    assert!(errors_of(&answer).len() == 1 && !holds(&answer, SSN_PART), "{answer:?}");
    let deep = format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    wire.send('Q', &zero_ended(&deep));
    assert_eq!(errors_of(&wire.read_until("Z")), ["42501"]);
    assert_eq!(wire::tags_of(&wire.query("SELECT 1")), "TDCZ");
}

#[test]
fn a_statement_changed_between_parse_and_execute_is_masked_as_it_is() {
    let (database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    database.direct().psql("CREATE VIEW changing AS SELECT name AS a FROM customers WHERE id = 1").ok();
    wire.send_bytes(&[wire::parse("s", "SELECT a FROM changing"), wire::sync()].concat());
    wire.read_until("Z");
    database
        .direct()
        .psql("DROP VIEW changing; CREATE VIEW changing AS SELECT ssn AS a FROM customers WHERE id = 1")
        .ok();
    wire.send_bytes(&[wire::bind("", "s", &[], true), wire::execute("", 0), wire::sync()].concat());
    assert!(!holds(&wire.read_until("Z"), SSN_PART));
    let answer = wire.query("SELECT a FROM changing");
    assert!(!holds(&answer, SSN_PART), "a view that another session replaced is seen as it is now");
}
