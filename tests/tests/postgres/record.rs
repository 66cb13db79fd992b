//! The record: what happened is there to be listed and shown, and nothing that a mask hides is in it.

use std::time::Duration;

use serde_json::Value;
use sluicegate_tests::{
    Endpoint, Gateway,
    gateway::TARGET,
    programs::eventually,
    seed::{SSN, SSN_PART},
    users,
};

use crate::{database, guarded, masking_ssn, open};

/// The newest session with all its entries, as `sessions show` has it, once `count` sessions are
/// listed and that one is over: entries are on their way for a moment after a client has ended.
pub fn newest(gateway: &Gateway, count: usize) -> Value {
    let mut newest = Value::Null;
    eventually(&format!("session {count} is recorded to its end"), Duration::from_secs(10), || {
        let list = gateway.json(&["sessions", "list"]);
        let items = list["items"].as_array().expect("items");
        let Some(item) = items.first().filter(|_| items.len() == count) else { return false };
        newest = gateway.json(&["sessions", "show", item["id"].as_str().expect("an id")]);
        !item["closed_at"].is_null() || !item["refused"].is_null()
    });
    newest
}

#[test]
fn a_session_is_recorded_from_end_to_end() {
    let database = database();
    let gateway = Gateway::before(&database).policy("sql-guard", r#"deny = ["drop"]"#).start();
    gateway.alice().psql_on("SELECT id FROM orders WHERE id < 4;\nDROP TABLE orders;\nSELECT 1/0;\n");
    let session = newest(&gateway, 1);
    let summary = &session["summary"];
    assert_eq!((&summary["user"], &summary["target"]), (&Value::from("alice"), &Value::from(TARGET)));
    assert_eq!(
        (&summary["commands"], &summary["denied"], &summary["rows"]),
        (&Value::from(3), &Value::from(1), &Value::from(3))
    );
    assert!(summary["opened_at"].as_i64().unwrap() <= summary["closed_at"].as_i64().unwrap());
    let text = session["entries"].to_string();
    for part in [
        "SELECT id FROM orders WHERE id < ",
        "DROP TABLE orders",
        "SELECT 3",
        "22012",
        "sql-guard",
        "psql",
        "engineering",
    ] {
        assert!(text.contains(part), "{part} is not recorded: {text}");
    }
    let commands = session["entries"].as_array().expect("entries").iter().map(|entry| &entry["event"]["command"]);
    let denied: Vec<&Value> = commands.filter(|command| !command["denial"].is_null()).collect();
    let [denied] = denied[..] else { panic!("one command is denied: {text}") };
    let opinion = &denied["opinions"][0];
    let digest = opinion["digest"].as_str().unwrap_or_default();
    assert!(digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()), "no policy's digest: {opinion}");
    let status = gateway.json(&["policy", "status"]).to_string();
    assert!(opinion["policy"] == "sql-guard" && status.contains(digest), "{opinion} is not of the policy in {status}");
}

#[test]
fn literals_and_parameters_that_a_mask_could_hide_are_not_recorded() {
    let (_database, gateway) = masking_ssn();
    let script = format!(
        "SELECT name FROM customers WHERE ssn = '{SSN}';\nSELECT ssn FROM customers;\nSELECT '{SSN}' FROM nowhere;\n"
    );
    gateway.alice().psql_on(&script);
    let text = newest(&gateway, 1).to_string();
    assert!(!text.contains(SSN_PART), "{text}");
    assert!(text.contains("ssn = ?") && text.contains("\"masked\":2"), "{text}");
    assert!(!gateway.log().contains(SSN_PART));
    let files = std::process::Command::new("grep")
        .args(["-r", "-l", "-a", SSN_PART, "data"])
        .current_dir(gateway.folder())
        .output()
        .unwrap();
    assert!(files.stdout.is_empty(), "the store holds it: {}", String::from_utf8_lossy(&files.stdout));
}

