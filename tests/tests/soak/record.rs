//! Every session of the soak, proven by its record with the public key alone.

use std::{
    fs,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use sluicegate_tests::{
    Api, Gateway,
    programs::{eventually, run, sluicegate_program},
};

/// How many sessions are verified at the same time.
const AT_ONCE: usize = 4;

/// The sessions that are not proven from their first entry to their last.
pub fn unproven(gateway: &Gateway) -> Vec<String> {
    let owner = gateway.socket();
    let is_open = |session: &Value| session["closed_at"].is_null();
    eventually("every session has ended", Duration::from_secs(60), || !sessions(&owner).iter().any(is_open));
    let sessions = sessions(&owner);
    println!("soak: verifying {} sessions", sessions.len());
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(gateway.folder().join("data/record.pub"), folder.path().join("record.pub")).expect("a public key");
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(session) = sessions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let id = session["id"].as_str().expect("an id");
                    let file = format!("{id}.jsonl");
                    fs::write(folder.path().join(&file), owner.get(&format!("/api/v1/sessions/{id}/export")).body)
                        .expect("our own folder");
                    let mut command = Command::new(sluicegate_program());
                    command.args(["sessions", "verify", &file, "--key", "record.pub"]).current_dir(folder.path());
                    let verified = run(command, "", Duration::from_secs(60));
                    if !verified.status.success() {
                        failures.lock().expect("nobody panics with it").push(format!("session {id}: {verified:?}"));
                    }
                    fs::remove_file(folder.path().join(&file)).expect("our own file");
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("nobody panicked with it");
    println!("soak: {} of {} sessions are proven", sessions.len() - failures.len(), sessions.len());
    if sessions.is_empty() {
        failures.push("no session was recorded".to_owned());
    }
    failures
}

/// All of them, however many pages that takes.
fn sessions(api: &Api) -> Vec<Value> {
    let mut all = Vec::new();
    let mut before = String::new();
    loop {
        let page = api.get(&format!("/api/v1/sessions?limit=1000{before}")).json();
        all.extend(page["items"].as_array().expect("items").clone());
        let Some(next) = page["next"].as_str() else { return all };
        before = format!("&before={next}");
    }
}
