//! Connections that serve one session after the other: who gets which, and what is left of the one before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::time::Duration;

use support::{
    gateway::{Caller, Gateway, eventually},
    server::Server,
};
use tokio_postgres::SimpleQueryMessage;

const REUSE: &str = "reuse = \"1min\"";

async fn stage(more: &str) -> (Server, Gateway) {
    let server = Server::start("host all postgres localhost trust");
    let gateway = Gateway::start(&server, more).await;
    (server, gateway)
}

/// The first column of each row.
async fn ask(caller: &Caller, sql: &str) -> Vec<String> {
    let answer = caller.client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let value = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    };
    answer.into_iter().filter_map(value).collect()
}

async fn one(caller: &Caller, sql: &str) -> String {
    let mut rows = ask(caller, sql).await;
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    rows.remove(0)
}

async fn pid(caller: &Caller) -> String {
    one(caller, "select pg_backend_pid()").await
}

/// Says goodbye, as every client library does.
async fn leave(caller: Caller) {
    drop(caller.client);
    caller.connection.await.unwrap();
}

/// Says goodbye, and waits until the connection has been reset.
async fn leave_behind(server: &Server, caller: Caller) -> String {
    let pid = pid(&caller).await;
    leave(caller).await;
    let waits =
        format!("select 1 from pg_stat_activity where pid = {pid} and state = 'idle' and query = 'DISCARD ALL'");
    eventually("the connection is not kept", || (server.sql(&waits) == "1").then_some(())).await;
    // The answer has left the server; the gateway may still be reading it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    pid
}

fn is_gone(server: &Server, pid: &str) -> bool {
    server.sql(&format!("select count(*) from pg_stat_activity where pid = {pid}")) == "0"
}

async fn ends(server: &Server, pid: &str) {
    eventually("the connection is still there", || is_gone(server, pid).then_some(())).await;
}

#[tokio::test]
async fn the_next_session_of_an_identity_finds_the_connection_and_nothing_else() {
    let (server, gateway) = stage(REUSE).await;
    let first = gateway.connect_with("application_name=one").await;
    let session = one(&first, "select current_setting('sluicegate.session')").await;
    for text in [
        "create temp table left_over (a int)",
        "prepare left_over as select 1",
        "declare left_over cursor with hold for select 1",
        "set datestyle = 'German'",
        "set search_path = pg_catalog",
        "set app.tenant = 'one'",
        "listen news",
        "select pg_advisory_lock(7)",
        "create temp sequence counter",
    ] {
        ask(&first, text).await;
    }
    first.client.prepare("select 2").await.unwrap();
    let pid_of_first = leave_behind(&server, first).await;

    let second = gateway.connect_with("application_name=two").await;
    assert_eq!(pid(&second).await, pid_of_first);
    let other = one(&second, "select current_setting('sluicegate.session')").await;
    assert!(other != session && other.len() == 36, "{other}");
    assert_eq!(one(&second, "select current_setting('sluicegate.user')").await, "alice");
    let name = "select application_name from pg_stat_activity where pid = pg_backend_pid()";
    assert_eq!(one(&second, name).await, "two (alice via sluicegate)");
    assert_eq!(one(&second, "show datestyle").await, "ISO, MDY");
    assert_eq!(one(&second, "show search_path").await, "\"$user\", public");
    assert_eq!(one(&second, "select current_setting('app.tenant', true)").await, "");
    for leftover in [
        "select 1 from pg_class where relname in ('left_over', 'counter')",
        "select 1 from pg_prepared_statements where name not like 'sluicegate%'",
        "select 1 from pg_cursors where name not like 'sluicegate%'",
        "select pg_listening_channels()",
        "select 1 from pg_locks where locktype = 'advisory'",
    ] {
        assert!(ask(&second, leftover).await.is_empty(), "{leftover}");
    }
    let records: Vec<_> =
        gateway.events().into_iter().filter(|e| matches!(e, sluicegate_core::record::Event::Closed(_))).collect();
    assert_eq!(records.len(), 1, "the first session ended, and is recorded so");
}

#[tokio::test]
async fn what_the_server_reports_is_reported_to_the_next_client() {
    let (server, gateway) = stage(REUSE).await;
    let first = gateway.connect_with("application_name=one").await;
    ask(&first, "set timezone = 'Asia/Tokyo'").await;
    // A new default reaches a session that has not chosen otherwise.
    server.sql("alter system set intervalstyle = 'iso_8601'");
    server.sql("select pg_reload_conf()");
    eventually("the server does not reload", || (server.sql("show intervalstyle") == "iso_8601").then_some(())).await;
    let kept = leave_behind(&server, first).await;
    // But for the name, what tokio-postgres starts with.
    let settings = [("client_encoding", "UTF8"), ("application_name", "two")];
    let (reported, mut wire) = support::gateway::Wire::greeted(&gateway, &settings).await;
    let says = |name: &str| reported.iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert_eq!(says("application_name"), "two (alice via sluicegate)");
    assert_ne!(says("TimeZone"), "Asia/Tokyo");
    assert_eq!(says("IntervalStyle"), "iso_8601");
    assert_eq!(server.sql("select pid from pg_stat_activity where application_name like 'two %'"), kept);
    wire.batch(&["select 1"]).await;
    assert!(wire.errors_until_ready().await.is_empty());
}

