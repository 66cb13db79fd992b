//! The target's side of a session: what ends when the other side ends, and what a client hears of it.

use std::time::Duration;

use sluicegate_tests::{
    Gateway, Postgres,
    client::soon,
    postgres::APP_PASSWORD,
    programs::{eventually, free_port},
    wire::{Wire, errors_of, tags_of},
};

use crate::{database, open};

const SOON: Duration = Duration::from_secs(10);
/// Less than any wait for a silence.
const AT_ONCE: Duration = Duration::from_secs(4);

#[test]
fn a_client_that_leaves_takes_its_connection_to_the_target_along() {
    let (database, gateway) = open();
    let (wire, _) = Wire::login(&gateway.alice());
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%alice%'";
    eventually("the session is open", SOON, || database.administer(sessions).trim() == "1");
    drop(wire);
    eventually("the session is over", SOON, || database.administer(sessions).trim() == "0");
}

#[test]
fn a_client_killed_in_the_middle_of_a_query_stops_the_query() {
    let (database, gateway) = open();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep(100)%' AND state = 'active'";
    let psql = gateway.alice().psql_start("SELECT pg_sleep(100)");
    eventually("the query runs", SOON, || database.administer(running).trim() == "1");
    psql.signal("KILL");
    eventually("the query is over", AT_ONCE, || database.administer(running).trim() == "0");
}

#[test]
fn a_write_whose_client_is_killed_while_its_rows_flow_ends_as_it_would_have() {
    let (database, gateway) = open();
    database.administer("CREATE TABLE wide (body text); GRANT ALL ON wide TO app");
    let insert = "INSERT INTO wide SELECT repeat(n::text, 300000) FROM generate_series(100, 150) n, pg_sleep(0.02 * (n - n + 1)) RETURNING body";
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send('Q', format!("{insert}\0").as_bytes());
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'INSERT INTO wide%' AND state = 'active'";
    eventually("the write runs", SOON, || database.administer(running).trim() == "1");
    drop(wire);
    eventually("the write is over", AT_ONCE, || database.administer(running).trim() == "0");
    assert_eq!(database.administer("SELECT count(*) FROM wide").trim(), "51");
}

#[test]
fn a_client_that_says_goodbye_is_recorded_as_closed() {
    let (_database, gateway) = open();
    gateway.alice().psql("SELECT 1").ok();
    gateway.wait_for_log(0, "session closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_is_a_clear_error_and_the_end_of_the_session() {
    let mut postgres = Postgres::start();
    let database = postgres.empty_database();
    let gateway = Gateway::before(&database).start();
    let session = gateway.alice().connect().await;
    soon(session.client.simple_query("SELECT 1")).await.unwrap();
    postgres.kill();
    let error = soon(session.client.simple_query("SELECT 1")).await.expect_err("the target is gone");
    if let Some(code) = error.code() {
        assert!(code.code().starts_with("57P") || code.code().starts_with("08"), "{error:?}");
    }
    eventually("the connection is closed", SOON, || session.client.is_closed());
    let error = gateway.alice().psql("SELECT 1").failed();
    assert!(error.contains("cannot be reached") && !error.contains(&database.port().to_string()), "{error}");
}

#[test]
fn a_session_ended_by_the_targets_administrator_ends_with_the_targets_own_words() {
    let (database, gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    assert_eq!(tags_of(&wire.query("SELECT 1")), "TDCZ");
    database.administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%alice%'");
    let last = wire.read_until("E");
    assert_eq!(errors_of(&last), ["57P01"]);
    assert!(wire.is_closed_by_server());
}

#[test]
fn a_target_that_cannot_be_reached_is_no_reason_to_show_its_address() {
    let port = free_port();
    let gateway = Gateway::before(&database()).address(&format!("127.0.0.1:{port}")).start();
    let error = gateway.alice().psql("SELECT 1").failed();
    assert!(error.contains("cannot be reached"), "{error}");
    assert!(!error.contains(&port.to_string()) && !error.contains(APP_PASSWORD), "{error}");
}

#[test]
fn a_password_that_the_target_refuses_is_not_the_clients_fault() {
    let database = database();
    let gateway = Gateway::before(&database).start();
    let mut config = gateway.config().replace("username = \"app\"", "username = \"somebody\"");
    config.push('\n');
    let mut gateway = gateway;
    let from = gateway.log().len();
    gateway.configure(config);
    gateway.wait_for_log(from, "reload");
    let error = gateway.alice().psql("SELECT 1").failed();
    assert!(!error.contains("28P01") && !error.contains("somebody") && !error.contains(APP_PASSWORD), "{error}");
}

#[test]
fn the_gateway_stops_in_order_when_asked_to() {
    let (database, mut gateway) = open();
    let (mut idle, _) = Wire::login(&gateway.alice());
    assert!(gateway.stop(Duration::from_secs(20)), "it stops within its grace");
    assert!(idle.is_closed_by_server());
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'app'";
    eventually("the target's sessions are over", SOON, || database.administer(sessions).trim() == "0");
}

#[test]
fn fifty_sessions_work_at_the_same_time() {
    let (_database, gateway) = open();
    let mut wires: Vec<_> = (0..50).map(|_| Wire::login(&gateway.alice()).0).collect();
    for wire in &mut wires {
        wire.send('Q', b"SELECT pg_sleep(0.2), pg_backend_pid()\0");
    }
    for wire in &mut wires {
        assert_eq!(tags_of(&wire.read_until("Z")), "TDCZ");
    }
}

#[test]
fn sessions_of_one_user_share_a_connection_where_the_target_says_so() {
    let before = Gateway::before(&database()).policy("sql-guard", r#"deny = ["drop"]"#);
    let mut gateway = before.target_lines("reuse = \"1min\"").start();
    let pid = |gateway: &Gateway, user: &str| gateway.endpoint(user).psql("SELECT pg_backend_pid()").ok();
    let mut last = pid(&gateway, "alice");
    eventually("a connection is used again", SOON, || {
        let next = pid(&gateway, "alice");
        std::mem::replace(&mut last, next.clone()) == next
    });
    assert_ne!(pid(&gateway, "admin"), last);
    let from = gateway.log().len();
    gateway.configure(gateway.config().replace("deny = [\"drop\"]", "deny = [\"truncate\"]"));
    gateway.wait_for_log(from, "configuration reloaded");
    assert_ne!(pid(&gateway, "alice"), last);
}
