//! Policies and configuration replaced while traffic flows.

use std::time::Duration;

use sluicegate_tests::{
    Gateway, Postgres,
    client::soon,
    gateway::TARGET,
    policies::{guest, shipped},
    programs::eventually,
    seed::SSN,
    wire::{Wire, errors_of, rows_of, tags_of},
};

use crate::{database, masking_ssn};

const SOON: Duration = Duration::from_secs(15);

/// A gateway whose one policy is the tests' guest, with this behaviour.
fn governed(behaviour: &str) -> Gateway {
    Gateway::before(&database()).policy("guest", "").module("guest", guest(behaviour)).start()
}

/// Whether alice's statements are denied by now.
fn is_denied(gateway: &Gateway) -> bool {
    gateway.alice().psql("SELECT 1").stderr.contains("42501")
}

#[test]
fn a_policy_dropped_in_during_pgbench_takes_effect_and_fails_no_transaction() {
    let database = Postgres::shared().empty_database();
    database.direct().pgbench(&["-i", "-s", "1", "-q"]).ok();
    database
        .direct()
        .psql("CREATE TABLE people AS SELECT n AS id, 'secret ' || n AS name FROM generate_series(1, 10) n")
        .ok();
    let gateway = Gateway::before(&database).policy("guest", "").module("guest", guest("allow")).start();
    let read = || gateway.alice().psql("SELECT name FROM people WHERE id = 1").ok();
    assert_eq!(read().trim(), "secret 1");
    let (mut open_session, _) = Wire::login(&gateway.alice());
    let name = |wire: &mut Wire| rows_of(&wire.query("SELECT name FROM people WHERE id = 1"))[0][0].clone().unwrap();
    assert_eq!(name(&mut open_session), "secret 1");

    let mut running = gateway.alice().pgbench_start(&["-M", "prepared", "-c", "4", "-j", "2", "-T", "12", "-n"]);
    std::thread::sleep(Duration::from_secs(2));
    for behaviour in ["mask name", "allow", "mask name"] {
        gateway.deploy("guest", &guest(behaviour));
        let expected = if behaviour == "allow" { "secret 1" } else { "[redacted]" };
        eventually(&format!("{behaviour} takes effect"), SOON, || read().trim() == expected);
        assert_eq!(name(&mut open_session), expected, "a session that is open is governed by the new policy too");
    }
    assert!(running.is_running(), "pgbench was over before the last policy took effect");
    let report = running.finish(Duration::from_secs(60)).ok();
    assert!(report.contains("number of failed transactions: 0 ") && !report.contains("aborted"), "{report}");
}

#[test]
fn a_broken_policy_changes_nothing_but_says_so_loudly() {
    let gateway = governed("mask ssn");
    let read = || gateway.alice().psql("SELECT ssn FROM customers WHERE id = 1").ok();
    assert_eq!(read().trim(), "[redacted]");
    let bad: [(&str, Vec<u8>); 5] = [
        ("no WebAssembly at all", b"this is not a module".to_vec()),
        ("half a file", guest("allow")[..2000].to_vec()),
        ("settings that it refuses", guest("refuse")),
        ("a module that is no component", b"\0asm\x01\0\0\0".to_vec()),
        ("another policy, which the settings do not fit", shipped("pii-mask")),
    ];
    for (what, module) in bad {
        let from = gateway.log().len();
        gateway.deploy("guest", &module);
        gateway.wait_for_log(from, "ERROR");
        assert_eq!(read().trim(), "[redacted]", "{what}");
        let status = gateway.sluicegate(&["policy", "status"]).ok();
        assert!(status.contains("guest") && status.to_lowercase().contains("reject"), "{what}: {status}");
    }
    gateway.deploy("guest", &guest("allow"));
    eventually("a good one heals it", SOON, || read().trim() == SSN);
}

#[test]
fn a_deleted_policy_stays_in_force() {
    let gateway = governed("block");
    assert!(is_denied(&gateway));
    let from = gateway.log().len();
    std::fs::remove_file(gateway.folder().join("policies/guest.wasm")).unwrap();
    gateway.wait_for_log(from, "guest");
    assert!(is_denied(&gateway));
}

#[test]
fn a_policy_that_is_not_there_blocks_until_it_is() {
    let gateway = Gateway::before(&database()).policy("guest", "").start();
    let error = gateway.alice().psql("SELECT 1").failed();
    assert!(error.contains("guest"), "{error}");
    gateway.deploy("guest", &guest("allow"));
    eventually("it heals", SOON, || gateway.alice().psql("SELECT 1").stdout.trim() == "1");
}

#[test]
fn a_policy_that_traps_or_never_ends_blocks_and_the_session_lives_on() {
    for behaviour in ["trap", "loop", "eat memory"] {
        let gateway = governed(behaviour);
        let (mut wire, greeting) = Wire::login(&gateway.alice());
        assert!(errors_of(&greeting).is_empty(), "{behaviour}");
        for _ in 0..3 {
            assert_eq!(errors_of(&wire.query("SELECT 1")), ["42501"], "{behaviour}");
        }
        gateway.deploy("guest", &guest("allow"));
        eventually("a good one heals it", SOON, || tags_of(&wire.query("SELECT 1")) == "TDCZ");
    }
}

