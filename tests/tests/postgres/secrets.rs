//! No secret is anywhere but where it belongs. One gateway with every kind of secret, used rightly and wrongly and
//! while what it asks is down, and then a search for each of them in all that the gateway said, showed and kept.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use sluicegate_tests::{
    Api, Database, Endpoint, Gateway, Issuer, Vault,
    builder::{HOOK_SECRET, write_file},
    gateway::TARGET,
    postgres::APP_PASSWORD,
    programs::{Run, eventually},
    search::Search,
    tap::Tap,
    users::{USERS, secret},
    webhook::Webhook,
};

use crate::database;

const BY_FILE: &str = "in a file: p@ss/word+1";
const BY_EXEC: &str = "from a helper: p@ss/word+2";
const BY_VAULT: &str = "kept in Vault: p@ss/word+3";
const WRONG_FILE: &str = "a wrong one in a file";
const WRONG_EXEC: &str = "a wrong one of a helper";
const WRONG_VAULT: &str = "a wrong one in Vault";
const FAILING: &str = "what a failing helper prints";
const COMPLAINED: &str = "what a failing helper complains of";
const GUESS: &str = "what somebody guesses at alice";
const WRONG_TOKEN: &str = "hvs.NoTokenOfThisVaultAtAll";
const WRONG_BEARER: &str = "NoTokenOfThisApiAtAll";
const LITERAL: &str = "written into the configuration";
/// What alice asks for, which is to be found wherever commands are.
const CANARY: &str = "canary 7f3Kq: sings/here+now";
const SOON: Duration = Duration::from_secs(30);

/// What was told to clients, and every secret that there was.
struct Stage {
    gateway: Gateway,
    issuer: Issuer,
    search: Search,
    secrets: Vec<(&'static str, String)>,
}

impl Stage {
    fn told(&mut self, run: &Run) {
        self.search.add("what clients were told", format!("{}\n{}", run.stdout, run.stderr));
    }

    /// Has somebody ask a target; says whether they were let in.
    fn ask(&mut self, endpoint: &Endpoint, target: &str) -> bool {
        let endpoint = Endpoint { database: target.to_owned(), ..endpoint.clone() };
        let run = endpoint.psql(&format!("SELECT '{CANARY}'"));
        self.told(&run);
        run.status.success()
    }

    fn answered(&mut self, api: &Api, path: &str) {
        let answer = api.get(path);
        let place = if path == "/metrics" { "the measurements" } else { "answers of the API" };
        self.search.add(place, format!("{:?}\n{}", answer.headers, answer.text()));
    }

    fn printed(&mut self, place: &str, args: &[&str]) {
        let run = self.gateway.sluicegate(args);
        self.search.add(place, format!("{}\n{}", run.stdout, run.stderr));
    }

    fn secret(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() > 8, "{what}: {secret} would be found by chance");
        self.secrets.push((what, secret.to_owned()));
    }
}

