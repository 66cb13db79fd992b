//! What an approval covers: the very bytes, by the settings, names and code of the moment in which they
//! run, and nothing that only looks alike.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod support;

use sluicegate_core::ApprovalState;
use support::{
    gateway::{Caller, Gateway, Wire, eventually},
    server::Server,
};
use tokio_postgres::types::ToSql;

async fn start() -> (Server, Gateway, Caller) {
    let server = Server::start("host all all localhost trust");
    server.sql("create table t (id int); insert into t select generate_series(1, 10)");
    let gateway = Gateway::start(&server, "").await;
    let alice = gateway.connect().await;
    (server, gateway, alice)
}

fn rows(server: &Server) -> String {
    server.sql("select count(*) from t")
}

/// Runs a text that is approved and remembered; says whether it was asked for.
async fn asked(gateway: &Gateway, alice: &Caller, text: &str) -> bool {
    let before = gateway.ended().len();
    let run = alice.client.batch_execute(text);
    tokio::pin!(run);
    tokio::select! {
        ran = &mut run => ran.unwrap(),
        _ = gateway.answer(true) => run.await.unwrap(),
    }
    gateway.ended().len() > before
}

#[tokio::test]
async fn a_remembered_approval_ends_with_the_code_that_it_was_for() {
    let (server, gateway, alice) = start().await;
    server.sql(
        "create table guarded (id int); create policy one on guarded using (id = 1); \
         alter table guarded enable row level security; \
         create function purge() returns int language sql as 'select 1'; create table log (id int); \
         create view v as select id from t where id < 3; create table other (id int)",
    );
    let changes = [
        ("select purge()", "create or replace function purge() returns int language sql as 'select 2'"),
        ("delete from v where id = 1", "create or replace view v as select id from t where id < 30"),
        (
            "delete from t where id = 2",
            "create function noted() returns trigger language plpgsql as $$ begin return old; end $$; \
             create trigger noted before delete on t for each row execute function noted()",
        ),
        ("delete from log", "alter table log rename to old; alter table other rename to log"),
        ("delete from guarded where id < 5", "alter table guarded disable row level security"),
        ("select 3", "alter role postgres set app.tenant = '5'"),
    ];
    for (text, change) in changes {
        let text = format!("/* hold remember */ {text}");
        assert!(asked(&gateway, &alice, &text).await, "{text}");
        assert!(!asked(&gateway, &alice, &text).await, "{text}");
        // What is temporary changes none of it.
        server.sql("create temp table passing (id int)");
        assert!(!asked(&gateway, &alice, &text).await, "{text}");
        // Past the gateway, which has looked only just now.
        server.sql(change);
        assert!(asked(&gateway, &alice, &text).await, "{text} after {change}");
    }
}

#[tokio::test]
async fn what_changes_while_a_command_waits_is_asked_for_anew() {
    let (server, gateway, alice) = start().await;
    server.sql("create view v as select id from t where id = 1");
    let (run, ()) = tokio::join!(alice.client.batch_execute("/* hold */ delete from v"), async {
        let first = gateway.pending().await;
        assert!(first.context.contains("; database postgres at localhost:"), "{}", first.context);
        server.sql("create or replace view v as select id from t where id > 1");
        gateway.answer(true).await;
        let anew = || gateway.approvals.pending().into_iter().find(|approval| approval.id != first.id);
        let again = eventually("nobody is asked anew", anew).await;
        assert_ne!(again.context, first.context);
        gateway.answer(false).await;
    });
    assert!(run.is_err());
    assert_eq!(gateway.ended(), [ApprovalState::Superseded, ApprovalState::Denied]);
    assert_eq!(rows(&server), "10");
}