#[test]
fn a_result_in_flight_ends_under_the_policy_it_began_with() {
    let gateway = governed("mask name");
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN; DECLARE c CURSOR FOR SELECT name FROM customers");
    let big = "SELECT name FROM customers, generate_series(1, 300000)";
    wire.send('Q', &[big.as_bytes(), &[0]].concat());
    let first = wire.read_until("D");
    assert_eq!(rows_of(&first)[0][0].as_deref(), Some("[redacted]"));
    gateway.deploy("guest", &guest("allow"));
    eventually("new commands see the new policy", SOON, || {
        gateway.alice().psql("SELECT name FROM customers WHERE id = 1").stdout.trim() == "Ada Lovelace"
    });
    let rest = wire.read_until("Z");
    let shown =
        rest.iter().filter(|message| message.tag == 'D').filter(|row| !row.body.ends_with(b"[redacted]")).count();
    assert_eq!((shown, rest.len()), (0, 900_000 - 1 + 2));
}

#[test]
fn settings_take_effect_when_the_configuration_changes() {
    let (_database, mut gateway) = masking_ssn();
    let read = |gateway: &Gateway| gateway.alice().psql("SELECT ssn, email FROM customers WHERE id = 1").ok();
    assert_eq!(read(&gateway).trim(), "[redacted]|ada@example.com");
    let changed = gateway.config().replace("*.ssn", "*.email");
    gateway.configure(changed);
    eventually("the new settings take effect", SOON, || read(&gateway).trim() == format!("{SSN}|[redacted]"));
}

#[test]
fn a_bad_configuration_leaves_the_old_one_in_force() {
    let (_database, mut gateway) = masking_ssn();
    let good = gateway.config().to_owned();
    let bad = [
        good.replace("columns =", "colums ="),
        good.replace("[[target]]", "[[tarket]]"),
        good.replace("module = \"pii-mask\"", "module = \"pii-musk\""),
        good.replace("allow = [", "allow = [["),
        String::from("data_dir = "),
    ];
    for text in bad {
        let from = gateway.log().len();
        gateway.configure(text.clone());
        gateway.wait_for_log(from, "ERROR");
        let run = gateway.alice().psql("SELECT ssn FROM customers WHERE id = 1");
        assert_eq!(run.stdout.trim(), "[redacted]", "{}\n{text}", run.stderr);
        gateway.sluicegate(&["check"]).failed();
    }
    gateway.configure(good.replace("*.ssn", "*.email"));
    gateway.sluicegate(&["check"]).ok();
    eventually("a good one is taken", SOON, || {
        gateway.alice().psql("SELECT ssn FROM customers WHERE id = 1").stdout.trim() == SSN
    });
}

#[test]
fn users_and_targets_come_and_go_without_a_restart() {
    let database = database();
    let mut gateway = Gateway::before(&database).start();
    let good = gateway.config().to_owned();
    gateway.endpoint("bob").psql("SELECT 1").failed();
    gateway.configure(good.replace(r#""user:ci-migrate""#, r#""user:bob""#));
    eventually("bob is let in", SOON, || gateway.endpoint("bob").psql("SELECT 1").stdout.trim() == "1");
    gateway.endpoint("ci-migrate").psql("SELECT 1").failed();
    gateway.configure(good.replace(&format!("name = \"{TARGET}\""), "name = \"renamed\""));
    let renamed = sluicegate_tests::Endpoint { database: "renamed".to_owned(), ..gateway.alice() };
    eventually("the target has its new name", SOON, || renamed.psql("SELECT 1").stdout.trim() == "1");
    gateway.alice().psql("SELECT 1").failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_policy_governs_statements_that_were_prepared_before() {
    let gateway = governed("allow");
    let session = gateway.alice().connect().await;
    let statement = soon(session.client.prepare("SELECT ssn FROM customers WHERE id = 1")).await.unwrap();
    assert_eq!(soon(session.client.query_one(&statement, &[])).await.unwrap().get::<_, &str>(0), SSN);
    gateway.deploy("guest", &guest("mask ssn"));
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let row = soon(session.client.query_one(&statement, &[])).await.unwrap();
        if row.get::<_, &str>(0) == "[redacted]" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the new policy never governs the old statement");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn policy_status_names_what_governs() {
    let gateway = Gateway::before(&database()).policy("sql-guard", r#"deny = ["drop"]"#).start();
    let status = gateway.json(&["policy", "status"]).to_string();
    assert!(status.contains("sql-guard") && status.contains(TARGET) && status.contains("digest"), "{status}");
    assert!(shipped("sql-guard").len() > 1000);
}
