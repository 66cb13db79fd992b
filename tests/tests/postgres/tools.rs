//! Whole programs at work through the gate: pgbench, pg_dump, and what they and people lean on, LISTEN
//! and cancelling.

use std::time::Duration;

use sluicegate_tests::{
    Gateway, Postgres,
    client::{soon, sqlstate},
    programs::eventually,
    seed::{SSN, SSN_PART},
};
use tokio_postgres::{AsyncMessage, NoTls};

use crate::{database, guarded, masking_ssn, open};

/// How many transactions pgbench completed; it must have failed in none.
fn transactions(report: &str) -> u32 {
    assert!(report.contains("number of failed transactions: 0 "), "{report}");
    let count = report.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "));
    count.and_then(|count| count.split('/').next()?.trim().parse().ok()).unwrap_or_else(|| panic!("no count: {report}"))
}

#[test]
fn pgbench_runs_in_every_mode_without_a_failure() {
    let database = Postgres::shared().empty_database();
    let gateway = Gateway::before(&database)
        .policy("pii-mask", r#"columns = ["*.filler"]"#)
        .policy("sql-guard", "require_where = false")
        .start();
    let alice = gateway.alice();
    alice.pgbench(&["-i", "-s", "1", "-q"]).ok();
    for mode in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "simple-update", "select-only"] {
            let report = alice.pgbench(&["-M", mode, "-b", script, "-c", "4", "-j", "2", "-t", "25", "-n"]).ok();
            assert_eq!(transactions(&report), 100, "{mode} {script}");
        }
    }
    let report = alice.pgbench(&["-M", "extended", "-C", "-c", "2", "-t", "5", "-b", "select-only", "-n"]).ok();
    assert_eq!(transactions(&report), 10);
    assert_eq!(database.direct().psql("SELECT count(*) FROM pgbench_history").ok().trim(), "600");
}

#[test]
fn pgbench_initialises_with_every_step() {
    let database = Postgres::shared().empty_database();
    let gateway = Gateway::before(&database).policy("pii-mask", r#"columns = ["*.filler"]"#).start();
    gateway.alice().pgbench(&["-i", "-I", "dtgGvpf", "-q", "--partitions=3"]).ok();
    assert_eq!(database.direct().psql("SELECT count(*) FROM pgbench_accounts").ok().trim(), "100000");
}

#[test]
fn pgbench_pipelines() {
    let (_database, gateway) = open();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("pipeline.sql");
    std::fs::write(
        &script,
        "\\startpipeline\nSELECT 1;\nSELECT id FROM orders WHERE id = 2;\nBEGIN;\nSELECT 3;\nCOMMIT;\n\\endpipeline\n",
    )
    .unwrap();
    let report = gateway
        .alice()
        .pgbench(&["-M", "extended", "-n", "-t", "50", "-c", "2", "-f", &script.display().to_string()])
        .ok();
    assert_eq!(transactions(&report), 100);
}

#[test]
fn a_dump_through_the_gate_restores_to_the_same_database() {
    let (database, gateway) = open();
    let through = gateway.alice().pg_dump(&[]).ok();
    let straight = database.direct().pg_dump(&[]).ok();
    assert_eq!(comparable(&through), comparable(&straight));
    let empty = Postgres::shared().empty_database();
    empty.direct().psql(&through).ok();
    let again = empty.direct().pg_dump(&[]).ok();
    assert_eq!(comparable(&again), comparable(&straight));
    let custom = gateway
        .alice()
        .pg_dump(&["--inserts", "--rows-per-insert=10", "--clean", "--if-exists", "--serializable-deferrable"])
        .ok();
    assert!(custom.contains("INSERT INTO public.customers"));
}

#[test]
fn a_dump_through_the_gate_is_masked() {
    let (_database, gateway) = masking_ssn();
    for arguments in [&[][..], &["--inserts"], &["--column-inserts", "--data-only"], &["-t", "customers"]] {
        let dump = gateway.alice().pg_dump(arguments).ok();
        assert!(dump.contains("Ada Lovelace") && dump.contains("[redacted]"), "{arguments:?}");
        assert!(!dump.contains(SSN_PART), "{arguments:?}");
    }
    // Masked values of a UNIQUE column collide, so the rest is restored without that index.
    let restored = Postgres::shared().empty_database();
    let schema = gateway.alice().pg_dump(&["--section=pre-data", "--section=data"]).ok();
    restored.direct().psql(&schema).ok();
    let there = restored.direct().psql("SELECT name, ssn FROM customers WHERE id = 1").ok();
    assert_eq!(there.trim(), "Ada Lovelace|[redacted]");
}

/// A dump without the lines that differ from run to run.
fn comparable(dump: &str) -> Vec<&str> {
    dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).collect()
}