/// Roles of the database with the passwords of this test.
fn roles(database: &Database) {
    for (role, password) in [("by_file", BY_FILE), ("by_exec", BY_EXEC), ("by_vault", BY_VAULT)] {
        let role = format!("{role}_{}", database.name);
        database.administer(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' IN ROLE app"));
    }
}

fn helper(script: &str) -> String {
    format!("#!/bin/sh\n{script}\n")
}

fn start(database: &Database, vault: &Vault, tap: &Tap, issuer: &Issuer, webhook: &Webhook) -> Gateway {
    let login = |role: &str, password: &str| format!("username = \"{role}_{}\"\npassword = {password}", database.name);
    let targets = [
        ("by-file", login("by_file", "{ file = \"right\" }")),
        ("by-exec", login("by_exec", "{ exec = [\"right-helper\"] }")),
        ("by-vault", login("by_vault", "{ vault = \"secret/data/orders\", key = \"right\" }")),
        ("lent", "credentials = { vault = \"database/creds/orders\" }".to_owned()),
        ("wrong-env", login("by_file", "{ env = \"HOOK_SECRET\" }")),
        ("wrong-file", login("by_file", "{ file = \"wrong\" }")),
        ("wrong-exec", login("by_exec", "{ exec = [\"wrong-helper\"] }")),
        ("wrong-vault", login("by_vault", "{ vault = \"secret/data/orders\", key = \"wrong\" }")),
        ("no-key", login("by_vault", "{ vault = \"secret/data/orders\", key = \"none\" }")),
        ("no-place", login("by_vault", "{ vault = \"secret/data/nowhere\" }")),
        ("failing", login("by_exec", "{ exec = [\"failing-helper\"] }")),
    ];
    // Not what policies are compiled by: that is too much to read, and nothing of it is about secrets.
    let level = "level = \"trace,cranelift=off,wasmtime=off,regalloc2=off\"";
    let with_tap = vault.lines().replace(&vault.port().to_string(), &tap.port().to_string());
    let mut builder = Gateway::before(database)
        .admin()
        .policy("hold-for-approval", r#"when = { kinds = ["delete"] }, approvers = ["group:dba"]"#)
        .table("log", level)
        .table("vault", &with_tap)
        .table("approvals.webhook", &format!("url = \"{}\"\nsecret = {{ env = \"HOOK_SECRET\" }}", webhook.url()))
        .table("[identity.oidc]", &issuer.lines("username_claim = \"email\"\ngroups_claim = \"groups\"\n"))
        .file("vault-token", &vault.token())
        .file("right", BY_FILE)
        .file("wrong", WRONG_FILE)
        .file("right-helper", &helper(&format!("echo '{{\"secret\": \"{BY_EXEC}\"}}'")))
        .file("wrong-helper", &helper(&format!("echo '{{\"secret\": \"{WRONG_EXEC}\"}}'")))
        .file("failing-helper", &helper(&format!("echo '{FAILING}'; echo '{COMPLAINED}' >&2; exit 9")));
    for (name, login) in targets {
        builder = builder.target(name, database).login(&login);
        if name == "lent" {
            // For the sake of the catalog, which has credentials of its own. Elsewhere literals are recorded.
            builder = builder.policy("pii-mask", r#"columns = ["*.ssn"]"#);
        }
    }
    builder.start()
}

#[test]
fn no_secret_is_found_in_anything_that_the_gateway_says_shows_or_keeps() {
    let (database, mut vault, issuer, webhook) = (database(), Vault::start(), Issuer::start(), Webhook::start(2));
    roles(&database);
    vault.lends("orders", &database, 3600, 7200);
    vault.keep("orders", &json!({ "right": BY_VAULT, "wrong": WRONG_VAULT }));
    let tap = Tap::on(vault.port());
    let gateway = start(&database, &vault, &tap, &issuer, &webhook);
    let mut stage = Stage { gateway, issuer, search: Search::default(), secrets: Vec::new() };
    people_come(&mut stage);
    tickets_are_used(&mut stage);
    approvals_are_asked_for(&mut stage, &webhook);
    targets_refuse(&mut stage);
    vault_refuses(&mut stage);
    vault.stop();
    vault_is_down(&mut stage);
    the_configuration_is_wrong(&mut stage);
    note_secrets(&mut stage, &tap);
    everything_is_read(&mut stage, &webhook);
    the_search_finds_what_is_there(&stage);
    let users: Vec<&str> = USERS.iter().map(|user| user.name).chain(["carol@example.com", "app"]).collect();
    for (what, secret) in &stage.secrets {
        let found = stage.search.find(secret, &users);
        assert!(found.is_empty(), "{what} is found: {found:#?}");
    }
}

/// Built-in users and those with tokens, with their secrets and with wrong ones.
fn people_come(stage: &mut Stage) {
    let alice = stage.gateway.alice();
    for target in [TARGET, "by-file", "by-exec", "by-vault", "lent"] {
        assert!(stage.ask(&alice, target), "alice asks {target}");
    }
    let stranger = Endpoint { password: GUESS.to_owned(), ..alice.clone() };
    assert!(!stage.ask(&stranger, TARGET));
    let claims = json!({ "email": "carol@example.com", "email_verified": true, "groups": ["engineering"] });
    let (right, wrong) = (stage.issuer.token(&claims), stage.issuer.sign(&json!({}), &claims, "stranger"));
    let carol = |token: &str| Endpoint::new(stage.gateway.port(), "carol@example.com", token, TARGET);
    let (known, unknown) = (carol(&right), carol(&wrong));
    assert!(stage.ask(&known, "lent") && !stage.ask(&unknown, TARGET));
    for (what, token) in [("a token", &right), ("a token that is wrong", &wrong)] {
        stage.secret(what, token);
        // A token that was cut short is recognised by its end.
        stage.secret(what, token.rsplit('.').next().expect("its signature"));
    }
}

/// Rightly, at a target that it is not for, at the API, and once it is revoked.
fn tickets_are_used(stage: &mut Stage) {
    let api = stage.gateway.api().basic("alice");
    let issued = api.post("/api/v1/tickets", &json!({ "target": TARGET })).json_of(201);
    let text = |key: &str| issued[key].as_str().expect("a ticket has it").to_owned();
    let (id, ticket) = (text("id"), text("secret"));
    let alice = Endpoint { password: ticket.clone(), ..stage.gateway.alice() };
    assert!(stage.ask(&alice, TARGET) && !stage.ask(&alice, "by-file"));
    let refused = stage.gateway.api().basic_with("alice", &ticket).get("/api/v1/whoami");
    assert_eq!(refused.status.as_u16(), 401);
    stage.search.add("answers of the API", format!("{:?}\n{}", refused.headers, refused.text()));
    stage.answered(&api, "/api/v1/tickets");
    stage.answered(&api, "/api/v1/targets");
    stage.answered(&api, "/api/v1/login");
    assert_eq!(api.delete(&format!("/api/v1/tickets/{id}")).status.as_u16(), 204);
    assert!(!stage.ask(&alice, TARGET));
    stage.printed("what people who run it are shown", &["ticket", "list"]);
    stage.secret("a ticket", &ticket);
}

/// Through the webhook, which fails at first, and by each way to say who answers.
fn approvals_are_asked_for(stage: &mut Stage, webhook: &Webhook) {
    let api = stage.gateway.api();
    let waiting = stage.gateway.alice().psql_start("DELETE FROM orders WHERE id = 7");
    let dave = api.basic("dave");
    eventually("it is held", SOON, || dave.pending().len() == 1);
    webhook.wait_for(3);
    let id = dave.pending()[0]["id"].as_str().expect("an id").to_owned();
    let token = dave.post("/api/v1/tokens", &Value::Null).json_of(201)["token"].as_str().expect("a token").to_owned();
    for refused in
        [api.basic_with("dave", GUESS).answer(&id, true, "no"), api.bearer(WRONG_BEARER).answer(&id, true, "no")]
    {
        assert_eq!(refused.status.as_u16(), 401);
        stage.search.add("answers of the API", format!("{:?}\n{}", refused.headers, refused.text()));
    }
    let answered = api.bearer(&token).answer(&id, true, "yes");
    stage.search.add("answers of the API", answered.ok_text());
    let run = waiting.finish(SOON);
    stage.told(&run);
    assert!(run.status.success());
    stage.answered(&api.bearer(&token), "/api/v1/whoami");
    stage.secret("a session token of the API", &token);
}

/// The wrong passwords, and a helper that fails.
fn targets_refuse(stage: &mut Stage) {
    let alice = stage.gateway.alice();
    let wrong = ["wrong-env", "wrong-file", "wrong-exec", "wrong-vault", "no-key", "no-place", "failing"];
    for target in wrong {
        assert!(!stage.ask(&alice, target), "{target}");
    }
}

fn vault_refuses(stage: &mut Stage) {
    let path = stage.gateway.folder().join("vault-token");
    let right = fs::read_to_string(&path).expect("the token");
    write_file(&path, WRONG_TOKEN);
    vault_is_down(stage);
    write_file(&path, &right);
    stage.secret("the token for Vault", &right);
}

fn vault_is_down(stage: &mut Stage) {
    let alice = stage.gateway.alice();
    assert!(!stage.ask(&alice, "by-vault") && !stage.ask(&alice, "lent"));
}

/// A secret that is written into the file, at each of the places for one.
fn the_configuration_is_wrong(stage: &mut Stage) {
    let right = stage.gateway.config().to_owned();
    for (place, wrong) in [
        ("{ file = \"right\" }", format!("\"{LITERAL}\"")),
        ("{ file = \"right\" }", format!("{{ value = \"{LITERAL}\" }}")),
        ("{ vault = \"database/creds/orders\" }", format!("{{ password = \"{LITERAL}\" }}")),
        ("{ file = \"vault-token\" }", format!("\"{LITERAL}\"")),
        ("{ env = \"HOOK_SECRET\" }\n", format!("\"{LITERAL}\"\n")),
        ("address = \"http://127.0.0.1:", format!("address = \"http://gate:{LITERAL}@127.0.0.1:")),
    ] {
        assert!(right.contains(place), "{place}");
        let from = stage.gateway.log().len();
        stage.gateway.configure(right.replacen(place, &wrong, 1));
        stage.gateway.wait_for_log(from, "the changed configuration is refused");
        stage.printed("what a check says", &["check"]);
        stage.printed("what a check says", &["check", "--output", "json"]);
    }
    let from = stage.gateway.log().len();
    stage.gateway.configure(format!("{right}\n"));
    stage.gateway.wait_for_log(from, "configuration reloaded");
    stage.printed("what a check says", &["check"]);
}

fn note_secrets(stage: &mut Stage, tap: &Tap) {
    for (what, secret) in [
        ("alice's secret", secret("alice")),
        ("dave's secret", secret("dave")),
        ("a wrong secret", GUESS),
        ("a password by the environment", APP_PASSWORD),
        ("the webhook's secret, and a wrong password by the environment", HOOK_SECRET),
        ("the webhook's key", HOOK_SECRET.trim_start_matches("whsec_")),
        ("a password by a file", BY_FILE),
        ("a password by a helper", BY_EXEC),
        ("a password in Vault", BY_VAULT),
        ("a wrong password by a file", WRONG_FILE),
        ("a wrong password by a helper", WRONG_EXEC),
        ("a wrong password in Vault", WRONG_VAULT),
        ("what a failing helper prints", FAILING),
        ("what a failing helper says on standard error", COMPLAINED),
        ("a wrong token for Vault", WRONG_TOKEN),
        ("a wrong token of the API", WRONG_BEARER),
        ("a secret in the configuration", LITERAL),
    ] {
        stage.secret(what, secret);
    }
    // What Vault lent: two sessions, and the catalog.
    let heard = tap.heard();
    let lent: Vec<_> = heard.split("\"password\":\"").skip(1).filter_map(|text| text.split('"').next()).collect();
    assert!(lent.len() >= 3, "{}", lent.len());
    for password in lent {
        stage.secret("a password that was lent", password);
    }
}

/// Everything that can be read of the gateway, while it runs and after it has ended.
fn everything_is_read(stage: &mut Stage, webhook: &Webhook) {
    let (admin, owner) = (stage.gateway.api().basic("admin"), stage.gateway.socket());
    for path in ["/metrics", "/healthz", "/readyz", "/openapi.json", "/api/v1/policies", "/api/v1/record/key"] {
        stage.answered(&admin, path);
        stage.answered(&owner, path);
    }
    for path in ["/api/v1/whoami", "/api/v1/sessions?limit=1000", "/api/v1/approvals?limit=1000"] {
        stage.answered(&admin, path);
    }
    let items = |path: &str| owner.get(path).json()["items"].as_array().expect("items").clone();
    for approval in items("/api/v1/approvals?limit=1000") {
        stage.answered(&owner, &format!("/api/v1/approvals/{}", approval["id"].as_str().expect("an id")));
    }
    stage.printed("listings", &["sessions", "list"]);
    stage.printed("listings", &["sessions", "list", "--output", "json"]);
    stage.printed("what people who run it are shown", &["policy", "status"]);
    stage.printed("what people who run it are shown", &["approvals", "list", "--state", "all"]);
    let sessions = items("/api/v1/sessions?limit=1000");
    assert!(sessions.len() >= 18, "{}", sessions.len());
    for session in sessions {
        let id = session["id"].as_str().expect("an id");
        stage.answered(&owner, &format!("/api/v1/sessions/{id}"));
        stage.answered(&owner, &format!("/api/v1/sessions/{id}/export"));
        stage.printed("sessions", &["sessions", "show", id]);
        stage.printed("sessions", &["sessions", "show", id, "--output", "json"]);
        stage.printed("exports", &["sessions", "export", id]);
    }
    for delivery in webhook.deliveries() {
        stage.search.add("the webhook", format!("{:?}\n", delivery.headers));
        stage.search.add("the webhook", delivery.body.to_vec());
    }
    assert!(stage.gateway.stop(Duration::from_secs(60)), "{}", stage.gateway.log());
    let folder = stage.gateway.folder().to_owned();
    stage.search.add("the log", stage.gateway.log());
    stage.search.add_folder("the data folder", &folder.join("data"));
}

/// Each place holds what belongs there, so that the search has looked into it, in the forms that it knows.
fn the_search_finds_what_is_there(stage: &Stage) {
    let log = stage.gateway.log();
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "everything is logged");
    let known = [
        ("the log", "carol@example.com"),
        ("what clients were told", CANARY),
        ("what clients were told", "the gateway could not log in to the target"),
        ("answers of the API", CANARY),
        ("answers of the API", "carol@example.com"),
        ("sessions", CANARY),
        ("exports", CANARY),
        ("listings", "carol@example.com"),
        ("the measurements", "by-exec"),
        ("what a check says", "is never written into this file"),
        ("what people who run it are shown", "pii-mask"),
        ("the webhook", "DELETE FROM orders"),
        ("the data folder", CANARY),
        ("the data folder", "carol@example.com"),
    ];
    for (place, text) in known {
        let found = stage.search.find(text, &[]);
        assert!(found.iter().any(|(found, _)| found == place), "{text:?} is not found in {place}");
    }
    let mut unproven = stage.search.places();
    unproven.retain(|place| !known.iter().any(|(known, _)| known == place));
    assert!(unproven.is_empty(), "nobody has shown that these are searched: {unproven:?}");
}
