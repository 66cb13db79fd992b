//! The record can be proven: exports are verified where there is nothing but the public key, whatever is
//! changed in them is found, and what the command line shows is what happened.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sluicegate_tests::{
    Gateway,
    programs::{Run, Running, eventually, run, sluicegate_program},
    wire::errors_of,
};

use crate::{
    database,
    held::{DELETE, SOON, approve, dave, holding, login, orders, psql, query_held, said, waiting_id},
    open,
    record::newest,
};

/// `sluicegate sessions verify` in a folder that has an export and a public key, and nothing else: no
/// configuration, no data folder, no gateway.
pub fn verify(folder: &Path, export: &str) -> Run {
    let mut command = Command::new(sluicegate_program());
    command.args(["sessions", "verify", export, "--key", "record.pub", "--output", "json"]);
    command.env_clear().current_dir(folder);
    run(command, "", Duration::from_secs(30))
}

/// What `verify` printed.
pub fn verdict(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {run:?}"))
}

/// A folder with the gateway's public key alone.
pub fn another_machine(gateway: &Gateway) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(gateway.folder().join("data/record.pub"), folder.path().join("record.pub"))
        .expect("there is a public key");
    folder
}

/// Exports a session to `export.jsonl` in a folder.
fn export(gateway: &Gateway, session: &str, folder: &Path) {
    let out = folder.join("export.jsonl");
    gateway.sluicegate(&["sessions", "export", session, "-o", out.to_str().expect("a path of text")]).ok();
}

/// A session with everything in it: reads, a hold that was approved, one that was denied, an error.
fn eventful() -> (Gateway, String) {
    let (database, gateway) = holding();
    let script = format!("SELECT id, name FROM customers;\n{DELETE};\nDELETE FROM orders WHERE id = 8;\nSELECT 1/0;\n");
    let alice = psql(&gateway, &script);
    let first = waiting_id(&gateway);
    approve(&gateway, &first);
    eventually("the second is held", SOON, || gateway.socket().pending().iter().any(|held| held["id"] != json!(first)));
    dave(&gateway).answer(&waiting_id(&gateway), false, "not this one").json();
    said(alice);
    assert_eq!(orders(&database), 29);
    let session = newest(&gateway, 1)["summary"]["id"].as_str().expect("an id").to_owned();
    (gateway, session)
}

