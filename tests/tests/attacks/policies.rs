//! Policies that misbehave, and files that are none, while others work.

use std::fs;

use sluicegate_tests::{
    Bystander, Gateway, Postgres,
    policies::guest,
    programs::eventually,
    wire::{Wire, errors_of, tags_of},
};

use crate::{SOON, calm, database, error_in, with_calm};

#[test]
fn a_policy_that_misbehaves_blocks_says_how_and_harms_nobody() {
    let database = database();
    let gateway = Gateway::before(&database).policy("guest", "").module("guest", guest("allow"));
    let gateway = with_calm(gateway, &database);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    let (mut wire, _) = Wire::login(&gateway.alice());
    // On a machine that is busy, some of it takes too long before it is anything else.
    let late = "it took longer than 20 ms";
    for (behaviour, told) in [
        ("trap", ["it crashed", late]),
        ("loop", [late, late]),
        ("recurse", ["it crashed", late]),
        ("eat memory", ["more than the 64 MiB", late]),
        ("2 GB", ["it crashed", late]),
        ("at length", ["xxx", late]),
        ("edit outside", ["which it was not shown", late]),
    ] {
        let from = gateway.log().len();
        gateway.deploy("guest", &guest(behaviour));
        let mut answer = Vec::new();
        eventually(&format!("{behaviour:?} is blocked"), SOON, || {
            answer = wire.query("SELECT name FROM customers");
            errors_of(&answer) == ["42501"] && told.iter().any(|told| error_in(&answer).1.contains(told))
        });
        let (_, text) = error_in(&answer);
        assert!(text.contains("policy guest"), "{behaviour:?}: {text}");
        assert!(text.len() < 4096, "{behaviour:?} is told in {} bytes", text.len());
        assert!(!answer.iter().any(|message| message.tag == 'D'), "{behaviour:?}: a row passed");
        gateway.wait_for_log(from, "guest");
        // Again and again, until it is no longer asked, and after that.
        for _ in 0..10 {
            assert_eq!(errors_of(&wire.query("SELECT name FROM customers")), ["42501"], "{behaviour:?}");
            bystander.works();
        }
    }
    gateway.deploy("guest", &guest("allow"));
    eventually("a good one heals it", SOON, || tags_of(&wire.query("SELECT 1")) == "TDCZ");
    bystander.is_unharmed();
}

#[test]
fn a_loop_in_many_sessions_at_once_leaves_the_others_their_turn() {
    let database = database();
    let gateway = Gateway::before(&database).policy("guest", "").module("guest", guest("loop"));
    let gateway = with_calm(gateway, &database);
    let mut bystander = Bystander::at(&gateway, calm(&gateway));
    let mut wires: Vec<_> = (0..30).map(|_| Wire::login(&gateway.alice()).0).collect();
    for _ in 0..5 {
        for wire in &mut wires {
            wire.send('Q', b"SELECT 1\0");
        }
        bystander.works();
        for wire in &mut wires {
            assert_eq!(errors_of(&wire.read_until("Z")), ["42501"]);
        }
    }
    drop(wires);
    bystander.is_unharmed();
}

#[test]
fn broken_files_dropped_in_while_pgbench_runs_fail_no_transaction() {
    let database = Postgres::shared().empty_database();
    database.direct().pgbench(&["-i", "-s", "1", "-q"]).ok();
    let gateway = Gateway::before(&database).policy("guest", "").module("guest", guest("allow")).start();
    let mut bystander = Bystander::of(&gateway);
    let mut running = gateway.alice().pgbench_start(&["-c", "4", "-j", "1", "-T", "60", "-n"]);
    let whole = guest("allow");
    let mut flipped = whole.clone();
    flipped.iter_mut().skip(1000).step_by(97).for_each(|byte| *byte ^= 0x55);
    let files: [(&str, Vec<u8>); 5] = [
        ("nothing", Vec::new()),
        ("no WebAssembly", b"this is not a module".to_vec()),
        ("half a file", whole[..whole.len() / 2].to_vec()),
        ("flipped bits", flipped),
        ("settings that it refuses", guest("refuse")),
    ];
    for (what, bytes) in files {
        let from = gateway.log().len();
        gateway.deploy("guest", &bytes);
        eventually(&format!("{what}: the log shouts"), SOON, || {
            gateway.log()[from..].lines().any(|line| line.contains("ERROR") && line.contains("guest"))
        });
        bystander.works();
        let status = gateway.sluicegate(&["policy", "status"]).ok().to_lowercase();
        assert!(status.contains("reject"), "{what}: {status}");
        assert!(running.is_running(), "{what}: pgbench is over");
    }
    // Not even a file.
    let (from, place) = (gateway.log().len(), gateway.folder().join("policies/guest.wasm"));
    fs::remove_file(&place).and_then(|()| fs::create_dir(&place)).expect("our own folder");
    gateway.wait_for_log(from, "guest");
    running.signal("TERM");
    let report = running.finish(SOON);
    assert!(!report.stderr.contains("aborted") && !report.stderr.contains("ERROR"), "{report:?}");
    eventually("the target's sessions are over", SOON, || database.connections() == 1);
    bystander.is_unharmed();
}
