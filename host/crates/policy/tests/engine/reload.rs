//! Policies are replaced while sessions run; a bad file changes nothing but what is said about it.

use std::{fs, thread, time::Duration};

use serde_json::json;
use sluicegate_core::{Mask, policy::Mode, sql::Classes};
use sluicegate_policy_engine::PolicyState;

use crate::support::*;

#[test]
fn a_result_stays_with_the_policy_that_decided_its_command() {
    let fixture = Fixture::probing(json!({ "mask": [[2, "hash"]], "inspect": [3], "rows": "secret" }));
    let mut session = fixture.open();
    let (_, mut flight) = ask(&mut session, &select());
    assert_eq!(flight.result(&schema()).plan.columns[2].mask, Some(Mask::Hash));
    let before = fixture.status("probe").generation;
    fixture.put("probe", &narrow());
    fixture.wait("the new file", |status| status.name == "narrow");
    assert_eq!(fixture.status("probe").generation, before + 1);

    let rows = flight.rows(&batch(&[(3, &["secret"])]));
    assert_eq!((rows.denial, rows.cells.len()), (None, 1), "the old policy goes on");
    let (ruling, mut flight) = ask(&mut session, &select());
    assert!(ruling.denial.is_none() && !flight.sees_results());
    assert!(flight.result(&schema()).plan.is_pass());
    assert_eq!(reason(&ask(&mut session, &command("x", Classes::DML)).0), "narrow blocks writes");
}

#[test]
fn a_bad_file_leaves_the_old_version_in_force() {
    let fixture = Fixture::probing(json!({ "command": "still here" }));
    let good = fixture.status("probe");
    fixture.put("probe", b"\0asm and then nonsense");
    fixture.wait("the refusal", |status| status.rejected.is_some());
    let status = fixture.status("probe");
    assert!(matches!(status.state, PolicyState::Rejected { .. }));
    assert_eq!((&status.digest, status.generation), (&good.digest, good.generation));
    assert_ne!(status.rejected.unwrap().digest, good.digest);
    assert_eq!(reason(&ask(&mut fixture.open(), &select()).0), "still here");

    fixture.put("probe", &probe());
    fixture.wait("the good file's return", |status| status.state == PolicyState::Active);
    assert_eq!(fixture.status("probe").rejected, None);
}

#[test]
fn a_version_that_refuses_live_settings_is_not_taken() {
    let fixture = Fixture::new();
    fixture.put("policy", &narrow());
    fixture.bind(vec![binding("policy", Mode::Enforce, json!({ "refuse": "not with me" }))]);
    fixture.put("policy", &probe());
    fixture.wait("the refusal", |status| status.rejected.is_some());
    let status = fixture.status("policy");
    assert_eq!(status.name, "narrow");
    let told = status.rejected.unwrap().reason;
    assert_eq!(told, "with the settings of target orders: it refused its settings: not with me");
}

#[test]
fn a_deleted_file_leaves_its_last_version_in_force() {
    let fixture = Fixture::probing(json!({ "command": "still here" }));
    fs::remove_file(fixture.folder.path().join("policies/probe.wasm")).unwrap();
    fixture.wait("the loss", |status| status.state == PolicyState::Missing);
    assert_eq!(reason(&ask(&mut fixture.open(), &select()).0), "still here");
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "command": "and takes settings" }))]);
    assert_eq!(reason(&ask(&mut fixture.open(), &select()).0), "and takes settings");
}

#[test]
fn a_file_that_is_written_slowly_is_taken_when_it_is_whole() {
    let fixture = Fixture::probing(json!({}));
    let path = fixture.folder.path().join("policies/probe.wasm");
    let whole = narrow();
    let (half, rest) = whole.split_at(whole.len() / 2);
    fs::write(&path, half).unwrap();
    fixture.wait("the look at half a file", |status| status.rejected.is_some());
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, rest).unwrap();
    fixture.wait("the whole file", |status| status.name == "narrow" && status.rejected.is_none());
}

#[test]
fn a_touched_file_and_an_unbound_one_change_nothing() {
    let fixture = Fixture::probing(json!({}));
    let before = fixture.status("probe");
    fixture.put("probe", &probe());
    fixture.put("unbound", b"nonsense");
    thread::sleep(Duration::from_millis(600));
    assert_eq!(fixture.host.status(), [before]);
}

#[test]
fn settings_are_replaced_and_what_did_not_change_keeps_its_instances() {
    let fixture = Fixture::probing(json!({ "command": "one" }));
    let mut session = fixture.open();
    assert_eq!(reason(&ask(&mut session, &select()).0), "one");
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "command": "two" }))]);
    assert_eq!(reason(&ask(&mut session, &select()).0), "two");
    assert!(!session.may_mask());
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "mask": [[2, "hash"]] }))]);
    assert!(session.may_mask(), "what decides next masks");
    assert!(ask(&mut session, &select()).0.denial.is_none());
    fixture.bind(vec![binding("probe", Mode::Monitor, json!({ "mask": [[2, "hash"]] }))]);
    assert!(session.may_mask(), "what decided last masks");
    assert!(ask(&mut session, &select()).0.denial.is_none());
    assert!(!session.may_mask());
}

#[test]
fn sessions_hammered_through_reloads_never_fail() {
    let fixture = Fixture::probing(json!({ "command": "never", "only": "bad" }));
    thread::scope(|scope| {
        let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        for _ in 0..2 {
            let (mut session, done) = (fixture.open(), std::sync::Arc::clone(&done));
            scope.spawn(move || {
                let (good, bad) = (select(), command("bad", Classes::READ));
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let (ruling, mut flight) = ask(&mut session, &good);
                    assert_eq!(ruling.denial, None);
                    assert_eq!(flight.result(&schema()).denial, None);
                    assert_eq!(reason(&ask(&mut session, &bad).0), "never");
                }
            });
        }
        for mark in ["a", "b", "c"] {
            let before = fixture.status("probe").digest;
            fixture.put("probe", &renamed(probe(), mark));
            fixture.wait("a new file", |status| status.digest != before);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
