//! Commands that wait for people, through the gateway to a real server: what runs, what does not, and
//! what the client reads.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::time::{Duration, Instant};

use sluicegate_core::{ApprovalState, record::Event};
use support::{
    gateway::{Caller, Gateway, Wire, eventually},
    server::Server,
};
use tokio_postgres::{Error, NoTls, SimpleQueryMessage, error::DbError};

const TABLE: &str = "create table t (id int); insert into t select generate_series(1, 10)";

async fn start() -> (Server, Gateway) {
    let server = Server::start("host all all localhost trust");
    server.sql(TABLE);
    let gateway = Gateway::start(&server, "").await;
    (server, gateway)
}

fn rows(server: &Server) -> String {
    server.sql("select count(*) from t")
}

fn says<T>(ended: Result<T, Error>, code: &str, text: &str) {
    let Err(error) = ended else { panic!("it should have failed with {text}") };
    let Some(error) = error.as_db_error() else { panic!("{error:?}") };
    assert_eq!((error.code().code(), error.message()), (code, text));
}

async fn notices(caller: &Caller, count: usize) -> Vec<String> {
    let seen = || {
        let notices = caller.notices.lock().unwrap();
        (notices.len() >= count).then(|| notices.iter().map(|notice| notice.message().to_owned()).collect::<Vec<_>>())
    };
    eventually("the client got no notice", seen).await
}

#[tokio::test]
async fn an_approved_command_runs_once_and_a_denied_one_does_not() {
    let (server, gateway) = start().await;
    let alice = gateway.connect().await;
    let (run, _) = tokio::join!(alice.client.simple_query("/* hold */ delete from t where id = 1"), async {
        let waited = gateway.pending().await;
        assert!(!waited.in_transaction && waited.context.contains("TimeZone=") && waited.context.contains("role=none"));
        assert_eq!((rows(&server).as_str(), waited.verb.as_str()), ("10", "query"));
        let told = notices(&alice, 1).await;
        assert_eq!(told, [format!("waiting for approval {} by group:dba: double: it says so", waited.id)]);
        let notice = alice.notices.lock().unwrap()[0].clone();
        assert_eq!((notice.code().code(), notice.severity()), ("00000", "NOTICE"));
        assert!(notice.hint().unwrap().contains(&format!("sluicegate approvals approve {}", waited.id)));
        assert_eq!(notice.detail().unwrap(), "This command runs once it is approved; the request stands for 1h.");
        gateway.answer(true).await;
    });
    assert!(matches!(run.unwrap()[..], [SimpleQueryMessage::CommandComplete(1)]));
    assert_eq!(notices(&alice, 2).await[1], "approved by bob: as agreed");
    let (run, answered) =
        tokio::join!(alice.client.simple_query("/* hold */ delete from t where id = 2"), gateway.answer(false));
    let text = format!("bob denied approval {}: as agreed", answered.id);
    says(run, "42501", &text);
    let expired = alice.client.simple_query("/* hold expire */ delete from t").await;
    assert!(expired.unwrap_err().as_db_error().unwrap().message().contains("nobody answered approval"));
    assert_eq!(gateway.ended(), [ApprovalState::Approved, ApprovalState::Denied, ApprovalState::Expired]);
    assert_eq!(rows(&server), "9");
    alice.client.simple_query("select 1").await.unwrap();
}

