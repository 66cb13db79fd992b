//! A policy that crashes, hangs or grows blocks what it was asked about, and harms nothing else.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use sluicegate_core::{DenialKind, policy::Mode};
use sluicegate_policy_engine::PolicyState;

use crate::support::*;

/// What the probe does to commands with the word "bad", and how that is told.
fn misbehaves(how: &str, told: &str) {
    let fixture = Fixture::probing(json!({ "command": how, "only": "bad" }));
    let mut session = fixture.open();
    for _ in 0..2 {
        let (ruling, _) = ask(&mut session, &command("bad", Default::default()));
        let denial = ruling.denial.unwrap();
        assert_eq!(denial.kind, DenialKind::PolicyFailure);
        assert!(denial.reason.starts_with(told), "{}", denial.reason);
        assert!(ask(&mut session, &select()).0.denial.is_none(), "a fresh instance did not answer");
    }
}

#[test]
fn a_trap_blocks_and_the_next_command_has_a_fresh_instance() {
    misbehaves("trap", "the policy failed: it crashed: wasm trap: wasm `unreachable` instruction executed");
}

#[test]
fn a_policy_that_takes_all_memory_blocks() {
    misbehaves("memory", "the policy failed: it needs more than the 64 MiB of memory that it may use");
}

#[test]
fn a_policy_with_too_many_counters_blocks() {
    misbehaves("counters", "the policy failed: it asked for something that it may not have: there are 1024 counters");
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    misbehaves("loop", "the policy failed: it took longer than 200 ms");
    let fixture = Fixture::with(|config| config.deadline = Duration::from_millis(20));
    fixture.put("probe", &probe());
    let mut session = fixture.open();
    let times: Vec<Duration> = (0..12)
        .map(|n| {
            // Other settings, so that the failures before do not count.
            fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "command": "loop", "limit": n }))]);
            let start = Instant::now();
            assert!(reason(&ask(&mut session, &select()).0).ends_with("it took longer than 20 ms"));
            start.elapsed()
        })
        .collect();
    assert!(times.iter().all(|time| *time >= Duration::from_millis(19)), "{times:?}");
    // The others may have had to wait for a processor.
    assert!(times.iter().any(|time| *time < Duration::from_millis(60)), "{times:?}");
}

/// How long the policy takes for so many rounds beside threads that want the processor too, and
/// whether its answer came.
fn work(rounds: u64, deadline: Duration, rivals: usize) -> (Duration, bool) {
    let fixture = Fixture::with(|config| config.deadline = deadline);
    fixture.put("probe", &probe());
    fixture.bind(vec![binding("probe", Mode::Enforce, json!({ "command": format!("busy {rounds}") }))]);
    let mut session = fixture.open();
    let busy = AtomicBool::new(true);
    thread::scope(|scope| {
        for _ in 0..rivals {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        // Until all of them run, they are no rivals.
        thread::sleep(Duration::from_millis(5 * rivals as u64));
        let start = Instant::now();
        let (ruling, _) = ask(&mut session, &select());
        busy.store(false, Ordering::Relaxed);
        (start.elapsed(), ruling.denial.is_none())
    })
}

#[test]
fn waiting_for_a_processor_does_not_count() {
    let sample = 10_000_000;
    let (took, _) = (0..3).map(|_| work(sample, Duration::from_secs(10), 0)).min().unwrap();
    // Little enough that it is done in half of the deadline even where two processors share a core.
    let rounds = sample * 20 / u64::try_from(took.as_millis()).unwrap().max(1);
    let (took, answered) = work(rounds, Duration::from_millis(100), 24);
    assert!(took > Duration::from_millis(100), "the rivals did not slow it down: {took:?}");
    assert!(answered, "20 ms of work within a deadline of 100 ms were cut off after {took:?}");
}

#[test]
fn a_policy_that_is_monitored_may_crash_without_harm() {
    let fixture = Fixture::new();
    fixture.put("probe", &probe());
    fixture.bind(vec![binding("probe", Mode::Monitor, json!({ "command": "trap" }))]);
    let (ruling, _) = ask(&mut fixture.open(), &select());
    assert_eq!(ruling.denial, None);
    assert_eq!((ruling.opinions[0].mode, &*ruling.opinions[0].said), (Mode::Monitor, "block"));
    assert!(ruling.opinions[0].reason.contains("crashed"));
}

#[test]
fn a_policy_that_keeps_failing_is_not_asked_for_a_while() {
    let fixture = Fixture::probing(json!({ "command": "trap", "only": "bad" }));
    let (mut one, mut two) = (fixture.open(), fixture.open());
    for _ in 0..5 {
        assert!(reason(&ask(&mut one, &command("bad", Default::default())).0).contains("crashed"));
    }
    assert!(reason(&ask(&mut two, &select()).0).contains("failed too often"));
    assert!(matches!(fixture.status("probe").state, PolicyState::Quarantined { .. }));
    thread::sleep(Duration::from_millis(1050));
    assert!(ask(&mut two, &select()).0.denial.is_none(), "it is tried again");
    assert_eq!(fixture.status("probe").state, PolicyState::Active);
}

#[test]
fn a_new_version_leaves_the_quarantine() {
    let fixture = Fixture::probing(json!({ "command": "trap" }));
    let mut session = fixture.open();
    for _ in 0..6 {
        assert!(ask(&mut session, &select()).0.denial.is_some());
    }
    fixture.put("probe", &narrow());
    fixture.wait("the new file", |status| status.name == "narrow");
    assert!(ask(&mut session, &select()).0.denial.is_none());
}