#[tokio::test]
async fn nobody_else_gets_a_connection_that_somebody_left() {
    let (server, gateway) = stage(REUSE).await;
    let kept = leave_behind(&server, gateway.connect().await).await;
    let bob = gateway.connect_with("user=bob").await;
    assert_ne!(pid(&bob).await, kept);
    let started_otherwise = gateway.connect_with("options='-c datestyle=German'").await;
    assert_ne!(pid(&started_otherwise).await, kept);
    gateway.reconfigure(REUSE);
    ends(&server, &kept).await;
    assert_ne!(pid(&gateway.connect().await).await, kept);
}

#[tokio::test]
async fn while_users_change_nothing_is_kept() {
    let (server, gateway) = stage(REUSE).await;
    let kept = leave_behind(&server, gateway.connect().await).await;
    gateway.forget_connections();
    ends(&server, &kept).await;
    let caller = gateway.connect().await;
    let left = pid(&caller).await;
    leave(caller).await;
    ends(&server, &left).await;
}

#[tokio::test]
async fn a_session_that_outlives_a_change_of_the_configuration_leaves_nothing() {
    let (server, gateway) = stage(REUSE).await;
    let caller = gateway.connect().await;
    let left = pid(&caller).await;
    gateway.reconfigure(REUSE);
    leave(caller).await;
    ends(&server, &left).await;
}

#[tokio::test]
async fn a_session_that_is_not_done_takes_its_connection_along() {
    let (server, gateway) = stage(REUSE).await;
    for unfinished in ["begin", "begin; select 1/0", "do $$ begin end $$", "create temp table t (a int); begin"] {
        let caller = gateway.connect().await;
        let left = pid(&caller).await;
        let _may_fail = caller.client.simple_query(unfinished).await;
        leave(caller).await;
        ends(&server, &left).await;
    }
    let caller = gateway.connect().await;
    let left = pid(&caller).await;
    caller.connection.abort();
    ends(&server, &left).await;
}

#[tokio::test]
async fn code_that_nobody_looked_into_is_not_left_to_the_next_session() {
    let (server, gateway) = stage(REUSE).await;
    server.sql("create function public.f() returns int language sql as 'select 1'");
    for text in ["select public.f()", "load 'plpgsql'", "select setseed(0.5)"] {
        let caller = gateway.connect().await;
        let left = pid(&caller).await;
        ask(&caller, text).await;
        leave(caller).await;
        ends(&server, &left).await;
    }
}

#[tokio::test]
async fn a_connection_that_died_while_it_waited_is_replaced() {
    let (server, gateway) = stage(REUSE).await;
    let kept = leave_behind(&server, gateway.connect().await).await;
    server.sql(&format!("select pg_terminate_backend({kept})"));
    ends(&server, &kept).await;
    let caller = gateway.connect().await;
    assert_ne!(pid(&caller).await, kept);
}

#[tokio::test]
async fn a_connection_waits_no_longer_than_it_may() {
    let (server, gateway) = stage("reuse = \"1s\"").await;
    let kept = leave_behind(&server, gateway.connect().await).await;
    ends(&server, &kept).await;
}

#[tokio::test]
async fn without_reuse_each_session_has_a_connection_of_its_own() {
    let (server, gateway) = stage("").await;
    let caller = gateway.connect().await;
    let left = pid(&caller).await;
    leave(caller).await;
    ends(&server, &left).await;
    assert_ne!(pid(&gateway.connect().await).await, left);
}

#[tokio::test]
async fn the_target_knows_which_session_it_is_whatever_is_reset() {
    let (server, gateway) = stage(REUSE).await;
    leave_behind(&server, gateway.connect().await).await;
    let caller = gateway.connect().await;
    let asked = "select current_setting('sluicegate.session')";
    let session = one(&caller, asked).await;
    for texts in [
        &["reset all"][..],
        &["discard all"],
        &["begin", "reset all", "rollback"],
        &["begin", "reset all", "commit"],
        &["begin", "savepoint a", "reset all", "rollback to a", "commit"],
        &["do $$ begin execute 'reset all'; end $$"],
    ] {
        for text in texts {
            ask(&caller, text).await;
            assert_eq!(one(&caller, asked).await, session, "{texts:?} at {text}");
        }
    }
    // By the extended protocol, in one batch.
    let reset = caller.client.prepare("reset all").await.unwrap();
    let query = caller.client.prepare(asked).await.unwrap();
    let (_, row) = tokio::join!(caller.client.execute(&reset, &[]), caller.client.query_one(&query, &[]));
    assert_eq!(row.unwrap().get::<_, String>(0), session);
    let refused = caller.client.simple_query(&format!("reset all; {asked}")).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("must be sent alone"), "{refused:?}");
    assert_eq!(one(&caller, "select current_setting('sluicegate.user')").await, "alice");
}

#[tokio::test]
async fn a_cancel_request_of_the_session_before_cancels_nothing() {
    let (server, gateway) = stage(REUSE).await;
    let first = gateway.connect().await;
    let token = first.client.cancel_token();
    leave_behind(&server, first).await;
    let second = gateway.connect().await;
    let sleeps = second.client.simple_query("select pg_sleep(1)");
    let cancels = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _no_answer = token.cancel_query(tokio_postgres::NoTls).await;
    };
    let (slept, ()) = tokio::join!(sleeps, cancels);
    slept.unwrap();
}
