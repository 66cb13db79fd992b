//! Tokens of OpenID Connect issuers in the place of the password.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_tests::{
    Endpoint, Gateway, Issuer,
    builder::Builder,
    gateway::TARGET,
    issuer::now,
    programs::eventually,
    wire::{Message, Wire},
};

use crate::database;

const PEOPLE: &str = "username_claim = \"email\"\ngroups_claim = \"groups\"\n";

/// A gateway that people of this issuer may use who are engineers.
fn before(issuer: &Issuer) -> Builder {
    Gateway::before(&database()).allow(r#"["group:engineering"]"#).table("[identity.oidc]", &issuer.lines(PEOPLE))
}

/// Whoever shows this token as this user.
fn bearer(gateway: &Gateway, user: &str, token: &str) -> Endpoint {
    Endpoint::new(gateway.port(), user, token, TARGET)
}

/// What every claim of Carol's token is.
fn carol() -> Value {
    json!({ "email": "carol@example.com", "email_verified": true, "groups": ["engineering", "eu"] })
}

/// What the client is told where it is not let in.
fn refusal(gateway: &Gateway, user: &str, token: &str) -> Message {
    let (mut wire, greeting) = Wire::login(&bearer(gateway, user, token));
    assert!(wire.is_closed_by_server(), "a refused login ends the connection");
    greeting.into_iter().find(|message| message.tag == 'E').expect("the login is refused")
}

#[test]
fn a_psql_with_nothing_but_a_token_works_on_a_target_it_is_allowed_on() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let token = issuer.token(&carol());
    assert_eq!(bearer(&gateway, "carol@example.com", &token).psql("SELECT current_user").ok().trim(), "app");
    let log = gateway.log();
    assert!(log.contains("carol@example.com"), "{log}");
    assert!(!log.contains(&token), "a token is a secret");
}

#[test]
fn the_record_says_which_issuer_proved_who_it_was() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).admin().start();
    let token = issuer.token(&carol());
    bearer(&gateway, "carol@example.com", &token).psql("SELECT 1").ok();
    let sessions = || gateway.socket().get("/api/v1/sessions").json()["items"].clone();
    eventually("the session is in the record", Duration::from_secs(20), || sessions()[0]["id"].is_string());
    let id = sessions()[0]["id"].as_str().unwrap().to_owned();
    let text = gateway.socket().get(&format!("/api/v1/sessions/{id}/export")).ok_text();
    assert!(text.contains(&format!("token of {} for 248289761001", issuer.url())), "{text}");
    assert!(!text.contains(&token), "a token is a secret");
}

#[test]
fn a_token_without_the_group_is_refused_as_any_other_user_is() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let token = issuer.token(&json!({ "email": "dave@example.com", "email_verified": true, "groups": ["sales"] }));
    assert_eq!(refusal(&gateway, "dave@example.com", &token).field('C').unwrap(), "3D000");
}