#[tokio::test]
async fn extended_commands_wait_in_their_place_and_keep_no_locks() {
    let (server, gateway) = start().await;
    let alice = gateway.connect().await;
    let (held, free) = ("/* hold */ delete from t where id = $1", "update t set id = id + $1 where id > 100");
    let prepared = [alice.client.prepare(held).await.unwrap(), alice.client.prepare(free).await.unwrap()];
    // Three commands in one go: what stands before runs at once, what stands behind waits too.
    let client = &alice.client;
    let run = |statement: usize, value: i32| {
        let statement = &prepared[statement];
        async move { client.execute(statement, &[&value]).await.unwrap() }
    };
    let pipelined = async { tokio::join!(run(1, 7), run(0, 3), run(1, 5)) };
    let (ran, _) = tokio::join!(pipelined, async {
        let waited = gateway.pending().await;
        assert_eq!((waited.values, waited.in_transaction), (vec![Some("3".to_owned())], false));
        gateway.answer(true).await;
    });
    assert_eq!(ran, (0, 1, 0));
    assert_eq!(rows(&server), "9");
    // Parse and Bind in one batch: what Parse locked is given back before people are asked.
    let mut wire = Wire::connect(&gateway).await;
    wire.batch(&["/* hold */ delete from t where id = 4"]).await;
    assert!(!gateway.pending().await.in_transaction);
    server.sql("set lock_timeout = '2s'; begin; lock table t in access exclusive mode; commit");
    gateway.answer(true).await;
    assert!(wire.errors_until_ready().await.is_empty());
    assert_eq!(rows(&server), "8");
}

#[tokio::test]
async fn a_transaction_that_waits_is_said_to_keep_its_locks_and_may_be_refused() {
    let (server, gateway) = start().await;
    let mut alice = gateway.connect().await;
    let transaction = alice.client.transaction().await.unwrap();
    let (run, ()) = tokio::join!(transaction.execute("/* hold */ delete from t where id = 1", &[]), async {
        assert!(gateway.pending().await.in_transaction);
        gateway.answer(false).await;
    });
    assert!(run.is_err());
    says(transaction.execute("/* hold */ delete from t where id = 2", &[]).await, "25P02", ABORTED);
    says(transaction.batch_execute("/* hold */ delete from t where id = 2").await, "25P02", ABORTED);
    transaction.rollback().await.unwrap();
    assert!(alice.notices.lock().unwrap()[0].detail().unwrap().ends_with("keeps its locks meanwhile."));
    assert_eq!((rows(&server).as_str(), gateway.ended().len()), ("10", 1));

    let strict = Gateway::start(&server, "hold_in_transaction = \"deny\"").await;
    let mut alice = strict.connect().await;
    let transaction = alice.client.transaction().await.unwrap();
    let refused = transaction.batch_execute("/* hold */ delete from t").await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("not held inside a transaction"));
    transaction.rollback().await.unwrap();
    let (run, _) = tokio::join!(alice.client.execute("/* hold */ delete from t", &[]), strict.answer(true));
    assert_eq!(run.unwrap(), 10);
}

const ABORTED: &str = "current transaction is aborted, commands ignored until end of transaction block";

#[tokio::test]
async fn a_client_ends_its_hold_by_cancelling_by_its_timeout_or_by_going_away() {
    let (server, gateway) = start().await;
    let mut alice = gateway.connect().await;
    let token = alice.client.cancel_token();
    let (run, ()) = tokio::join!(alice.client.simple_query("/* hold */ delete from t"), async {
        gateway.pending().await;
        token.cancel_query(NoTls).await.unwrap();
    });
    says(run, "57014", "canceling statement due to user request");
    alice.client.simple_query("select 1").await.unwrap();

    let transaction = alice.client.transaction().await.unwrap();
    transaction.batch_execute("set local statement_timeout = '300ms'").await.unwrap();
    let started = Instant::now();
    let run = transaction.execute("/* hold */ delete from t", &[]).await;
    says(run, "57014", "canceling statement due to statement timeout");
    assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&started.elapsed()));
    says(transaction.batch_execute("select 1").await, "25P02", ABORTED);
    transaction.rollback().await.unwrap();
    // The timeout was the transaction's.
    let (run, _) = tokio::join!(alice.client.execute("/* hold */ delete from t where id = 1", &[]), async {
        gateway.pending().await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        gateway.answer(true).await;
    });
    assert_eq!(run.unwrap(), 1);

    // What stands behind a held command does not run either when its client goes away.
    let Caller { client, connection, .. } = gateway.connect().await;
    let sent = tokio::spawn(async move {
        let held = client.batch_execute("/* hold */ delete from t");
        let behind = client.batch_execute("insert into t values (99)");
        tokio::join!(held, behind)
    });
    gateway.pending().await;
    connection.abort();
    let answers = sent.await.unwrap();
    assert!(answers.0.is_err() && answers.1.is_err());
    gateway.nobody_waits().await;
    assert_eq!(rows(&server), "9");
    let abandoned = [ApprovalState::Abandoned; 2];
    assert_eq!(gateway.ended(), [&abandoned[..], &[ApprovalState::Approved], &abandoned[..1]].concat());
}

