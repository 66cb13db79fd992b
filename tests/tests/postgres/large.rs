//! Large values and large results pass without being gathered in the gateway's memory.

use sluicegate_tests::{
    client::soon,
    wire::{Wire, rows_of, tags_of},
};

use crate::{masking_ssn, open};

const MIB: u64 = 1024 * 1024;

/// What a gateway may grow by, whatever passes through it.
const GROWTH: u64 = 48 * MIB;

#[test]
fn a_text_of_a_hundred_megabytes_comes_out() {
    let (_database, gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("SELECT 1");
    let before = gateway.peak_memory();
    let answer = wire.query("SELECT repeat('x', 100000000)");
    let row = &rows_of(&answer)[0][0];
    assert_eq!(row.as_ref().map(String::len), Some(100_000_000));
    let grown = gateway.peak_memory() - before;
    assert!(grown < GROWTH, "the gateway grew by {} MiB", grown / MIB);
    assert_eq!(tags_of(&wire.query("SELECT 1")), "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_fifty_megabytes_go_in() {
    let (database, gateway) = open();
    let session = gateway.alice().connect().await;
    session.client.batch_execute("CREATE TABLE blobs (b bytea)").await.unwrap();
    let before = gateway.peak_memory();
    let blob: Vec<u8> = (0u32..12_500_000).flat_map(u32::to_le_bytes).collect();
    soon(session.client.execute("INSERT INTO blobs VALUES ($1)", &[&blob])).await.unwrap();
    let grown = gateway.peak_memory() - before;
    assert!(grown < GROWTH, "the gateway grew by {} MiB", grown / MIB);
    let there = database.direct().psql("SELECT length(b), md5(b) = md5((SELECT b FROM blobs)) FROM blobs").ok();
    assert_eq!(there.trim(), "50000000|t");
    let back = soon(session.client.query_one("SELECT b FROM blobs", &[])).await.unwrap();
    assert!(back.get::<_, &[u8]>(0) == blob);
}

#[test]
fn a_million_rows_beside_a_masked_column_come_out() {
    let (database, gateway) = masking_ssn();
    database.direct().psql("CREATE TABLE many AS SELECT n AS id, 'ssn of ' || n AS ssn, 'name ' || n AS name FROM generate_series(1, 1000000) n").ok();
    let alice = gateway.alice();
    alice.psql("SELECT 1").ok();
    let before = gateway.peak_memory();
    let mut command = alice.command("psql");
    command.args(["-X", "-A", "-t", "-c", "COPY (SELECT id, ssn, name FROM many) TO STDOUT"]);
    let output = command.output().unwrap();
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| line.windows(11).any(|w| w == b"\t[redacted]"))
        .count();
    assert_eq!(lines, 1_000_000, "{}", String::from_utf8_lossy(&output.stderr));
    let run = alice.psql("\\set FETCH_COUNT 10000\nSELECT id, ssn, name FROM many;\n").ok();
    assert_eq!(run.lines().filter(|line| line.contains("|[redacted]|")).count(), 1_000_000);
    let grown = gateway.peak_memory() - before;
    assert!(grown < GROWTH, "the gateway grew by {} MiB", grown / MIB);
}

#[test]
fn a_client_that_does_not_read_holds_the_server_back() {
    let (_database, gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("SELECT 1");
    let before = gateway.peak_memory();
    wire.send('Q', b"SELECT repeat('x', 1000) FROM generate_series(1, 500000)\0");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let grown = gateway.peak_memory() - before;
    assert!(grown < GROWTH, "the gateway grew by {} MiB", grown / MIB);
    let answer = wire.read_until("Z");
    assert_eq!(answer.len(), 500_000 + 3);
}

#[test]
fn a_long_statement_is_read_and_one_without_end_is_refused() {
    let (_database, gateway) = open();
    let long = format!("SELECT length('{}')", "x".repeat(900_000));
    assert_eq!(gateway.alice().psql(&long).ok().trim(), "900000");
    let (mut wire, _) = Wire::login(&gateway.alice());
    // A Query that claims to be 1 GiB long.
    wire.send_bytes(&[&b"Q"[..], &(1u32 << 30).to_be_bytes(), &[b' '; 4096]].concat());
    let before = gateway.peak_memory();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(gateway.peak_memory() - before < GROWTH);
    drop(wire);
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
}