#[tokio::test]
async fn parameters_that_only_look_alike_are_others() {
    let (_server, gateway, alice) = start().await;
    let text = "/* hold remember */ delete from t where $1::text[] = '{}'";
    let statement = alice.client.prepare(text).await.unwrap();
    let (one, two, null) = (vec![Some("a,b")], vec![Some("a"), Some("b")], vec![None::<&str>, Some("NULL")]);
    let shown = [(one, r#"{"a,b"}"#), (two, "{a,b}"), (null, r#"{NULL,"NULL"}"#)];
    for (value, text) in shown {
        let parameters: [&(dyn ToSql + Sync); 1] = [&value];
        let (run, approval) = tokio::join!(alice.client.execute(&statement, &parameters), gateway.answer(true));
        assert_eq!((run.unwrap(), approval.values), (0, vec![Some(text.to_owned())]));
    }
    // Bytes whose encoding is not known to be what they look like are not shown as text.
    alice.client.batch_execute("set client_encoding to 'LATIN1'").await.unwrap();
    let text = "/* hold */ delete from t where $1::text = ''";
    let parameters: [&(dyn ToSql + Sync); 1] = [&"é"];
    let (_, approval) = tokio::join!(alice.client.execute(text, &parameters), gateway.answer(true));
    assert_eq!(approval.values, [Some("(2 bytes)".to_owned())]);
}

#[tokio::test]
async fn an_approved_portal_does_not_run_with_other_settings() {
    let (server, gateway, mut alice) = start().await;
    server.sql("create role lowly; grant all on t to lowly");
    let changes = ["set local timezone = 'Asia/Tokyo'", "set local role lowly", "set local app.tenant = '5'"];
    for change in changes {
        let statement = alice.client.prepare("/* hold */ delete from t returning id").await.unwrap();
        let transaction = alice.client.transaction().await.unwrap();
        let (portal, _) = tokio::join!(transaction.bind(&statement, &[]), gateway.answer(true));
        let portal = portal.unwrap();
        transaction.batch_execute(change).await.unwrap();
        let refused = transaction.query_portal(&portal, 0).await.unwrap_err();
        let message = refused.as_db_error().unwrap().message().to_owned();
        assert!(message.contains("bind it again"), "{change}: {message}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(rows(&server), "10");
    let mut alice = gateway.connect().await;
    let statement = alice.client.prepare("/* hold */ delete from t returning id").await.unwrap();
    let transaction = alice.client.transaction().await.unwrap();
    let (portal, _) = tokio::join!(transaction.bind(&statement, &[]), gateway.answer(true));
    transaction.batch_execute("set local timezone = 'Asia/Tokyo'; reset timezone").await.unwrap();
    assert_eq!(transaction.query_portal(&portal.unwrap(), 0).await.unwrap().len(), 10);
}

#[tokio::test]
async fn code_cannot_put_another_statement_under_an_approved_name() {
    let (server, gateway, alice) = start().await;
    server.sql(
        "create function swap() returns void language plpgsql as $$ declare found text; begin \
         for found in select name from pg_prepared_statements where statement like '%hold%' loop \
         execute format('deallocate %I', found); \
         execute format('prepare %I(int) as delete from t where id <> $1', found); \
         end loop; end $$",
    );
    let statement = alice.client.prepare("/* hold */ delete from t where id = $1").await.unwrap();
    alice.client.batch_execute("select swap()").await.unwrap();
    let id: [&(dyn ToSql + Sync); 1] = [&1_i32];
    let (run, _) = tokio::join!(alice.client.execute(&statement, &id), gateway.answer(true));
    assert_eq!((run.unwrap(), rows(&server).as_str()), (1, "9"));
}

#[tokio::test]
async fn every_name_is_shown_and_the_row_of_a_cursor_is_never_remembered() {
    let (server, gateway, mut alice) = start().await;
    for decoy in ["e", "ex", "exe", "exec", "g", "go", "gon"] {
        alice.client.batch_execute(&format!("prepare {decoy} as select 1")).await.unwrap();
    }
    alice.client.batch_execute("prepare \"Gone\" as delete from t where id = 1").await.unwrap();
    let (run, approval) = tokio::join!(alice.client.batch_execute("/* hold */ execute \"Gone\""), gateway.answer(true));
    run.unwrap();
    assert!(approval.context.contains("; Gone is delete from t where id = ?;"), "{}", approval.context);
    assert_eq!(approval.context.matches(" is ").count(), 1, "{}", approval.context);

    let transaction = alice.client.transaction().await.unwrap();
    transaction.batch_execute("declare c cursor for select id from t for update; fetch c").await.unwrap();
    let delete = "/* hold remember */ delete from t where current of c";
    let (run, _) = tokio::join!(transaction.batch_execute(delete), gateway.answer(true));
    run.unwrap();
    transaction.batch_execute("fetch c").await.unwrap();
    let (run, _) = tokio::join!(transaction.batch_execute(delete), gateway.answer(false));
    assert!(run.is_err());
    transaction.rollback().await.unwrap();
    assert_eq!(rows(&server), "9");
}

#[tokio::test]
async fn too_much_behind_a_held_command_ends_its_hold() {
    let (server, gateway, _alice) = start().await;
    let mut wire = Wire::connect(&gateway).await;
    wire.batch(&["/* hold */ delete from t"]).await;
    gateway.pending().await;
    for _ in 0..800 {
        wire.batch(&[&format!("select 1 -- {}", "x".repeat(2000))]).await;
    }
    assert_eq!(wire.errors_until_ready().await, ["42501"]);
    assert_eq!((rows(&server).as_str(), gateway.ended()), ("10", vec![ApprovalState::Abandoned]));
}
