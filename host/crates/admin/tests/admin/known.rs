//! Who gets in from the network, by secret and by token, and for how long.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::{
    logs,
    stage::{Stage, basic, user},
    wire::Reply,
};

fn bearer(reply: &Reply) -> String {
    format!("Bearer {}", reply.body["token"].as_str().unwrap())
}

#[tokio::test]
async fn without_good_credentials_nobody_gets_in() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let wrong = "Basic YW5uOnNlc2FtZS1vcGVu"; // ann:sesame-open
    let nobody = "Basic em9lOnNlc2FtZS1vcGVu"; // zoe:sesame-open
    for path in ["/api/v1/whoami", "/api/v1/approvals", "/api/v1/sessions", "/openapi.json", "/elsewhere"] {
        for authorization in ["", wrong, nobody, "Basic ???", "Bearer sgt_sesame-open", "Bearer", "Digest x", "x"] {
            let reply = network.get(path, authorization).await;
            assert_eq!(reply.status, 401, "{path} {authorization}: {reply:?}");
            assert!(reply.head.contains("www-authenticate: basic realm"), "{reply:?}");
            assert!(reply.head.contains("www-authenticate: bearer realm"), "{reply:?}");
            assert!(!reply.detail().is_empty());
        }
    }
    let log = logs::text();
    assert!(log.contains(r#"user="zoe""#) && log.contains("client=\"127.0.0.1:"), "{log}");
    assert!(!log.contains("sesame-open"), "no secret is logged");
}

#[tokio::test]
async fn guesses_are_put_off_and_an_unknown_user_reads_as_a_known_one() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let wrong = "Basic YW5uOnNlc2FtZS1vcGVu"; // ann:sesame-open
    let nobody = "Basic em9lOnNlc2FtZS1vcGVu"; // zoe:sesame-open
    let mut told = Vec::new();
    for guess in [nobody, wrong] {
        let mut tries = 0;
        // Until the wait is so long that what follows comes well within it.
        let refused = loop {
            let reply = network.get("/api/v1/whoami", guess).await;
            tries += 1;
            match (reply.status, reply.head.split("retry-after: ").nth(1).and_then(|rest| rest.lines().next())) {
                (401, None) => assert!(tries < 20, "it is never put off"),
                (429, Some("1" | "2")) => tokio::time::sleep(Duration::from_secs(1)).await,
                (429, Some(_)) => break reply,
                other => panic!("{other:?}"),
            }
        };
        assert!(tries > 5, "people mistype");
        told.push(refused.detail().split(';').next().unwrap().to_owned());
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(network.get("/api/v1/whoami", &basic("ann")).await.status, 429, "nor is the right secret told apart");
    assert_eq!(network.get("/api/v1/whoami", &basic("bob")).await.status, 200);
    assert!(logs::text().contains("too many wrong secrets: refused unheard"));
    let refused = stage.ledger.refusals();
    let burst = refused.iter().filter(|refused| refused.reason.starts_with("too many wrong secrets")).count();
    assert!(refused.iter().any(|refused| refused.user == "zoe" && refused.protocol == "api"), "{refused:?}");
    assert!((2..8).contains(&burst), "the first of a burst is recorded, and no other: {refused:?}");
}

#[tokio::test]
async fn whoever_cannot_be_verified_now_is_put_off() {
    let stage = Stage::new();
    let network = stage.listen().await;
    stage.busy(true);
    let reply = network.get("/api/v1/whoami", &basic("ann")).await;
    assert_eq!(reply.status, 503);
    assert!(reply.head.contains("retry-after: 5"), "{reply:?}");
    stage.busy(false);
    let reply = network.get("/api/v1/whoami", &basic("ann")).await;
    assert_eq!(reply.body, json!({"user": "ann", "groups": ["admin"], "admin": true, "owner": false}));
}

#[tokio::test]
async fn a_token_stands_for_whoever_got_it_until_it_is_revoked() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let made = network.ask("POST", "/api/v1/tokens", &[("authorization", &basic("bob"))], "").await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.head.contains("cache-control: no-store"));
    let token = bearer(&made);
    let reply = network.get("/api/v1/whoami", &token).await;
    assert_eq!(reply.body, json!({"user": "bob", "groups": ["dba"], "admin": false, "owner": false}));
    let more = network.ask("POST", "/api/v1/tokens", &[("authorization", &token)], "").await;
    assert_eq!(more.status, 403, "a token would live on in the next");
    let secret = network.ask("DELETE", "/api/v1/tokens", &[("authorization", &basic("bob"))], "").await;
    assert_eq!(secret.status, 403);
    let revoked = network.ask("DELETE", "/api/v1/tokens", &[("authorization", &token)], "").await;
    assert_eq!(revoked.status, 204);
    assert_eq!(network.get("/api/v1/whoami", &token).await.status, 401);
    let log = logs::text();
    assert!(!log.contains(made.body["token"].as_str().unwrap()) && !log.contains("pw-bob"));
}