#[test]
fn whatever_is_wrong_with_a_token_the_client_reads_the_same() {
    let issuer = Issuer::start();
    let stranger = Issuer::start();
    let gateway = before(&issuer).start();
    let with = |more: Value| {
        let mut claims = carol();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let signed = |more| issuer.token(&with(more));
    let header = |header: Value| issuer.sign(&header, &carol(), "issuer");
    let good = signed(json!({}));
    let (head, _) = good.rsplit_once('.').unwrap();
    let other = signed(json!({ "groups": ["admin"] }));
    let (_, signature) = other.rsplit_once('.').unwrap();
    let tokens = [
        ("expired", signed(json!({ "iat": now() - 900, "exp": now() - 60 })), "has expired"),
        ("not valid yet", signed(json!({ "nbf": now() + 300 })), "not valid yet"),
        ("for another audience", signed(json!({ "aud": "payroll" })), "not for this gateway"),
        ("for another audience too", signed(json!({ "aud": ["sluicegate", "payroll"] })), "not for this gateway"),
        ("without an audience", signed(json!({ "aud": null })), "not for this gateway"),
        ("without an expiry", signed(json!({ "exp": null })), "lacks what every token has"),
        ("of an issuer that is not configured", stranger.token(&carol()), "not of an issuer"),
        ("signed by another issuer", stranger.token(&with(json!({ "iss": issuer.url() }))), "its signature is not"),
        (
            "signed by a stranger under the issuer's key",
            issuer.sign(&json!({}), &carol(), "stranger"),
            "its signature is not",
        ),
        (
            "signed under a key that nobody has",
            header(json!({ "kid": "nobody's" })),
            "a key that the issuer does not have",
        ),
        ("not signed", header(json!({ "alg": "none" })), "in a way that proves nothing"),
        ("signed with the public key", header(json!({ "alg": "HS256" })), "in a way that proves nothing"),
        ("with another token's signature", format!("{head}.{signature}"), "its signature is not"),
        ("that ends sessions", header(json!({ "typ": "logout+jwt" })), "another purpose"),
        ("that ends sessions without saying so", signed(json!({ "events": {} })), "another purpose"),
        ("that is good only with a key", signed(json!({ "cnf": { "jkt": "x" } })), "another purpose"),
        ("with an address that is not verified", signed(json!({ "email_verified": false })), "not verified"),
        ("with an address of which nothing is said", signed(json!({ "email_verified": null })), "not verified"),
        ("without the user's name", signed(json!({ "email": null })), "no claim"),
        ("of somebody else", signed(json!({ "email": "mallory@example.com" })), "another user"),
    ];
    let wrong = refusal(&gateway, "carol@example.com", "guess");
    for (what, token, why) in tokens {
        let from = gateway.log().len();
        assert_eq!(refusal(&gateway, "carol@example.com", &token), wrong, "{what}");
        let log = gateway.log()[from..].to_owned();
        assert!(log.contains(why), "{what}: {log}");
        assert!(!log.contains(&token), "{what}: a token is a secret");
        assert_eq!(bearer(&gateway, "carol@example.com", &good).psql("SELECT 1").ok().trim(), "1", "after one {what}");
    }
}

#[test]
fn a_token_is_never_a_built_in_user() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let token = issuer.token(&json!({ "email": "alice", "email_verified": true, "groups": ["engineering"] }));
    assert_eq!(refusal(&gateway, "alice", &token).field('C').unwrap(), "28P01");
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1", "alice has her secret");
}

#[test]
fn keys_that_are_new_are_found_and_those_that_are_gone_are_not() {
    let mut issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let old = issuer.token(&carol());
    assert_eq!(bearer(&gateway, "carol@example.com", &old).psql("SELECT 1").ok().trim(), "1");
    // An issuer is not asked again within ten seconds.
    std::thread::sleep(Duration::from_secs(11));
    issuer.rotate("second");
    let new = issuer.token(&carol());
    assert_eq!(bearer(&gateway, "carol@example.com", &new).psql("SELECT 1").ok().trim(), "1");
    assert_eq!(refusal(&gateway, "carol@example.com", &old).field('C').unwrap(), "28P01");
    issuer.stop();
    assert_eq!(bearer(&gateway, "carol@example.com", &new).psql("SELECT 1").ok().trim(), "1", "its keys are known");
}

#[test]
fn an_issuer_that_is_down_keeps_nobody_else_out_and_is_found_when_it_is_back() {
    let mut issuer = Issuer::start();
    let token = issuer.token(&carol());
    issuer.stop();
    let gateway = before(&issuer).start();
    // However often: that the issuer is down is nobody's guess.
    for _ in 0..8 {
        assert_eq!(refusal(&gateway, "carol@example.com", &token).field('C').unwrap(), "53300");
    }
    gateway.wait_for_log(0, "the keys of an issuer of tokens cannot be had");
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
    issuer.start_again();
    std::thread::sleep(Duration::from_secs(11));
    let token = issuer.token(&carol());
    assert_eq!(bearer(&gateway, "carol@example.com", &token).psql("SELECT 1").ok().trim(), "1");
}

