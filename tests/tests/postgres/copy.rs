//! COPY in and out: masked in each format, fast and whole where nothing is masked.

use std::fmt::Write;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sluicegate_tests::{
    client::soon,
    seed::{SSN, SSN_PART},
    wire::{self, Wire, errors_of, tags_of, zero_ended},
};

use crate::{masking, masking_ssn, open};

#[test]
fn copy_out_is_masked_in_text_and_csv() {
    let (database, gateway) = masking_ssn();
    database.direct().psql("UPDATE customers SET notes = E'a\\tb, \"c\"\\n\\\\d' WHERE id = 2").ok();
    let ways = [
        "COPY customers TO STDOUT",
        "COPY customers TO STDOUT WITH (FORMAT csv)",
        "COPY customers TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', QUOTE '|', ESCAPE '\\')",
        "COPY customers TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *, NULL 'none')",
        "COPY customers TO STDOUT WITH (DELIMITER '|', NULL '')",
        "COPY customers (ssn, notes, id) TO STDOUT",
        "COPY (SELECT id, ssn, notes FROM customers ORDER BY id) TO STDOUT CSV HEADER",
    ];
    for way in ways {
        let (masked, clear) = (gateway.alice().psql(way).ok(), database.direct().psql(way).ok());
        let quoted = way.contains("FORCE_QUOTE");
        assert!(clear.contains(SSN) && !masked.contains(SSN_PART), "{way}: {masked}");
        let expected = clear.replace(SSN, "[redacted]").replace("987-65-4321", "[redacted]");
        assert_eq!(
            masked.replace('"', if quoted { "" } else { "\"" }),
            expected.replace('"', if quoted { "" } else { "\"" }),
            "{way}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_out_is_masked_in_binary() {
    use tokio_postgres::{binary_copy::BinaryCopyOutStream, types::Type};
    let (_database, gateway) = masking_ssn();
    let session = gateway.alice().connect().await;
    let stream =
        soon(session.client.copy_out("COPY customers (id, ssn, name) TO STDOUT (FORMAT binary)")).await.unwrap();
    let mut stream = Box::pin(BinaryCopyOutStream::new(stream, &[Type::INT4, Type::TEXT, Type::TEXT]));
    let mut seen = Vec::new();
    while let Some(row) = soon(stream.next()).await {
        let row = row.unwrap();
        seen.push((row.get::<i32>(0), row.get::<Option<String>>(1), row.get::<String>(2)));
    }
    let masked = Some("[redacted]".to_owned());
    assert_eq!(
        seen,
        [
            (1, masked.clone(), "Ada Lovelace".to_owned()),
            (2, masked, "Blaise Pascal".to_owned()),
            (3, None, "Carl Gauss".to_owned())
        ]
    );
    soon(session.client.simple_query("SELECT 1")).await.unwrap();
}

#[test]
fn a_large_copy_in_arrives_whole() {
    let (database, gateway) = masking_ssn();
    let mut script = "CREATE TABLE big (id int, t text);\nCOPY big FROM STDIN;\n".to_owned();
    for id in 0..200_000 {
        writeln!(script, "{id}\trow number {id} with some text").unwrap();
    }
    script.push_str("\\.\nSELECT count(*), sum(id) FROM big;\n");
    assert_eq!(gateway.alice().psql(&script).ok().trim(), "200000|19999900000");
    let copied = gateway.alice().psql("COPY big TO STDOUT").ok();
    assert_eq!(copied, database.direct().psql("COPY big TO STDOUT").ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_copies_in_and_may_stop_halfway() {
    let (database, gateway) = masking_ssn();
    let session = gateway.alice().connect().await;
    session.client.batch_execute("CREATE TABLE taken (id int, t text)").await.unwrap();
    for chunk in 0..3 {
        let sink = soon(session.client.copy_in("COPY taken FROM STDIN")).await.unwrap();
        let mut sink = std::pin::pin!(sink);
        for row in 0..1000 {
            soon(sink.send(Bytes::from(format!("{row}\tchunk {chunk}\n")))).await.unwrap();
        }
        if chunk < 2 {
            assert_eq!(soon(sink.finish()).await.unwrap(), 1000);
        }
        // The third is dropped unfinished, which tells the server to forget it.
    }
    let count = soon(session.client.query_one("SELECT count(*) FROM taken", &[])).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 2000);
    assert_eq!(database.direct().psql("SELECT count(DISTINCT t) FROM taken").ok().trim(), "2");
}

#[test]
fn binary_and_csv_go_in_as_they_came_out() {
    let (database, gateway) = open();
    let folder = tempfile::tempdir().unwrap();
    for format in ["binary", "csv", "text"] {
        let file = folder.path().join(format);
        let table = format!("copy_{format}");
        let script = format!(
            "CREATE TABLE {table} (LIKE everything);\n\\copy everything TO '{file}' (FORMAT {format})\n\\copy {table} FROM '{file}' (FORMAT {format})\n",
            file = file.display()
        );
        gateway.alice().psql(&script).ok();
        let read = |table: &str| database.direct().psql(&format!("SELECT * FROM {table}")).ok();
        assert_eq!(read(&table), read("everything"));
    }
}

#[test]
fn an_error_in_the_middle_of_a_copy_in_ends_the_copy_and_nothing_else() {
    let (_database, gateway) = open();
    let script =
        "COPY hr.people FROM STDIN;\n8\tx\t1\nnot a number\tx\t1\n9\tx\t1\n\\.\nSELECT count(*) FROM hr.people;\n";
    let run = gateway.alice().psql_on(script);
    assert!(run.stderr.contains("22P02"), "{}", run.stderr);
    assert_eq!(run.stdout.trim(), "1");
}

#[test]
fn a_client_may_give_up_a_copy_in() {
    let (_database, gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send('Q', &zero_ended("COPY hr.people FROM STDIN"));
    assert_eq!(tags_of(&wire.read_until("G")), "G");
    wire.send('d', b"8\tx\t1\n");
    wire.send('f', &zero_ended("changed my mind"));
    assert_eq!(errors_of(&wire.read_until("Z")), ["57014"]);
    // In the extended protocol as well, where Sync must be waited for.
    let run = [
        wire::parse("", "COPY hr.people FROM STDIN"),
        wire::bind("", "", &[], false),
        wire::execute("", 0),
        wire::sync(),
    ];
    wire.send_bytes(&run.concat());
    assert_eq!(tags_of(&wire.read_until("G")), "12G");
    wire.send_bytes(&[wire::message('d', b"8\tx\t1\n"), wire::message('c', &[]), wire::sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "CZ");
}

#[test]
fn copies_among_other_statements_of_one_message_are_masked() {
    let (_database, gateway) = masking_ssn();
    let (mut wire, _) = Wire::login(&gateway.alice());
    let answer = wire.query(
        "SELECT 1; COPY (SELECT ssn FROM customers WHERE id = 1) TO STDOUT; SELECT ssn FROM customers WHERE id = 1",
    );
    assert_eq!(tags_of(&answer), "TDCHdcCTDCZ");
    let copied = answer.iter().find(|message| message.tag == 'd').unwrap();
    assert_eq!(copied.body, b"[redacted]\n");
    assert!(!wire::holds(&answer, SSN_PART));
}

#[test]
fn where_a_copy_cannot_be_seen_it_is_blocked() {
    let (database, gateway) = masking_ssn();
    database.administer("GRANT pg_execute_server_program, pg_write_server_files TO app");
    for way in ["COPY customers TO PROGRAM 'cat >/dev/null'", "COPY customers TO '/tmp/never-written'"] {
        assert!(gateway.alice().psql(way).failed().contains("42501"), "{way}");
    }
    database.administer("REVOKE pg_execute_server_program, pg_write_server_files FROM app");
}

#[test]
fn detectors_look_into_copies() {
    let (_database, gateway) = masking(r#"detect = ["card"]"#);
    for way in [
        "COPY customers TO STDOUT",
        "COPY customers TO STDOUT CSV",
        "COPY (SELECT notes, card FROM customers) TO STDOUT",
    ] {
        let shown = gateway.alice().psql(way).ok();
        assert!(!shown.contains("1111") && !shown.contains("5500 0000"), "{way}: {shown}");
    }
}
