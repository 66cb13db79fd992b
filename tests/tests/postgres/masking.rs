//! What `pii-mask` does to values, seen by real clients: every type, every style, every way to name a
//! stored column.

use std::error::Error;

use sluicegate_tests::{
    Gateway,
    client::soon,
    seed::{CARD, EMAIL, SSN},
};
use tokio_postgres::types::{FromSql, Type};

use crate::{database, masking, masking_ssn};

/// Any value as the wire had it.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[test]
fn a_stored_column_is_masked_by_whatever_way_it_is_read() {
    let (_database, gateway) = masking_ssn();
    let ways = [
        "SELECT ssn FROM customers WHERE id = 1",
        "SELECT ssn AS name FROM customers WHERE id = 1",
        "SELECT c.ssn FROM public.customers AS c WHERE c.id = 1",
        "SELECT \"ssn\" FROM ONLY customers WHERE id = 1",
        "SELECT s FROM (SELECT ssn AS s, id FROM customers) AS inside WHERE id = 1",
        "WITH w AS (SELECT id, ssn AS s FROM customers) SELECT s FROM w WHERE id = 1",
        "SELECT c.ssn FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 1 LIMIT 1",
        "SELECT x.ssn FROM orders o, LATERAL (SELECT ssn FROM customers WHERE id = o.customer_id) x WHERE o.customer_id = 1 LIMIT 1",
        "SELECT ssn FROM customers WHERE ssn = '123-45-6789'",
        "SELECT tax_id FROM customer_cards WHERE id = 1",
        "SELECT code FROM cards_again WHERE id = 1",
        "SET search_path = hr; SELECT ssn FROM people",
        "SELECT ssn FROM customers WHERE id = 1 FOR UPDATE",
        "SELECT DISTINCT ON (id) ssn FROM customers WHERE id = 1 ORDER BY id, ssn",
    ];
    for way in ways {
        // A way that the gate cannot follow may be blocked, but these plain ones must work.
        let run = gateway.alice().psql_one(way);
        assert_eq!(run.stdout.lines().last(), Some("[redacted]"), "{way}: {}", run.stderr);
    }
}

#[test]
fn other_columns_and_null_pass_untouched() {
    let (database, gateway) = masking_ssn();
    let sql = "SELECT id, name, email, phone, card, notes FROM customers ORDER BY id";
    assert_eq!(gateway.alice().psql(sql).ok(), database.direct().psql(sql).ok());
    let nulls = "SELECT ssn IS NULL FROM customers WHERE id = 3; SELECT ssn FROM customers WHERE id = 3";
    let (mut wire, _) = sluicegate_tests::wire::Wire::login(&gateway.alice());
    let answer = wire.query(nulls);
    let rows = sluicegate_tests::wire::rows_of(&answer);
    assert_eq!(rows.last().unwrap(), &[None], "a NULL stays NULL");
}

#[test]
fn whole_rows_of_a_table_show_the_mask_in_its_column() {
    let (_database, gateway) = masking_ssn();
    for sql in ["SELECT * FROM customers ORDER BY id", "TABLE customers", "SELECT customers.* FROM customers"] {
        let shown = gateway.alice().psql(sql).ok();
        assert!(shown.contains("1|Ada Lovelace|ada@example.com|[redacted]|+44 20 7946 0123|"), "{sql}: {shown}");
    }
}

#[test]
fn who_is_excepted_sees_clear_values() {
    let (_database, gateway) = masking_ssn();
    let sql = "SELECT ssn, upper(ssn) FROM customers WHERE id = 1";
    assert_eq!(gateway.endpoint("admin").psql(sql).ok().trim(), format!("{SSN}|{SSN}"));
    gateway.alice().psql("SELECT ssn FROM customers WHERE id = 1").ok();
}