#[test]
fn a_job_is_let_in_by_what_its_token_claims() {
    let issuer = Issuer::start();
    let builder = Gateway::before(&database()).table("[identity.oidc]", &issuer.lines(""));
    let gateway = builder
        .allow(r#"["claim:repository=acme/shop"]"#)
        .target("other", &database())
        .allow(r#"["claim:repository=acme/other", "subject:cd"]"#)
        .target("by-subject", &database())
        .allow(r#"["subject:ci"]"#)
        .start();
    let token = issuer.job();
    let on = |target: &str| Endpoint { database: target.to_owned(), ..bearer(&gateway, "ci", &token) };
    assert_eq!(on(TARGET).psql("SELECT 1").ok().trim(), "1");
    assert_eq!(on("by-subject").psql("SELECT 1").ok().trim(), "1");
    assert!(on("other").psql("SELECT 1").failed().contains("that you may use"));
}

#[test]
fn two_issuers_cannot_give_the_same_names() {
    let (people, jobs) = (Issuer::start(), Issuer::start());
    let both = |lines: &str| before(&people).table("[identity.oidc]", &jobs.lines(lines));
    assert!(both(PEOPLE).refused().contains("have the same `prefix`"));
    let prefixed = format!("{PEOPLE}prefix = \"ci/\"\n");
    let gateway = both(&prefixed).start();
    let token = jobs.token(&carol());
    assert_eq!(refusal(&gateway, "carol@example.com", &token).field('C').unwrap(), "28P01");
    // It has a group of its own that only looks like the other issuer's.
    assert_eq!(refusal(&gateway, "ci/carol@example.com", &token).field('C').unwrap(), "3D000");
    let token = people.token(&carol());
    assert_eq!(bearer(&gateway, "carol@example.com", &token).psql("SELECT 1").ok().trim(), "1");
    // Nor can the other one give names that look like these.
    let pretender = people.token(&json!({ "email": "ci/carol@example.com", "email_verified": true }));
    assert_eq!(refusal(&gateway, "ci/carol@example.com", &pretender).field('C').unwrap(), "28P01");
}

#[test]
fn nobody_approves_their_own_command_under_another_name() {
    let issuer = Issuer::start();
    let hold = r#"when = { kinds = ["delete"] }, approvers = ["group:engineering"], expires = "1m""#;
    let gateway = before(&issuer).policy("hold-for-approval", hold).admin().start();
    let token = |email: &str, subject: &str| {
        let groups = ["engineering"];
        issuer.token(&json!({ "email": email, "email_verified": true, "groups": groups, "sub": subject }))
    };
    let asks =
        bearer(&gateway, "carol@example.com", &token("carol@example.com", "4711")).psql_start("DELETE FROM nowhere");
    let api = |email: &str, subject: &str| gateway.api().basic_with(email, &token(email, subject));
    let dave = api("dave@example.com", "4712");
    eventually("the command waits", Duration::from_secs(20), || dave.pending().len() == 1);
    let id = dave.pending()[0]["id"].as_str().unwrap().to_owned();
    let renamed = api("carol@married.example.com", "4711").answer(&id, true, "mine");
    assert!(renamed.status.is_client_error(), "{renamed:?}");
    assert_eq!(dave.answer(&id, true, "hers").status.as_u16(), 200);
    drop(asks);
}

#[test]
fn every_kind_of_signature_that_proves_something_does() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    for alg in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let token = issuer.sign(&json!({ "alg": alg }), &carol(), "issuer");
        assert!(bearer(&gateway, "carol@example.com", &token).psql("SELECT 1").status.success(), "{alg}");
    }
    // A key of one kind named for a signature of another.
    let mixed = issuer.sign(&json!({ "alg": "ES256", "kid": "ES384" }), &carol(), "issuer");
    assert_eq!(refusal(&gateway, "carol@example.com", &mixed).field('C').unwrap(), "28P01");
}

#[test]
fn clocks_may_differ_by_half_a_minute_and_no_more() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let with = |more: Value| {
        let mut claims = carol();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bearer(&gateway, "carol@example.com", &issuer.token(&claims)).psql("SELECT 1").status.success()
    };
    assert!(with(json!({ "exp": now() - 20 })) && with(json!({ "nbf": now() + 20 })));
    assert!(!with(json!({ "exp": now() - 40 })) && !with(json!({ "nbf": now() + 60 })));
}
