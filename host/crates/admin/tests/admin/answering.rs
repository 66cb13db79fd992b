//! Who may answer an approval, through every door, and what an answer comes to.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use sluicegate_admin::{AdminClient, AdminSocket, ClientError, Credentials, Door, Rights, router};
use sluicegate_core::{ApprovalState, Halt, Principal, Requirement};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::stage::{Stage, basic, by_a_dba, by_an_admin, secret};

#[tokio::test]
async fn an_approver_approves_and_the_command_runs() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let reply = network.answer(&held.path(), "approve", &basic("bob"), r#"{"note": "ticket 7"}"#).await;
    assert_eq!((reply.status, reply.state()), (200, ApprovalState::Approved), "{reply:?}");
    let answer = &reply.body["answers"][0];
    assert_eq!((&answer["approver"], &answer["note"]), (&json!("bob"), &json!("ticket 7")));
    held.outcome().await.unwrap();

    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let token = format!("Bearer {}", stage.token("carl").expose_secret());
    let reply = network.answer(&held.path(), "deny", &token, "{}").await;
    assert_eq!((reply.status, reply.state()), (200, ApprovalState::Denied), "{reply:?}");
    assert!(matches!(held.outcome().await, Err(Halt::Denied(_))));
}

#[tokio::test]
async fn nobody_answers_what_they_asked_for() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = AdminSocket::bind(dir.path()).await.unwrap();
    tokio::spawn(socket.serve(router(stage.api.clone(), Door::Owner), std::future::pending()));
    for (requester, requirement) in [("alice", by_a_dba()), ("bob", by_a_dba()), ("ann", by_an_admin())] {
        let held = stage.hold(requester, "orders", &[requirement]).await;
        let token = stage.token(requester);
        for authorization in [basic(requester), format!("Bearer {}", token.expose_secret())] {
            for verb in ["approve", "deny"] {
                let reply = network.answer(&held.path(), verb, &authorization, "{}").await;
                assert_eq!(reply.status, 403, "{requester} {verb}: {reply:?}");
                assert!(reply.detail().contains("somebody else"), "{reply:?}");
            }
        }
        let mut client = AdminClient::connect(dir.path()).await.unwrap();
        let credentials = Credentials::Secret { user: requester.to_owned(), secret: secret(requester) };
        for credentials in [credentials, Credentials::Token(token)] {
            client.authenticate(&credentials).unwrap();
            let error = client.answer(held.approval.id, true, "").await.unwrap_err();
            assert!(matches!(&error, ClientError::Problem(problem) if problem.status == 403), "{error:?}");
        }
        assert_eq!(stage.approvals.find(held.approval.id).unwrap().answers, []);
    }
}

#[tokio::test]
async fn for_those_who_are_not_asked_there_is_no_approval() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let unknown = format!("/api/v1/approvals/{}", uuid::Uuid::now_v7());
    for verb in ["approve", "deny"] {
        let reply = network.answer(&held.path(), verb, &basic("eve"), "{}").await;
        let nothing = network.answer(&unknown, verb, &basic("eve"), "{}").await;
        assert_eq!((reply.status, nothing.status), (404, 404));
        let id = |text: &str| text.replace(&held.path()[18..], "ID").replace(&unknown[18..], "ID");
        assert_eq!(id(reply.detail()), id(nothing.detail()));
    }
    assert_eq!(network.get(&held.path(), &basic("eve")).await.status, 404);
    // An admin sees it, and where a policy lists its approvers an admin is none of them.
    assert_eq!(network.get(&held.path(), &basic("ann")).await.status, 200);
    let reply = network.answer(&held.path(), "approve", &basic("ann"), "{}").await;
    assert_eq!(reply.status, 403);
    assert!(reply.detail().contains("group:dba"), "{reply:?}");
}