#[tokio::test]
async fn a_token_ends_with_its_user() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let tokens = ["ann", "bob"].map(|name| format!("Bearer {}", stage.token(name).expose_secret()));
    assert_eq!(network.get("/api/v1/whoami", &tokens[1]).await.status, 200);
    // Hashes are salted, so the same secret hashed anew is another one to the gateway.
    stage.users.replace(&[user("bob")]).unwrap();
    for token in &tokens {
        let reply = network.get("/api/v1/whoami", token).await;
        assert_eq!(reply.status, 401);
        assert!(reply.detail().contains("not valid"), "{reply:?}");
    }
    assert_eq!(network.get("/api/v1/whoami", &basic("ann")).await.status, 401);
    assert_eq!(network.get("/api/v1/whoami", &basic("bob")).await.status, 200);
}

#[tokio::test]
async fn only_admins_read_sessions_and_policies() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let session = "/api/v1/sessions/00000000-0000-0000-0000-000000000007";
    for path in ["/api/v1/sessions", session, &format!("{session}/export"), "/api/v1/policies"] {
        assert_eq!(network.get(path, &basic("ann")).await.status, 200, "{path}");
        for name in ["alice", "bob", "eve"] {
            let reply = network.get(path, &basic(name)).await;
            assert_eq!(reply.status, 403, "{name} {path}");
            assert!(!reply.detail().is_empty());
        }
    }
    for path in ["/api/v1/record/key", "/api/v1/whoami", "/openapi.json"] {
        assert_eq!(network.get(path, &basic("eve")).await.status, 200, "{path}");
    }
    let twice = [("authorization", &*basic("ann")), ("Authorization", &*basic("eve"))];
    assert_eq!(network.ask("GET", "/api/v1/whoami", &twice, "").await.status, 400, "who of them is it?");
}

#[tokio::test]
async fn a_token_that_is_nobodys_is_recorded_and_keeps_nobody_else_out() {
    let stage = Stage::new();
    let network = stage.listen().await;
    for _ in 0..120 {
        assert_eq!(network.get("/api/v1/whoami", "Bearer a.sesame.c").await.status, 401);
    }
    let session = format!("Bearer {}", stage.token("bob").expose_secret());
    assert_eq!(network.get("/api/v1/whoami", &session).await.status, 200);
    assert_eq!(network.get("/api/v1/whoami", &basic("bob")).await.status, 200);
    let refused = stage.ledger.refusals();
    // Of so many from one network not all are told.
    assert!((100..110).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|refused| refused.protocol == "api" && refused.client.starts_with("127.0.0.1:")));
    assert!(refused[0].reason.contains("no issuer's tokens count here"), "{refused:?}");
    assert!(!format!("{refused:?}{}", logs::text()).contains("sesame"), "no token is kept");
}

#[tokio::test]
async fn before_they_log_in_people_learn_where_and_afterwards_what_they_may_use() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let issuers = network.get("/api/v1/login", "").await;
    let issuer = json!({"issuer": "https://id.example.com", "client_id": "sluicegate", "scopes": ["openid"]});
    assert_eq!((issuers.status, issuers.body), (200, json!({ "items": [issuer] })));
    assert_eq!(network.get("/api/v1/targets", "").await.status, 401);
    stage.only("stock", "sales");
    let target = |name: &str| json!({"name": name, "protocol": "test", "port": 4711});
    let usable = async |who: &str| network.get("/api/v1/targets", &basic(who)).await.body;
    assert_eq!(usable("bob").await, json!({"items": [target("orders")], "next": null}));
    assert_eq!(usable("eve").await, json!({"items": [target("orders"), target("stock")], "next": null}));
    stage.api.set_ports([].into());
    assert_eq!(usable("eve").await, json!({"items": [], "next": null}), "what is not served cannot be used");
}