#[tokio::test]
async fn a_target_or_a_gateway_that_goes_ends_the_hold() {
    let (server, gateway) = start().await;
    let mut alice = gateway.connect().await;
    let listening = "listen news; set idle_in_transaction_session_timeout = '700ms'";
    alice.client.batch_execute(listening).await.unwrap();
    let told = std::sync::Arc::clone(&alice.notifications);
    let transaction = alice.client.transaction().await.unwrap();
    let run = transaction.batch_execute("/* hold */ delete from t").await;
    assert_eq!(run.unwrap_err().code().unwrap().code(), "25P03");
    gateway.nobody_waits().await;

    let alice = gateway.connect().await;
    alice.client.batch_execute("listen news").await.unwrap();
    let told_too = std::sync::Arc::clone(&alice.notifications);
    let (run, ()) = tokio::join!(alice.client.batch_execute("/* hold */ delete from t"), async {
        gateway.pending().await;
        server.sql("notify news, 'hello'");
        eventually("no notification came", || told_too.lock().unwrap().contains(&"hello".to_owned()).then_some(()))
            .await;
        gateway.stop();
    });
    let error = run.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57P01");
    assert!(error.as_db_error().unwrap().message().contains("waited for approval did not run"));
    assert!(told.lock().unwrap().is_empty());
    assert_eq!((rows(&server).as_str(), gateway.ended()), ("10", vec![ApprovalState::Abandoned; 2]));
    let closed = gateway.events().into_iter().filter(|event| matches!(event, Event::Closed(_))).count();
    assert_eq!(closed, 2);
}

#[tokio::test]
async fn what_comes_before_may_fail_or_change_what_the_command_means() {
    let (server, gateway) = start().await;
    let alice = gateway.connect().await;
    // One batch: the server skips the held command, so nobody is asked.
    let mut wire = Wire::connect(&gateway).await;
    wire.batch(&["select 1 / 0", "/* hold */ delete from t"]).await;
    assert_eq!(wire.errors_until_ready().await, ["22012"]);
    // What ran before it in the same batch would be lost if it were ended here.
    wire.batch(&["insert into t values (11)", "/* hold */ delete from t where id = 1"]).await;
    assert!(gateway.pending().await.in_transaction);
    gateway.answer(true).await;
    assert!(wire.errors_until_ready().await.is_empty());
    assert_eq!(rows(&server), "10");
    // A simple query that fails does not keep the next one from running.
    let client = &alice.client;
    let both = async {
        tokio::join!(
            client.batch_execute("select 1 / 0"),
            client.batch_execute("/* hold */ delete from t where id = 2")
        )
    };
    let (ran, _) = tokio::join!(both, gateway.answer(true));
    assert!(ran.0.is_err() && ran.1.is_ok());
    // Nor is anybody asked before a setting of the same go is known.
    let both = async {
        tokio::join!(
            client.batch_execute("set datestyle = 'ISO, DMY'"),
            client.batch_execute("/* hold */ delete from t where id = 3")
        )
    };
    let (ran, approval) = tokio::join!(both, gateway.answer(true));
    assert!(ran.0.is_ok() && ran.1.is_ok() && approval.context.contains("DateStyle=ISO, DMY"));
    assert_eq!(rows(&server), "8");
}