#[test]
fn a_session_is_verified_where_there_is_only_the_public_key() {
    let (mut gateway, session) = eventful();
    let elsewhere = another_machine(&gateway);
    export(&gateway, &session, elsewhere.path());
    let shown = gateway.json(&["sessions", "show", &session]);
    let verified = verify(elsewhere.path(), "export.jsonl");
    assert!(verified.status.success(), "{verified:?}");
    let proof = verdict(&verified);
    assert_eq!(
        (&proof["proven"], &proof["complete"], &proof["session"]),
        (&json!(true), &json!(true), &json!(session))
    );
    assert_eq!(proof["entries"].as_u64(), shown["entries"].as_array().map(|entries| entries.len() as u64));
    // The same bytes by the API, and by the store while no gateway runs.
    let exported = fs::read_to_string(elsewhere.path().join("export.jsonl")).expect("an export");
    let admin = gateway.api().basic("admin");
    assert_eq!(admin.get(&format!("/api/v1/sessions/{session}/export")).text(), exported);
    let public = fs::read_to_string(elsewhere.path().join("record.pub")).expect("a key");
    assert_eq!(admin.get("/api/v1/record/key").text(), public);
    assert_eq!(gateway.sluicegate(&["sessions", "key"]).ok(), public);
    for name in ["dave", "alice"] {
        gateway.api().basic(name).get(&format!("/api/v1/sessions/{session}/export")).problem(403);
    }
    assert!(gateway.stop(SOON));
    assert_eq!(gateway.sluicegate(&["sessions", "export", &session]).ok(), exported);
    assert_eq!(gateway.sluicegate(&["sessions", "key"]).ok(), public);
    // What people read in the export is what happened.
    for part in [DELETE, "dave", "not this one", "22012", "hold-for-approval"] {
        assert!(exported.contains(part), "{part} is not in the export");
    }
    let key = fs::metadata(gateway.folder().join("data/record.key")).expect("a key");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

#[test]
fn whatever_is_changed_in_an_export_is_found() {
    let (gateway, session) = eventful();
    let elsewhere = another_machine(&gateway);
    export(&gateway, &session, elsewhere.path());
    let good = fs::read(elsewhere.path().join("export.jsonl")).expect("an export");
    let broken = |name: &str, bytes: &[u8]| {
        fs::write(elsewhere.path().join(name), bytes).expect("our own folder");
        let run = verify(elsewhere.path(), name);
        assert_eq!(run.status.code(), Some(1), "{name}: {run:?}");
        let said = verdict(&run);
        assert_eq!(said["proven"], false, "{name}: {said}");
        said
    };
    // Every byte is tried where the recorder's own tests read the export; here some go the whole way.
    for at in (0..good.len()).step_by((good.len() / 120).max(1)) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        broken("changed", &changed);
    }
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    for number in 1..lines.len() - 1 {
        let mut without = lines.clone();
        without.remove(number);
        broken("missing", &without.concat());
    }
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    broken("swapped", &swapped.concat());
    let mut twice = lines.clone();
    twice.insert(3, lines[3]);
    broken("twice", &twice.concat());
    broken("nothing", b"");
    broken("half a line", &good[..good.len() - 10]);
    let edited = String::from_utf8(good.clone()).expect("text").replacen("alice", "mallo", 1);
    let said = broken("edited", edited.as_bytes());
    assert_eq!((&said["entry"], &said["line"]), (&json!(0), &json!(2)), "it says where: {said}");
    // Another gateway's key proves nothing.
    let (_, other) = open();
    other.alice().psql("SELECT 1").ok();
    fs::copy(other.folder().join("data/record.pub"), elsewhere.path().join("record.pub")).expect("there is a key");
    assert_eq!(verify(elsewhere.path(), "export.jsonl").status.code(), Some(1));
}

