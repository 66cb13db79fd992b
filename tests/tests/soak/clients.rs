//! Programs as people use them, and those that break off: killed, or speaking no protocol at all.

use std::{io::Write, net::Shutdown, time::Duration};

use sluicegate_tests::{
    programs::eventually,
    seed::{CARD, SSN_PART},
    wire::{Wire, message, zero_ended},
};

use crate::stage::Stage;

/// How long anything may take on a machine that does all of this at once.
pub const SOON: Duration = Duration::from_secs(60);

/// Rows of the large result.
const MANY: usize = 20_000;

/// pgbench in every mode, some of it with a connection for each transaction.
pub fn pgbench(stage: &Stage<'_>, number: u64) {
    let mode = ["simple", "extended", "prepared"][number as usize % 3];
    let script = ["tpcb-like", "simple-update", "select-only"][number as usize / 3 % 3];
    let mut args = vec!["-n", "-M", mode, "-b", script, "-c", "2", "-R", "300", "-T", "5"];
    if number % 5 == 4 {
        args = vec!["-n", "-M", mode, "-b", "select-only", "-c", "2", "-C", "-t", "5"];
    }
    let report = stage.alice.pgbench(&args).ok();
    assert!(report.contains("number of failed transactions: 0 ") && !report.contains("aborted"), "{report}");
}

/// psql: what is masked, what is found by its content, what is denied, what fails, and much of it.
pub fn psql(stage: &Stage<'_>, number: u64) {
    let shown = stage.alice.psql_on(
        "SELECT ssn, notes FROM customers ORDER BY id;\nDROP TABLE customers;\nSELECT ssn::int FROM customers;\n\
         \\copy customers TO STDOUT\nSELECT 'still here';\n",
    );
    assert!(shown.stdout.contains("[redacted]") && shown.stdout.contains("still here"), "{shown:?}");
    assert!(shown.stderr.contains("42501"), "{shown:?}");
    for secret in [SSN_PART, CARD] {
        assert!(!shown.stdout.contains(secret) && !shown.stderr.contains(secret), "{shown:?}");
    }
    let rows = stage.alice.psql(&format!("SELECT n, repeat('x', 100) FROM generate_series(1, {MANY}) n")).ok();
    assert_eq!(rows.lines().count(), MANY);
    if number.is_multiple_of(10) {
        let dump = stage.alice.pg_dump(&["-t", "customers"]).ok();
        assert!(dump.contains("[redacted]") && !dump.contains(SSN_PART));
        let clear = stage.admin.psql("SELECT ssn FROM customers WHERE id = 1").ok();
        assert!(clear.contains(SSN_PART), "{clear}");
    }
}

/// Bytes that are no protocol, a length that cannot be, an end in the middle of a message, and a client
/// that vanishes while rows are on their way.
pub fn vandal(stage: &Stage<'_>, number: u64) {
    let wire = |bytes: &[u8]| {
        let mut wire = Wire::connect(stage.alice.port);
        wire.send_bytes(bytes);
        let _ = wire.stream().shutdown(Shutdown::Write);
        assert!(wire.is_closed_by_server());
    };
    match number % 5 {
        0 => wire(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"),
        1 => wire(&[0x3f, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
        2 => wire(b"\0\0\0\x40\0\x03\0\0user\0"),
        3 => {
            let mut wire = Wire::try_login(&stage.alice).expect("alice may");
            let whole = message('Q', &zero_ended("SELECT 1"));
            wire.send_bytes(&whole[..whole.len() / 2]);
            wire.send_bytes(&message('X', &[]));
            let _ = wire.stream().shutdown(Shutdown::Write);
            assert!(wire.is_closed_by_server());
        }
        _ => {
            let mut wire = Wire::try_login(&stage.alice).expect("alice may");
            wire.send('Q', &zero_ended("SELECT n, repeat('y', 1000) FROM generate_series(1, 100000) n"));
            wire.read_until("D");
            wire.stream().flush().expect("a socket can be flushed");
        }
    }
}

/// psql, killed while its query runs.
pub fn killed(stage: &Stage<'_>, number: u64) {
    let mark = format!("killed client {number}");
    let psql = stage.alice.psql_start(&format!("BEGIN;\nSELECT pg_sleep(100), '{mark}';\n"));
    let count = || active(stage, &mark);
    eventually("the query runs", SOON, || count() == 1);
    psql.signal("KILL");
    drop(psql);
    eventually("the query of a client that is gone ends", SOON, || count() == 0);
}

/// A server process that is ended while its client waits.
pub fn victim(stage: &Stage<'_>, number: u64) {
    let mark = format!("killed backend {number}");
    let mut wire = Wire::try_login(&stage.alice).expect("alice may");
    wire.send('Q', &zero_ended(&format!("SELECT pg_sleep(100), '{mark}'")));
    eventually("the query runs", SOON, || active(stage, &mark) == 1);
    stage.database.administer(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%{mark}''' AND pid <> pg_backend_pid()"
    ));
    let error = wire.read_until("E").pop().expect("an error");
    assert_eq!(error.field('C').as_deref(), Some("57P01"), "{error:?}");
    assert!(wire.is_closed_by_server());
}

/// How many statements with this mark run on the server.
pub fn active(stage: &Stage<'_>, mark: &str) -> u32 {
    let query =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE";
    stage.database.administer(&format!("{query} '%{mark}%'")).trim().parse().expect("a number")
}
