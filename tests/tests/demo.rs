//! The first thing that people run: `sluicegate demo`, and its tour.

use std::{
    process::Command,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use sluicegate_tests::{
    Endpoint,
    programs::{Running, eventually, sluicegate_program},
    seed,
};

/// Both tests want the port that the demo prefers, so they take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The demo with the policies that `just policies` built.
fn demo(arguments: &[&str]) -> Running {
    let mut command = Command::new(sluicegate_program());
    command.arg("demo").args(["--policies", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/policies")]);
    command.args(arguments);
    Running::start(command, "")
}

#[test]
fn the_tour_shows_what_it_promises() {
    let _turn = turn();
    let started = Instant::now();
    let run = demo(&["--tour"]).finish(Duration::from_secs(120));
    let (took, shown) = (started.elapsed(), run.ok());
    let headings: Vec<_> = shown.lines().filter_map(heading).collect();
    let promised = ["Allowed", "Masked", "Blocked", "Held", "Denied", "Replayed", "Proven"];
    let missing: Vec<_> = promised.iter().filter(|title| !headings.contains(title)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing: {shown}");
    let checks = shown.lines().filter(|line| line.starts_with("   ✓ ")).count();
    assert!(checks > 2 * headings.len(), "{checks} checks in {} steps: {shown}", headings.len());
    assert!(shown.contains(&format!("All {checks} checks passed.")) && !shown.contains('✗'), "{shown}");
    assert!(shown.contains("SELECT") && shown.contains("blocked by policy"), "{shown}");
    assert!(took < Duration::from_secs(60), "a tour of {took:?} is watched by nobody");
}

/// The title of a step: `4. Held: what happens`.
fn heading(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(". ")?;
    number.parse::<u32>().ok()?;
    rest.split_once(": ").map(|(title, _)| title)
}

#[test]
fn the_demo_is_there_until_it_is_interrupted_and_leaves_nothing_behind() {
    let _turn = turn();
    let mut running = demo(&[]);
    let mut port = None;
    eventually("the demo says how to connect", Duration::from_secs(60), || {
        assert!(running.is_running(), "the demo ended: {}", running.output());
        port = running.output().split_once("-p ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        port.is_some()
    });
    let alice = Endpoint::new(port.unwrap(), "alice", "alice", "shop");
    let clear =
        Endpoint::new(port.unwrap(), "dba", "dba", "shop").psql("SELECT ssn FROM customers ORDER BY id LIMIT 1").ok();
    let masked = alice.psql("SELECT ssn FROM customers ORDER BY id LIMIT 1").ok();
    assert!(
        clear.trim().len() == seed::SSN.len() && masked.starts_with("*******") && clear != masked,
        "{clear} {masked}"
    );
    running.signal("INT");
    let shown = running.finish(Duration::from_secs(30)).ok();
    assert!(shown.contains("nothing is left behind"), "{shown}");
    alice.psql("SELECT 1").failed();
}