/// A policy that guards statements hides nothing, whether it looks at results or not.
#[test]
fn without_a_policy_that_masks_literals_are_recorded_and_error_texts_stay_whole() {
    let read = format!("SELECT name FROM customers WHERE ssn = '{SSN}'");
    for settings in [r#"deny = ["drop"]"#, r#"deny = ["drop"], max_rows = 100"#] {
        let (_database, gateway) = guarded(settings);
        let said = gateway.alice().psql_on(&format!(
            "{read};\nSELECT ssn::int FROM customers WHERE id = 1;\nSELECT complain('of much');\nDROP TABLE orders;\n"
        ));
        assert_eq!(said.stdout.trim(), "Ada Lovelace", "{settings}");
        for text in [
            &format!("invalid input syntax for type integer: \"{SSN}\""),
            "NOTICE:  00000: it is of much",
            "it was of much",
            "DETAIL:  of much",
            "PL/pgSQL function complain(text) line 1 at RAISE",
            "42501",
        ] {
            assert!(said.stderr.contains(text), "{settings}: {text:?} is not in {}", said.stderr);
        }
        let text = newest(&gateway, 1).to_string();
        assert!(text.contains(&read) && !text.contains("ssn = ?"), "{settings}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_recorded_only_where_nothing_is_masked() {
    for (gateway, recorded) in [(masking_ssn().1, false), (open().1, true)] {
        let session = gateway.alice().connect().await;
        session.client.query("SELECT name FROM customers WHERE ssn = $1", &[&SSN]).await.unwrap();
        drop(session);
        let text = newest(&gateway, 1).to_string();
        assert_eq!(text.contains(SSN), recorded, "{text}");
        assert!(text.contains("\"parameters\":1"), "{text}");
    }
}

#[test]
fn who_was_not_let_in_is_recorded_with_the_true_reason() {
    let (_database, gateway) = open();
    let attempts = [
        (gateway.endpoint("bob"), "allow"),
        (Endpoint { password: "a wrong guess".to_owned(), ..gateway.alice() }, "secret"),
        (Endpoint { database: "nowhere".to_owned(), ..gateway.alice() }, "no such target"),
    ];
    for (count, (endpoint, reason)) in (1..).zip(attempts) {
        endpoint.psql("SELECT 1").failed();
        let session = newest(&gateway, count);
        let refused = session["summary"]["refused"].as_str().unwrap_or_default();
        assert!(refused.contains(reason), "{refused:?} does not say {reason:?}");
        assert!(!session.to_string().contains("a wrong guess") && !session.to_string().contains(users::secret("bob")));
    }
}

#[test]
fn sessions_are_listed_newest_first_and_filtered() {
    let (_database, gateway) = open();
    for (count, user) in (1..).zip(["alice", "admin", "alice", "ci-migrate"]) {
        gateway.endpoint(user).psql("SELECT 1").ok();
        newest(&gateway, count);
    }
    let users = |arguments: &[&str]| {
        let list = gateway.json(&[&["sessions", "list"], arguments].concat());
        let items = list["items"].as_array().expect("items").clone();
        items.iter().map(|item| item["user"].as_str().expect("a user").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(users(&[]), ["ci-migrate", "alice", "admin", "alice"]);
    assert_eq!(users(&["--user", "alice"]), ["alice", "alice"]);
    assert_eq!(users(&["--limit", "2"]), ["ci-migrate", "alice"]);
    assert!(users(&["--target", "nowhere"]).is_empty());
    let table = gateway.sluicegate(&["sessions", "list"]).ok();
    assert!(table.contains("ci-migrate") && table.contains(TARGET), "{table}");
}

#[test]
fn the_record_is_read_when_no_gateway_runs() {
    let (_database, mut gateway) = open();
    gateway.alice().psql("SELECT 'before the end'").ok();
    let while_running = newest(&gateway, 1);
    assert!(gateway.stop(Duration::from_secs(20)));
    assert_eq!(newest(&gateway, 1), while_running);
}

#[test]
fn a_session_that_is_still_open_can_be_shown() {
    let (_database, gateway) = open();
    let (mut wire, _) = sluicegate_tests::wire::Wire::login(&gateway.alice());
    wire.query("SELECT 'so far'");
    eventually("the open session is listed", Duration::from_secs(10), || {
        let list = gateway.json(&["sessions", "list"]);
        let Some(id) = list["items"][0]["id"].as_str().map(str::to_owned) else { return false };
        let session = gateway.json(&["sessions", "show", &id]);
        session["summary"]["closed_at"].is_null() && session["entries"].to_string().contains("so far")
    });
}

#[test]
fn strict_recording_has_each_command_on_disk_before_the_client_hears_of_its_end() {
    let database = database();
    let mut gateway = Gateway::before(&database).top("recording = \"strict\"").start();
    let (mut wire, _) = sluicegate_tests::wire::Wire::login(&gateway.alice());
    wire.query("SELECT 'acknowledged'");
    // As a crash would end it.
    let killed = std::process::Command::new("kill").args(["-KILL", &gateway.id().to_string()]).status().unwrap();
    assert!(killed.success());
    eventually("the gateway is gone", Duration::from_secs(10), || !gateway.is_running());
    let list = gateway.json(&["sessions", "list"]);
    let id = list["items"][0]["id"].as_str().expect("the session is recorded");
    let text = gateway.json(&["sessions", "show", id]).to_string();
    assert!(text.contains("acknowledged") && text.contains("SELECT 1"), "{text}");
}

#[test]
fn the_data_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_database, gateway) = open();
    gateway.alice().psql("SELECT 1").ok();
    let mode = |path: &str| std::fs::metadata(gateway.folder().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode("data/admin.sock"), 0o600);
}