#[tokio::test]
async fn the_owner_reads_without_a_name_and_answers_only_with_one() {
    let stage = Stage::new();
    let dir = tempfile::tempdir().unwrap();
    let socket = AdminSocket::bind(dir.path()).await.unwrap();
    tokio::spawn(socket.serve(router(stage.api.clone(), Door::Owner), std::future::pending()));
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let mut client = AdminClient::connect(dir.path()).await.unwrap();
    assert_eq!(client.approval(held.approval.id).await.unwrap().unwrap().requester, "alice");
    let error = client.answer(held.approval.id, true, "").await.unwrap_err();
    assert!(matches!(&error, ClientError::Problem(problem) if problem.status == 401), "{error:?}");

    let wrong = Credentials::Secret { user: "bob".to_owned(), secret: "pw-carl".into() };
    client.authenticate(&wrong).unwrap();
    let error = client.approval(held.approval.id).await.unwrap_err();
    assert!(matches!(&error, ClientError::Problem(problem) if problem.status == 401), "{error:?}");
    client.authenticate(&Credentials::Secret { user: "bob".to_owned(), secret: secret("bob") }).unwrap();
    assert_eq!(client.answer(held.approval.id, true, "fine").await.unwrap().answers[0].approver, "bob");
    held.outcome().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_does_not_count_says_why() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let two = Requirement { min_approvals: 2, reason_required: true, ..by_a_dba() };
    let held = stage.hold("alice", "orders", std::slice::from_ref(&two)).await;
    let path = held.path();
    let answer = async |name: &str, body: &str| network.answer(&path, "approve", &basic(name), body).await;
    for (body, status) in [
        ("", 422),
        ("{", 400),
        ("[]", 422),
        (r#"{"note": 7}"#, 422),
        (r#"{"note": "x", "as": "carl"}"#, 422),
        (r#"{"note": " "}"#, 422),
        (&json!({"note": "x".repeat(1001)}).to_string(), 422),
        (&json!({"note": "x".repeat(70_000)}).to_string(), 413),
    ] {
        let reply = answer("bob", body).await;
        assert_eq!(reply.status, status, "{body:.40}: {reply:?}");
        assert!(!reply.detail().is_empty());
    }
    let text = [("authorization", &*basic("bob")), ("content-type", "text/plain")];
    assert_eq!(network.ask("POST", &format!("{path}/approve"), &text, "{}").await.status, 415);

    // What a foreign page can have a browser send.
    for content_type in ["", "application/x-www-form-urlencoded", "text/plain"] {
        let foreign = [
            ("authorization", &*basic("bob")),
            ("origin", "https://elsewhere.example"),
            ("content-type", content_type),
        ];
        let reply = network.ask("POST", &format!("{path}/approve"), &foreign, "").await;
        assert!([400, 415].contains(&reply.status), "{reply:?}");
    }

    stage.ledger.break_down(true);
    assert_eq!(answer("bob", r#"{"note": "ok"}"#).await.status, 503);
    stage.ledger.break_down(false);
    let reply = answer("bob", r#"{"note": "ok"}"#).await;
    assert_eq!((reply.status, reply.state()), (200, ApprovalState::Pending));
    let again = answer("bob", r#"{"note": "ok"}"#).await;
    assert_eq!((again.status, again.detail().contains("already")), (409, true));
    let reply = answer("carl", r#"{"note": "ok"}"#).await;
    assert_eq!((reply.status, reply.state()), (200, ApprovalState::Approved));
    assert_eq!(answer("carl", r#"{"note": "ok"}"#).await.status, 409);
    held.outcome().await.unwrap();

    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let bare = network.ask("POST", &format!("{}/approve", held.path()), &[("authorization", &*basic("bob"))], "").await;
    assert_eq!((bare.status, bare.state()), (200, ApprovalState::Approved), "a note may be left out");
    held.outcome().await.unwrap();

    let cancelled = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let path = cancelled.path();
    cancelled.cancel().await;
    let late = network.answer(&path, "approve", &basic("bob"), "{}").await;
    assert_eq!(late.status, 409);
    assert!(late.detail().contains("abandoned") && late.detail().contains("cancelled"), "{late:?}");
}

#[tokio::test]
async fn an_answer_is_recorded_although_its_client_hangs_up() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    stage.ledger.slow_down(Duration::from_millis(400));
    let token = stage.token("bob");
    let mut stream = TcpStream::connect(network.address).await.unwrap();
    let request = format!(
        "POST {}/approve HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}",
        held.path(),
        token.expose_secret()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(stage.approvals.find(held.approval.id).unwrap().state, ApprovalState::Pending, "still being written");
    drop(stream);
    held.outcome().await.unwrap();
}

#[tokio::test]
async fn the_admins_are_those_of_now() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let held = stage.hold("alice", "orders", &[by_an_admin()]).await;
    assert_eq!(network.answer(&held.path(), "approve", &basic("eve"), "{}").await.status, 404);
    stage.api.set_rights(Rights { admins: vec![Principal::User("eve".to_owned())], scrapers: Vec::new() });
    assert_eq!(network.answer(&held.path(), "approve", &basic("ann"), "{}").await.status, 404);
    assert_eq!(network.get("/api/v1/sessions", &basic("ann")).await.status, 403);
    assert_eq!(network.answer(&held.path(), "approve", &basic("eve"), "{}").await.status, 200);
    held.outcome().await.unwrap();
}