#[tokio::test]
async fn a_reload_decides_anew_and_an_approval_may_be_remembered() {
    let (server, gateway) = start().await;
    let alice = gateway.connect().await;
    let (run, ()) = tokio::join!(alice.client.batch_execute("/* hold */ delete from t"), async {
        gateway.pending().await;
        gateway.double.reload(true);
    });
    says(run, "42501", "blocked by policy double: the policy changed its mind");
    assert_eq!((gateway.ended(), rows(&server).as_str()), (vec![ApprovalState::Superseded], "10"));
    gateway.double.reload(false);
    let (run, ()) = tokio::join!(alice.client.batch_execute("/* hold */ delete from t where id = 1"), async {
        gateway.pending().await;
        gateway.double.reload(false);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        gateway.answer(true).await;
    });
    run.unwrap();
    let asked = |notice: &&DbError| notice.message().contains("waiting for approval");
    assert_eq!(alice.notices.lock().unwrap().iter().filter(asked).count(), 2, "the second wait was asked for once");

    let loop_of = "/* hold remember */ delete from t where id = 2";
    let (run, _) = tokio::join!(alice.client.batch_execute(loop_of), gateway.answer(true));
    run.unwrap();
    alice.client.batch_execute(loop_of).await.unwrap();
    // In other settings it is another command.
    alice.client.batch_execute("set app.tenant = '5'").await.unwrap();
    let (run, _) = tokio::join!(alice.client.batch_execute(loop_of), gateway.answer(false));
    assert!(run.is_err());
    gateway.connect().await.client.batch_execute(loop_of).await.unwrap();
}

#[tokio::test]
async fn many_messages_behind_a_hold_do_not_hide_that_the_client_goes() {
    let (server, gateway) = start().await;
    let mut wire = Wire::connect(&gateway).await;
    wire.batch(&["/* hold */ delete from t"]).await;
    for _ in 0..300 {
        wire.batch(&[&format!("insert into t values (1) -- {}", "x".repeat(2000))]).await;
    }
    gateway.pending().await;
    drop(wire);
    gateway.nobody_waits().await;
    assert_eq!((rows(&server).as_str(), gateway.ended()), ("10", vec![ApprovalState::Abandoned]));
}

#[tokio::test]
async fn a_function_call_by_number_waits_with_its_arguments() {
    let (_server, gateway) = start().await;
    let mut wire = Wire::connect(&gateway).await;
    // random()
    wire.function_call(1598).await;
    let waited = gateway.pending().await;
    assert_eq!((waited.verb.as_str(), waited.text.as_str()), ("function-call", "(call of function 1598)"));
    gateway.answer(true).await;
    let outcome = gateway.outcome("call of function").await;
    assert_eq!((outcome.status.as_str(), outcome.failed), ("function call", false));
}

#[tokio::test]
async fn what_a_name_stands_for_is_shown_and_not_approved_for_another() {
    let (server, gateway) = start().await;
    let alice = gateway.connect().await;
    let execute = "/* hold remember */ execute gone(3)";
    alice.client.batch_execute("prepare gone(int) as delete from t where id = $1 and id < 100").await.unwrap();
    let (run, approval) = tokio::join!(alice.client.batch_execute(execute), gateway.answer(true));
    run.unwrap();
    assert!(approval.context.contains("; gone is delete from t where id = $1 and id < ?"), "{}", approval.context);
    alice.client.batch_execute(execute).await.unwrap();
    alice.client.batch_execute("deallocate gone; prepare gone(int) as delete from t where id <> $1").await.unwrap();
    let (run, _) = tokio::join!(alice.client.batch_execute(execute), gateway.answer(false));
    assert!(run.is_err());
    assert_eq!(rows(&server), "9");
}