#[test]
fn an_open_session_is_proven_up_to_now() {
    let (_database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    wire.query("SELECT 'so far'");
    let held = query_held(&mut wire, DELETE);
    let elsewhere = another_machine(&gateway);
    let list = gateway.json(&["sessions", "list"]);
    let session = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let mut last = Value::Null;
    eventually("the hold is proven", SOON, || {
        export(&gateway, &session, elsewhere.path());
        let run = verify(elsewhere.path(), "export.jsonl");
        assert_eq!(run.status.code(), Some(3), "{run:?}");
        last = verdict(&run);
        fs::read_to_string(elsewhere.path().join("export.jsonl")).expect("an export").contains(&held)
    });
    assert_eq!((&last["proven"], &last["complete"]), (&json!(true), &json!(false)));
}

#[test]
fn sessions_are_found_by_what_came_of_them() {
    let database = database();
    let gateway = Gateway::before(&database)
        .admin()
        .policy("hold-for-approval", crate::held::DELETES)
        .policy("pii-mask", r#"columns = ["*.ssn"]"#)
        .policy("sql-guard", r#"deny = ["drop"]"#)
        .start();
    let run = |user: &str, sql: &str, count: usize| {
        let psql = crate::held::psql_as(&gateway, user, sql);
        if sql.starts_with("DELETE") {
            approve(&gateway, &waiting_id(&gateway));
        }
        psql.finish(SOON);
        newest(&gateway, count)["summary"]["id"].as_str().expect("an id").to_owned()
    };
    let allowed = run("alice", "SELECT count(*) FROM orders;\n", 1);
    let masked = run("alice", "SELECT ssn FROM customers;\n", 2);
    let denied = run("admin", "DROP TABLE orders;\n", 3);
    let held = run("alice", &format!("{DELETE};\n"), 4);
    let refused = run("bob", "SELECT 1;\n", 5);
    let ids = |args: &[&str]| -> Vec<String> {
        let list = gateway.json(&[&["sessions", "list"], args].concat());
        let items = list["items"].as_array().expect("items").clone();
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    let [allowed, masked, denied, held, refused] = [&allowed, &masked, &denied, &held, &refused];
    for (word, id) in
        [("allowed", allowed), ("masked", masked), ("denied", denied), ("held", held), ("refused", refused)]
    {
        assert_eq!(ids(&["--verdict", word]), [id.as_str()], "{word}");
    }
    assert_eq!(ids(&["--table", "customers"]), [masked.as_str()]);
    assert_eq!(ids(&["--table", "public.orders"]), [held.as_str(), denied.as_str(), allowed.as_str()]);
    assert_eq!(ids(&["--user", "admin"]), [denied.as_str()]);
    assert_eq!(ids(&["--limit", "2"]), [refused.as_str(), held.as_str()]);
    assert_eq!(ids(&["--before", held]), [denied.as_str(), masked.as_str(), allowed.as_str()]);
    assert_eq!(ids(&["--since", "1h"]).len(), 5);
    assert!(ids(&["--until", "1h"]).is_empty() && ids(&["--target", "nowhere"]).is_empty());
    // A client's own mind, or its timeout, is no denial.
    let (mut wire, _) = login(&gateway);
    wire.query("SET statement_timeout = '300ms'");
    assert_eq!(errors_of(&wire.query(DELETE)), ["57014"]);
    wire.query("SET statement_timeout = 0");
    query_held(&mut wire, DELETE);
    drop(wire);
    let given_up = newest(&gateway, 6)["summary"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(ids(&["--verdict", "held"]), [given_up.as_str(), held]);
    assert_eq!(ids(&["--verdict", "denied"]), [denied.as_str()]);
}

#[test]
fn a_replay_shows_the_session_at_its_own_pace() {
    let (gateway, session) = eventful();
    let started = Instant::now();
    let fast = gateway.sluicegate(&["sessions", "replay", &session, "--speed", "1000"]).ok();
    let took = started.elapsed();
    for part in ["SELECT id, name FROM customers", "Ada Lovelace", DELETE, "dave", "not this one"] {
        assert!(fast.contains(part), "{part} is not replayed: {fast}");
    }
    let order: Vec<_> = ["Ada Lovelace", DELETE, "not this one"].iter().map(|part| fast.find(part)).collect();
    assert!(order.is_sorted(), "{fast}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_replay_keeps_pauses_as_long_as_they_were_or_as_much_shorter_as_it_is_faster() {
    let (_database, gateway) = open();
    let (mut wire, _) = login(&gateway);
    wire.query("SELECT 'before'");
    std::thread::sleep(Duration::from_millis(1500));
    wire.query("SELECT 'after'");
    drop(wire);
    let session = newest(&gateway, 1)["summary"]["id"].as_str().expect("an id").to_owned();
    let replay = |speed: &str| {
        let started = Instant::now();
        let shown = gateway.sluicegate(&["sessions", "replay", &session, "--speed", speed]).ok();
        assert!(shown.contains("SELECT 'after'"), "{shown}");
        started.elapsed()
    };
    let (own, faster) = (replay("1"), replay("4"));
    assert!(own >= Duration::from_millis(1450), "its own pace took {own:?}");
    assert!(faster >= Duration::from_millis(360), "four times that took {faster:?}");
    assert!(faster + Duration::from_millis(500) < own, "{faster:?} is not much faster than {own:?}");
}

#[test]
fn following_shows_a_session_while_it_happens() {
    let (_database, gateway) = open();
    let mut follow = Running::start(gateway.command(&["sessions", "follow"]), "");
    std::thread::sleep(Duration::from_secs(1));
    let (mut wire, _) = login(&gateway);
    wire.query("SELECT 'followed'");
    eventually("it is shown", SOON, || follow.output().contains("followed"));
    wire.query("SELECT 'and so on'");
    eventually("it goes on", SOON, || follow.output().contains("and so on"));
    follow.signal("INT");
    follow.finish(SOON).ok();
}

/// What a mask hides from a client is not in the results that the record keeps.
#[test]
fn results_are_kept_as_the_client_saw_them_and_no_larger_than_configured() {
    use sluicegate_tests::seed::SSN_PART;
    let database = database();
    let gateway = Gateway::before(&database)
        .policy("pii-mask", r#"columns = ["*.ssn"], except = ["admin"]"#)
        .table("record", "output = \"1KiB\"")
        .start();
    for (count, user) in (1..).zip(["alice", "admin"]) {
        gateway
            .endpoint(user)
            .psql(
                "SELECT name, ssn FROM customers ORDER BY id;\nSELECT name FROM customers, generate_series(1, 500);\n",
            )
            .ok();
        let session = newest(&gateway, count);
        let outcomes: Vec<_> =
            session["entries"].as_array().expect("entries").iter().filter_map(|e| e["event"].get("outcome")).collect();
        let kept = outcomes[0]["output"][0].clone();
        assert_eq!(kept["columns"], json!(["name", "ssn"]));
        assert_eq!(kept["rows"][0][0], "Ada Lovelace");
        assert!(!session.to_string().contains(SSN_PART), "{user}: {session}");
        if user == "admin" {
            continue;
        }
        let long = outcomes[1]["output"].to_string();
        assert!(
            long.len() < 2000 && long.contains("Blaise Pascal") && outcomes[1]["output"][0]["cut"] == true,
            "{long}"
        );
    }
}

/// The oldest sessions go where a target's record grows too large; those that stay can still be proven.
#[test]
fn a_record_that_grows_too_large_loses_its_oldest_sessions() {
    let database = database();
    let mut gateway =
        Gateway::before(&database).target_lines("retention = { size = \"1GiB\" }").target("kept", &database).start();
    let kept = sluicegate_tests::Endpoint { database: "kept".to_owned(), ..gateway.alice() };
    kept.psql("SELECT 'stays'").ok();
    gateway.alice().psql("SELECT 'goes'").ok();
    let noise = |seed: u64| -> String {
        let texts = (0..60).map(|n| format!("SELECT {n}, length('{}');\n", crate::operations::noise(seed * 1000 + n)));
        texts.collect()
    };
    for seed in 0..16 {
        gateway.alice().psql(&noise(seed)).ok();
    }
    let of_target = |gateway: &Gateway, target: &str| -> Vec<String> {
        let list = gateway.json(&["sessions", "list", "--limit", "1000", "--target", target]);
        let items = list["items"].as_array().expect("items").clone();
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    eventually("all are recorded", SOON, || of_target(&gateway, "orders").len() == 17);
    let before = of_target(&gateway, "orders");
    gateway.configure(gateway.config().replace("1GiB", "1MiB"));
    // A command's noise is 2000 bytes written as 4000; what is recorded beside it takes less than 1000.
    let (least, most, limit) = (60 * 2000, 60 * 5000, 1 << 20);
    eventually("the oldest are gone", SOON, || of_target(&gateway, "orders").len() * least <= limit);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(of_target(&gateway, "kept").len(), 1, "another target keeps what it has");
    let left = of_target(&gateway, "orders");
    assert!((left.len() + 1) * most > limit, "only {} sessions are left", left.len());
    assert_eq!(left, before[..left.len()], "the newest are");
    let elsewhere = another_machine(&gateway);
    export(&gateway, left.last().expect("the oldest that is left"), elsewhere.path());
    assert!(verify(elsewhere.path(), "export.jsonl").status.success());
}
