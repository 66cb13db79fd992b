//! The administration API against its own description: schemathesis makes requests up, good and bad ones,
//! and every answer has to be one that `/openapi.json` promises.

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::Value;
use sluicegate_tests::{
    Gateway, Postgres,
    programs::run,
    users,
    wire::{Wire, zero_ended},
};

/// How long requests of an admin are made up.
const ADMIN_SECONDS: u32 = 50;

/// And those of somebody who approves and is no admin.
const APPROVER_SECONDS: u32 = 12;

#[test]
fn the_api_answers_whatever_is_asked_as_it_says() {
    let database = Postgres::shared().database();
    let gateway = Gateway::before(&database)
        .admin()
        .policy("hold-for-approval", r#"when = { kinds = ["delete"] }, approvers = ["group:admin", "group:dba"]"#)
        .policy("sql-guard", r#"deny = ["drop"]"#)
        .start();
    // Something to be found, some of it waiting.
    gateway.alice().psql_on("SELECT id FROM orders;\nDROP TABLE orders;\n");
    gateway.endpoint("bob").psql("SELECT 1").failed();
    let waiting: Vec<_> = (1..4)
        .map(|row| {
            let (mut wire, _) = Wire::login(&gateway.alice());
            wire.send('Q', &zero_ended(&format!("DELETE FROM orders WHERE id = {row}")));
            wire.read_until("N");
            wire
        })
        .collect();
    let admin = format!("--auth=admin:{}", users::secret("admin"));
    // Not with wrong secrets for the admin: after a few of them the right one waits too (429).
    fuzz(&gateway, &[&admin, "--exclude-checks=ignored_auth"], ADMIN_SECONDS, 200);
    // Who only answers approvals is refused at many doors, and must not end their own token.
    let given = gateway.api().basic("dave").post("/api/v1/tokens", &Value::Null).json_of(201);
    let bearer = format!("--header=Authorization: Bearer {}", given["token"].as_str().expect("a token"));
    let own = ["--exclude-operation-id=revokeToken", "--exclude-checks=ignored_auth"];
    fuzz(&gateway, &[&bearer, own[0], own[1]], APPROVER_SECONDS, 50);
    nobody_is_let_in_by_a_token_that_is_nobodys(&gateway);
    gateway.api().bearer(given["token"].as_str().expect("a token")).get("/api/v1/approvals").json();
    drop(waiting);
    // And the gateway is well.
    gateway.api().basic("admin").get("/api/v1/sessions").json();
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// At no door: what schemathesis looks for as `ignored_auth`, without the wrong passwords that have it wait.
fn nobody_is_let_in_by_a_token_that_is_nobodys(gateway: &Gateway) {
    let api = gateway.api().bearer("nobodys");
    let described = gateway.api().basic("admin").get("/openapi.json").json();
    let mut asked = 0;
    for (path, operations) in described["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", "00000000-0000-0000-0000-000000000009");
        for (method, operation) in operations.as_object().expect("operations") {
            if operation["security"] != serde_json::json!([{}]) {
                let answer = api.call(&method.to_uppercase(), &path, &[], "".into());
                assert_eq!(answer.status.as_u16(), 401, "{method} {path}");
                asked += 1;
            }
        }
    }
    assert!(asked > 15, "{asked}");
}

/// Makes requests up for so many seconds, as whoever the arguments say, and at least so many.
fn fuzz(gateway: &Gateway, who: &[&str], seconds: u32, least: u32) {
    let mut fuzz = Command::new(schemathesis());
    let origin = format!("http://127.0.0.1:{}", gateway.api().port());
    fuzz.args(["run", &format!("{origin}/openapi.json"), "--checks", "all", "--workers", "2", "--seed", "1"]);
    fuzz.args(who).args(["--max-time", &seconds.to_string(), "--request-timeout", "20", "--no-color"]);
    fuzz.current_dir(gateway.folder());
    let run = run(fuzz, "", Duration::from_secs(u64::from(seconds) * 3));
    println!("{}", run.stdout);
    assert!(run.status.success(), "schemathesis found:\n{}\n{}", run.stdout, run.stderr);
    let count = run.stdout.lines().find_map(|line| line.trim().split_once(" generated"));
    let count: u32 = count.and_then(|(count, _)| count.parse().ok()).unwrap_or_default();
    assert!(count > least, "it hardly asked anything: {}", run.stdout);
}

/// Where `just test` installs it.
fn schemathesis() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home folder")).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let program = cache.join("sluicegate-schemathesis/bin/schemathesis");
    assert!(program.is_file(), "{} is missing; run the tests by `just test`, which installs it", program.display());
    program
}
