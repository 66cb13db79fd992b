//! People who log in at their issuer, and connect without seeing a token: the real command line, a certified issuer, a browser
//! that does what people do, and psql.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use sluicegate_tests::{
    Endpoint, Gateway, Issuer, Person, Postgres,
    builder::Builder,
    gateway::TARGET,
    owner::Owner,
    programs::{Running, eventually, run},
    tls::Authority,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A gateway whose engineers log in at this issuer.
fn before(issuer: &Issuer) -> Builder {
    let people = issuer.lines("username_claim = \"email\"\ngroups_claim = \"groups\"\n");
    let gateway = Gateway::before(&Postgres::shared().database()).allow(r#"["group:engineering"]"#);
    gateway.table("[identity.oidc]", &people).admin()
}

/// Carol, who has logged in by browser.
fn carol() -> (Issuer, Gateway, Person) {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let person = Person::new(&gateway);
    let said = person.log_in(&issuer, "carol");
    assert!(said.stderr.contains("as carol@example.com (engineering)"), "{said:?}");
    said.ok();
    (issuer, gateway, person)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// `SELECT current_user` through `connect`.
fn select(person: &Person) -> String {
    person.run(&["connect", TARGET, "--", "psql", "-XAtc", "SELECT current_user"]).ok().trim().to_owned()
}

#[test]
fn who_logged_in_by_browser_connects_without_seeing_a_token() {
    let (_issuer, gateway, person) = carol();
    assert_eq!(select(&person), "app");
    let failed = person.run(&["connect", TARGET, "--", "psql", "-v", "ON_ERROR_STOP=1", "-Xc", "SELECT nothing"]);
    assert_eq!(failed.status.code(), Some(1), "the command's own exit code: {failed:?}");
    let other = person.run(&["connect", "payroll", "--", "psql"]).failed();
    assert!(other.contains("no target `payroll`") && other.contains(TARGET), "{other}");
    let log = gateway.log();
    assert!(log.contains("carol@example.com"), "{log}");
    assert!(!log.contains(&person.token()), "a token is a secret");
    // Whoever has a login needs no `--as`.
    let listed = person.run(&["approvals", "list", "--url", person.url()]).ok();
    assert!(!listed.contains("error"), "{listed}");
}

#[test]
fn what_would_lead_the_client_elsewhere_is_taken_away() {
    let (_issuer, _gateway, person) = carol();
    let mut command = person.command(&["connect", TARGET, "--", "psql", "-XAtc", "SELECT 1"]);
    command.env("PGHOSTADDR", "192.0.2.1").env("PGSERVICE", "elsewhere").env("PGSSLMODE", "require");
    assert_eq!(run(command, "", LIMIT).ok().trim(), "1");
}

#[test]
fn a_login_is_its_owners_alone() {
    let (_issuer, _gateway, person) = carol();
    let file = person.kept().join("login.json");
    assert_eq!((mode(&person.kept()), mode(&file)), (0o700, 0o600));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = person.run(&["token"]).failed();
    assert!(refused.contains("others may read"), "{refused}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(person.kept(), std::fs::Permissions::from_mode(0o770)).unwrap();
    assert!(person.run(&["token"]).failed().contains("others may write"));
    std::fs::set_permissions(person.kept(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let token = person.token();
    assert_eq!(token.matches('.').count(), 2);
    assert!(std::fs::read_to_string(&file).unwrap().contains(&token));
}

#[test]
fn a_device_code_does_where_there_is_no_browser() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let person = Person::new(&gateway);
    let (login, address) = person.begin(&["--device"]);
    let seen = issuer.browse(&address, "carol", &json!({}), &json!({}));
    assert!(seen["page"].as_str().unwrap().contains("Sign-in Success"), "{seen}");
    assert!(login.finish(LIMIT).stderr.contains("as carol@example.com"));
    assert_eq!(select(&person), "app");
}

#[test]
fn a_token_that_is_about_to_end_is_replaced_and_so_is_what_replaced_it() {
    let issuer = Issuer::start();
    issuer.set_lifetime(40);
    let gateway = before(&issuer).start();
    let person = Person::new(&gateway);
    person.log_in(&issuer, "carol").ok();
    let kept = || -> Value {
        let text = std::fs::read_to_string(person.kept().join("login.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()[person.url()].clone()
    };
    let first = kept();
    // Within a second it would be the same ID token.
    std::thread::sleep(Duration::from_millis(1100));
    // The issuer takes each refresh token once, and all of a login's together if one comes twice.
    let running: Vec<_> = (0..4).map(|_| Running::start(person.command(&["token"]), "")).collect();
    running.into_iter().for_each(|token| assert!(token.finish(LIMIT).ok().contains('.')));
    assert_eq!(issuer.grants("refresh_token"), 4);
    let last = kept();
    assert_ne!(first["refresh_token"], last["refresh_token"]);
    assert_ne!(first["id_token"], last["id_token"]);
    assert_eq!(select(&person), "app");
    // One that lives on is left alone.
    issuer.set_lifetime(300);
    person.token();
    let asked = issuer.grants("refresh_token");
    let printed = person.run(&["token", "--output", "json"]).ok();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["expires_at"].as_i64().unwrap(), kept()["expires_at"].as_i64().unwrap() * 1000);
    assert_eq!(issuer.grants("refresh_token"), asked);
}

#[test]
fn a_login_that_has_ended_says_what_to_do() {
    let issuer = Issuer::start();
    issuer.set_lifetime(40);
    let gateway = before(&issuer).start();
    let person = Person::new(&gateway);
    person.log_in(&issuer, "carol").ok();
    let file = person.kept().join("login.json");
    let used = std::fs::read(&file).unwrap();
    person.token();
    // As if somebody had taken a copy: that refresh token has been used.
    std::fs::write(&file, used).unwrap();
    let ended = person.run(&["token"]).failed();
    assert!(ended.contains("has ended: log in again with `sluicegate login"), "{ended}");
    person.log_in(&issuer, "carol").ok();
    assert_eq!(select(&person), "app");
    let kept = std::fs::read(&file).unwrap();
    let out = person.run(&["logout"]);
    assert!(!out.stderr.contains("still knows"), "{}", out.stderr);
    out.ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "{}");
    // As if somebody had kept a copy: the issuer has forgotten it.
    std::fs::write(&file, kept).unwrap();
    assert!(person.run(&["token"]).failed().contains("has ended"));
    std::fs::write(&file, "{}").unwrap();
    assert!(person.run(&["token"]).failed().contains("no login yet"));
}

#[test]
fn a_login_that_was_made_for_somebody_else_is_refused() {
    let issuer = Issuer::start();
    let gateway = before(&issuer).start();
    let person = Person::new(&gateway);
    let refused = person.log_in_changed(&issuer, "carol", &json!({ "nonce": "another-login" })).failed();
    assert!(refused.contains("for another login"), "{refused}");
    let refused = person.log_in_changed(&issuer, "carol", &json!({ "code_challenge": "x".repeat(43) })).failed();
    assert!(refused.contains("error"), "{refused}");
    let (login, address) = person.begin(&[]);
    issuer.browse(&address, "carol", &json!({}), &json!({ "iss": "https://id.example.com" }));
    let refused = login.finish(LIMIT).failed();
    assert!(refused.contains("another issuer's answer"), "{refused}");
    assert!(!person.kept().join("login.json").exists());
    // Whoever does not know the `state` has no say, and the login goes on.
    let (mut login, address) = person.begin(&[]);
    let seen = issuer.browse(&address, "mallory", &json!({}), &json!({ "state": "guess" }));
    assert_eq!(seen["status"], 400, "{seen}");
    assert!(login.is_running());
    issuer.browse(&address, "carol", &json!({}), &json!({}));
    assert!(login.finish(LIMIT).stderr.contains("as carol@example.com"));
}

/// The local port's password, and a way to it.
fn local(person: &Person, more: &[&str]) -> (Running, Endpoint) {
    let mut command: Command = person.command(&["connect", TARGET]);
    command.args(more);
    let mut open = Running::start(command, "");
    let mut usage = String::new();
    eventually("the local port is open", Duration::from_secs(20), || {
        usage = open.output();
        usage.ends_with("\n\n")
    });
    let words: Vec<_> = usage.split_whitespace().collect();
    let password = words.iter().find_map(|word| word.strip_prefix("PGPASSWORD=")).expect("it prints the password");
    let port = words[words.iter().position(|word| *word == "-p").unwrap() + 1].parse().unwrap();
    let endpoint = Endpoint::new(port, "whoever", password, TARGET);
    (open, endpoint)
}

#[test]
fn a_local_port_leads_to_the_target_for_whoever_knows_its_password() {
    let (_issuer, gateway, person) = carol();
    let (open, local_port) = local(&person, &[]);
    assert_eq!(local_port.psql("SELECT current_user").ok().trim(), "app");
    let wrong = Endpoint { password: "guess".to_owned(), ..local_port.clone() };
    let refused = wrong.psql("SELECT 1").failed();
    assert!(refused.contains("the password is not that of this local port"), "{refused}");
    let elsewhere = Endpoint { database: "stock".to_owned(), ..local_port.clone() };
    assert!(elsewhere.psql("SELECT 1").failed().contains("this port leads to the target"));
    let log = gateway.log();
    assert!(!log.contains("guess"), "{log}");
    // A CancelRequest finds its way, too.
    let slow = local_port.psql_start("SELECT pg_sleep(60)");
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
    eventually("it sleeps", Duration::from_secs(20), || local_port.psql(sleeps).ok().trim() == "1");
    slow.signal("INT");
    let cancelled = slow.finish(Duration::from_secs(20)).stderr;
    assert!(cancelled.contains("57014"), "{cancelled}");
    // The next time it is where it was.
    drop(open);
    let (_open, again) = local(&person, &[]);
    assert_eq!((again.port, &again.password), (local_port.port, &local_port.password));
    assert_eq!(again.psql("SELECT 1").ok().trim(), "1");
    assert_eq!(mode(&person.kept().join("ports.json")), 0o600);
}

#[test]
fn another_user_of_the_machine_is_refused_at_a_local_port_whatever_they_know() {
    let another = Owner::of_server();
    if !another.is_another() {
        // Only root may become somebody else.
        return;
    }
    let (_issuer, _gateway, person) = carol();
    let (_open, local_port) = local(&person, &[]);
    let own = local_port.command("psql");
    let mut command = another.command(Path::new(own.get_program()));
    command.args(["-Xc", "SELECT 1"]).envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let refused = run(command, "", LIMIT).failed();
    assert!(refused.contains("this port serves only the user"), "{refused}");
    assert_eq!(local_port.psql("SELECT 1").ok().trim(), "1");
}

#[test]
fn each_connection_of_a_local_port_has_a_token_that_is_valid_then() {
    let issuer = Issuer::start();
    issuer.set_lifetime(61);
    let gateway = before(&issuer).start();
    let person = Person::new(&gateway);
    person.log_in(&issuer, "carol").ok();
    let (_open, local_port) = local(&person, &[]);
    let before = issuer.grants("refresh_token");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(local_port.psql("SELECT 1").ok().trim(), "1");
    assert!(issuer.grants("refresh_token") > before);
    person.run(&["logout"]).ok();
    let refused = local_port.psql("SELECT 1").failed();
    assert!(refused.contains("log in with `sluicegate login"), "{refused}");
}

#[test]
fn the_gateways_certificate_is_verified_on_every_way() {
    let issuer = Issuer::start();
    let authority = Authority::new();
    let gateway = before(&issuer).tls(authority.issue("127.0.0.1")).start();
    let person = Person::trusting(&gateway, authority.pem());
    person.log_in(&issuer, "carol").ok();
    // The login remembers the authority.
    assert_eq!(select(&person), "app");
    let (_open, local_port) = local(&person, &[]);
    assert_eq!(local_port.psql("SELECT 1").ok().trim(), "1");
    std::fs::write(person.kept().join("../../ca.pem"), Authority::new().pem()).unwrap();
    let refused = person.run(&["connect", TARGET, "--", "psql", "-Xc", "SELECT 1"]).failed();
    assert!(refused.contains("secure connection"), "{refused}");
}

#[test]
fn the_api_takes_an_issuers_token_as_it_is() {
    let (issuer, gateway, person) = carol();
    let api = gateway.api().bearer(&person.token());
    assert_eq!(api.get("/api/v1/whoami").json()["user"], "carol@example.com");
    let target = json!({ "name": TARGET, "protocol": "postgres", "port": gateway.port() });
    assert_eq!(api.get("/api/v1/targets").json(), json!({ "items": [target], "next": null }));
    assert!(api.post("/api/v1/tokens", &Value::Null).problem(400).contains("Bearer"));
    let basic = gateway.api().basic_with("carol@example.com", &person.token());
    assert!(basic.post("/api/v1/tokens", &Value::Null).problem(400).contains("Bearer"));
    let login = gateway.api().get("/api/v1/login").json();
    assert_eq!(login["items"][0]["issuer"], issuer.url());
    assert_eq!(login["items"][0]["scopes"], json!(["openid", "profile", "email", "offline_access"]));
    let forged = issuer.sign(&json!({}), &json!({ "email": "carol@example.com", "email_verified": true }), "stranger");
    assert!(gateway.api().bearer(&forged).get("/api/v1/whoami").problem(401).contains("not valid"));
    let mut id = String::new();
    eventually("the failed login is in the record", Duration::from_secs(20), || {
        let sessions = gateway.socket().get("/api/v1/sessions").json()["items"].clone();
        let refused = sessions.as_array().unwrap().iter().find(|item| item["protocol"] == "api").cloned();
        refused.inspect(|refused| refused["id"].as_str().unwrap().clone_into(&mut id)).is_some()
    });
    let record = gateway.socket().get(&format!("/api/v1/sessions/{id}/export")).ok_text();
    assert!(record.contains("its signature is not its issuer's") && !record.contains(&forged), "{record}");
}

#[test]
fn an_issuer_of_machines_is_no_place_to_log_in() {
    let issuer = Issuer::start();
    let machines = issuer.lines("login = false\n");
    let gateway = Gateway::before(&Postgres::shared().database()).table("[identity.oidc]", &machines).admin().start();
    assert_eq!(gateway.api().get("/api/v1/login").json(), json!({ "items": [] }));
    let person = Person::new(&gateway);
    assert!(person.run(&["login", "--url", person.url()]).failed().contains("do not log in at this gateway"));
    let wrong = issuer.lines("scopes = [\"email\"]\n");
    let refused = Gateway::before(&Postgres::shared().database()).table("[identity.oidc]", &wrong).refused();
    assert!(refused.contains("`openid` is one of them"), "{refused}");
}