#[test]
fn a_schema_in_a_glob_is_the_schema_of_the_table_that_is_read() {
    let (_database, gateway) = masking(r#"columns = ["hr.people.ssn"]"#);
    let alice = gateway.alice();
    assert_eq!(alice.psql("SELECT ssn FROM customers WHERE id = 1").ok().trim(), SSN);
    assert_eq!(alice.psql("SELECT ssn FROM hr.people").ok().trim(), "[redacted]");
    let moved = "SELECT set_config('search_path', 'hr', false) \\g /dev/null\nSELECT ssn FROM people;\n";
    assert_eq!(alice.psql(moved).ok().trim(), "[redacted]");
}

#[test]
fn each_style_masks_as_it_says() {
    let database = database();
    let shown = |style: &str, sql: &str| {
        let settings = format!(r#"columns = ["*.ssn", "*.email", "hr.people.salary"], style = "{style}""#);
        let gateway = Gateway::before(&database).policy("pii-mask", &settings).start();
        gateway.alice().psql_with(&["-q", "-A", "-t", "-P", "null=NULL"], sql).ok()
    };
    let sql = "SELECT ssn, email FROM customers WHERE id = 1; SELECT salary FROM hr.people";
    assert_eq!(shown("redact", sql), "[redacted]|[redacted]\n0\n");
    assert_eq!(shown("null", sql), "NULL|NULL\nNULL\n");
    let partial = shown("partial", sql);
    assert!(partial.starts_with("*******6789|") && !partial.contains("123-45"), "{partial}");
    let hashed = shown("hash", sql);
    assert!(!hashed.contains("6789") && !hashed.contains("redacted") && !hashed.contains("4200"), "{hashed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_keeps_equal_values_equal_in_text_and_in_binary() {
    let (database, gateway) = masking(r#"columns = ["*.ssn", "hashes.*"], style = "hash""#);
    database.direct().psql("CREATE TABLE hashes (a text, b varchar(64), n int4, m int8); INSERT INTO hashes VALUES ('same', 'same', 77, 77), ('same', 'other', 78, 77)").ok();
    let session = gateway.alice().connect().await;
    let rows = soon(session.client.query("SELECT a, b, n, m FROM hashes", &[])).await.unwrap();
    let [first, second] = [&rows[0], &rows[1]]
        .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, i32>(2), row.get::<_, i64>(3)));
    assert_eq!((&first.0, first.3), (&second.0, second.3));
    assert_eq!(first.0, first.1);
    assert!(first.1 != second.1 && first.2 != second.2 && first.0 != "same" && first.2 != 77);
    let text = gateway.alice().psql("SELECT a, b, n, m FROM hashes LIMIT 1").ok();
    assert_eq!(text.trim(), format!("{}|{}|{}|{}", first.0, first.1, first.2, first.3));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_masked_in_binary() {
    let (database, gateway) = masking(r#"columns = ["everything.*"]"#);
    let (through, straight) = (gateway.alice().connect().await, database.direct().connect().await);
    let sql = "SELECT * FROM everything";
    let (masked, clear) =
        (soon(through.client.query_one(sql, &[])).await.unwrap(), straight.client.query_one(sql, &[]).await.unwrap());
    for (index, column) in clear.columns().iter().enumerate() {
        let (hidden, shown) = (masked.get::<_, Option<Raw>>(index), clear.get::<_, Option<Raw>>(index));
        assert_ne!(hidden, shown, "{} of type {} is shown", column.name(), column.type_());
    }
    let of = |name: &str| masked.columns().iter().position(|column| column.name() == name).unwrap();
    assert_eq!(
        (masked.get::<_, i32>(of("id")), masked.get::<_, i16>(of("i2")), masked.get::<_, i64>(of("i8"))),
        (0, 0, 0)
    );
    assert_eq!((masked.get::<_, bool>(of("b")), masked.get::<_, f64>(of("f8"))), (false, 0.0));
    assert_eq!((masked.get::<_, &str>(of("t")), masked.get::<_, Vec<i32>>(of("ia"))), ("[redacted]", Vec::new()));
    assert!(masked.get::<_, Vec<u8>>(of("by")).is_empty());
}

#[test]
fn every_masked_value_is_one_that_its_column_would_take() {
    let (database, gateway) = masking(r#"columns = ["everything.*"]"#);
    database.direct().psql("CREATE TABLE taken (LIKE everything)").ok();
    let rows = gateway.alice().psql("COPY everything TO STDOUT").ok();
    assert!(!rows.contains("secret") && !rows.contains("42"), "{rows}");
    database.direct().psql(&format!("COPY taken FROM STDIN;\n{rows}\\.\n")).ok();
    let taken = database.direct().psql("SELECT t, num, b, dt, u, ta, j FROM taken").ok();
    assert_eq!(taken.trim(), "[redacted]|0.00|f|1970-01-01|00000000-0000-0000-0000-000000000000|{}|\"[redacted]\"");
}

#[test]
fn detectors_find_values_in_columns_nobody_named() {
    let (_database, gateway) = masking(r#"detect = ["card", "email"]"#);
    let shown = gateway.alice().psql("SELECT card, email, notes, phone FROM customers ORDER BY id").ok();
    let lines: Vec<_> = shown.lines().collect();
    assert!(!shown.contains(CARD) && !shown.contains(EMAIL) && !shown.contains("5500 0000 0000 0004"), "{shown}");
    assert!(lines[1].contains("|paid with ") && lines[1].ends_with("+33 1 70 18 99 00"), "{shown}");
    assert!(lines[0].contains("|calls on Mondays|"), "{shown}");
    // An expression over a value is inspected like the value.
    let shown = gateway.alice().psql_one("SELECT 'card: ' || card FROM customers WHERE id = 1");
    assert!(!shown.stdout.contains("1111"), "{}", shown.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_look_into_binary_results() {
    let (_database, gateway) = masking(r#"detect = ["card", "email"]"#);
    let session = gateway.alice().connect().await;
    let rows = soon(session.client.query("SELECT card, email, notes, ARRAY[card] FROM customers ORDER BY id", &[]))
        .await
        .unwrap();
    let all = format!(
        "{:?}",
        rows.iter()
            .map(|row| (
                row.get::<_, Option<&str>>(0),
                row.get::<_, Option<&str>>(1),
                row.get::<_, Option<&str>>(2),
                row.get::<_, Vec<Option<&str>>>(3)
            ))
            .collect::<Vec<_>>()
    );
    assert!(!all.contains("4111") && !all.contains(EMAIL) && !all.contains("5500"), "{all}");
}

#[test]
fn detectors_look_at_every_row_of_a_large_result() {
    let (_database, gateway) = masking(r#"detect = ["card"]"#);
    let sql =
        "SELECT CASE WHEN n % 997 = 0 THEN '4111111111111111' ELSE 'row ' || n END FROM generate_series(1, 50000) n";
    let shown = gateway.alice().psql(sql).ok();
    assert_eq!(shown.lines().count(), 50_000);
    assert!(!shown.contains("4111111111111111"));
    assert_eq!(shown.lines().filter(|line| line.starts_with("row ")).count(), 50_000 - 50);
}

#[test]
fn masks_of_two_policies_add_up() {
    let database = database();
    let gateway = Gateway::before(&database)
        .policy("pii-mask", r#"columns = ["*.ssn"]"#)
        .policy("pii-mask", r#"columns = ["*.email"]"#)
        .policy("sql-guard", r#"deny = ["drop"]"#)
        .start();
    let shown = gateway.alice().psql("SELECT ssn, email, name FROM customers WHERE id = 1").ok();
    assert_eq!(shown.trim(), "[redacted]|[redacted]|Ada Lovelace");
    assert!(gateway.alice().psql("DROP TABLE orders").failed().contains("42501"));
}

#[test]
fn a_policy_in_monitor_mode_changes_nothing_and_is_recorded() {
    let database = database();
    let gateway = Gateway::before(&database)
        .monitor("pii-mask", r#"columns = ["*.ssn"]"#)
        .monitor("sql-guard", r#"deny = ["delete"]"#)
        .start();
    let script = "SELECT ssn FROM customers WHERE id = 1; DELETE FROM orders WHERE id = 30;";
    assert_eq!(gateway.alice().psql(script).ok().trim(), SSN);
    assert_eq!(database.direct().psql("SELECT count(*) FROM orders").ok().trim(), "29");
    let record = crate::record::newest(&gateway, 1).to_string();
    assert!(record.contains("monitor") && record.contains("pii-mask") && record.contains("sql-guard"), "{record}");
}

#[test]
fn a_masked_value_fits_a_column_that_is_too_short_for_the_word() {
    let (database, gateway) = masking(r#"columns = ["short.*"]"#);
    database.direct().psql("CREATE TABLE short (a varchar(3), b char(4), c \"char\", d bit(3)); INSERT INTO short VALUES ('abc', 'abcd', 'x', '101')").ok();
    let shown = gateway.alice().psql("SELECT a, b FROM short").ok();
    assert_eq!(shown.trim(), "[re|[red");
    let shown = gateway.alice().psql("SELECT c, d FROM short").ok();
    assert!(!shown.contains('x') && !shown.contains("101"), "{shown}");
}