#[test]
fn psql_is_notified() {
    let (_database, gateway) = open();
    let shown = gateway.alice().psql("LISTEN news;\nNOTIFY news, 'hello';\nSELECT 1;\n").ok();
    assert!(shown.contains("Asynchronous notification \"news\" with payload \"hello\""), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_arrives_without_being_asked_for() {
    let (database, gateway) = open();
    let mut session = gateway.alice().connect().await;
    soon(session.client.batch_execute("LISTEN news")).await.unwrap();
    database.direct().psql("NOTIFY news, 'from elsewhere'").ok();
    let message = soon(session.messages.recv()).await.unwrap();
    let AsyncMessage::Notification(notification) = message else { panic!("{message:?}") };
    assert_eq!((notification.channel(), notification.payload()), ("news", "from elsewhere"));
    soon(session.client.batch_execute("NOTIFY news; UNLISTEN *")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_arrive_before_the_end_of_what_raised_them() {
    let (_database, gateway) = open();
    let mut session = gateway.alice().connect().await;
    soon(session.client.batch_execute("DO $$ BEGIN FOR i IN 1..3 LOOP RAISE NOTICE 'number %', i; END LOOP; END $$"))
        .await
        .unwrap();
    for number in 1..=3 {
        let AsyncMessage::Notice(notice) = soon(session.messages.recv()).await.unwrap() else { panic!("a notice") };
        assert_eq!(notice.message(), format!("number {number}"));
    }
}

#[test]
fn ctrl_c_in_psql_cancels_the_query_and_not_the_session() {
    let (database, gateway) = open();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()";
    let psql = gateway.alice().psql_start("SELECT pg_sleep(60);\nSELECT 'alive';\n");
    eventually("the query runs", Duration::from_secs(10), || database.administer(running).trim() == "1");
    psql.signal("INT");
    eventually("the query is cancelled", Duration::from_secs(10), || database.administer(running).trim() == "0");
    // A psql that reads a script stops after an interrupt; what counts is that the server heard of it.
    let run = psql.finish(Duration::from_secs(20));
    assert!(run.stderr.contains("57014") || run.stderr.contains("Cancel request sent"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_tokio_postgres_cancels_its_own_session_only() {
    let (_database, gateway) = open();
    let (one, other) = (gateway.alice().connect().await, gateway.alice().connect().await);
    let token = one.client.cancel_token();
    let (cancelled, slept, ()) = tokio::join!(
        soon(one.client.simple_query("SELECT pg_sleep(30)")),
        soon(other.client.simple_query("SELECT pg_sleep(2)")),
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            token.cancel_query(NoTls).await.unwrap();
        }
    );
    assert_eq!(sqlstate(&cancelled.unwrap_err()), "57014");
    slept.unwrap();
    soon(one.client.simple_query("SELECT 1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_cancel_harms_no_session() {
    let (_database, gateway) = guarded(r#"deny = ["drop"]"#);
    let session = gateway.alice().connect().await;
    let token = session.client.cancel_token();
    for _ in 0..20 {
        token.cancel_query(NoTls).await.unwrap();
        // Like the server itself, the gateway may pass a late cancel on to the next statement; a
        // denial must stay one all the same, and the answers must stay in step.
        match soon(session.client.simple_query("SELECT 1")).await {
            Ok(answer) => assert_eq!(answer.len(), 3),
            Err(error) => assert_eq!(sqlstate(&error), "57014"),
        }
        let denied = soon(session.client.batch_execute("DROP TABLE orders")).await.unwrap_err();
        assert!(["42501", "57014"].contains(&sqlstate(&denied)), "{denied:?}");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _ = soon(session.client.simple_query("SELECT 1")).await;
    soon(session.client.simple_query("SELECT 2")).await.unwrap();
}

#[test]
fn the_sample_values_are_there_without_a_gate() {
    let direct = database().direct();
    assert_eq!(direct.psql("SELECT ssn FROM customers WHERE id = 1").ok().trim(), SSN);
}
