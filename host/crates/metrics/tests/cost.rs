//! What counting costs a command: run with `--nocapture` to see it. It is to be below 100 ns where
//! it is optimised.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use sluicegate_metrics::{Finished, GateMetrics, PolicyEvent, PolicyMetrics, Verdict};

const COMMANDS: u32 = 200_000;
/// What it may cost, generously: tests are built without full optimisation, on machines that are busy.
const LIMIT: Duration = Duration::from_micros(2);

#[test]
fn counting_a_command_is_a_few_atomics() {
    let (gate, policies) = (GateMetrics::default(), PolicyMetrics::default());
    let session = gate.opened("orders", "test", "alice");
    let binding = policies.binding("guard", "orders");
    let took = Duration::from_micros(7);
    let best = |work: &dyn Fn()| {
        let rounds = (0..5).map(|_| {
            let start = Instant::now();
            (0..COMMANDS).for_each(|_| work());
            start.elapsed() / COMMANDS
        });
        rounds.min().unwrap_or_default()
    };
    let command = best(&|| {
        session.decided(black_box(Verdict::Allowed));
        session.forwarded(black_box(took), true);
        session.finished(black_box(Finished { upstream: took, rows: 1, masked: 0, failed: false }));
    });
    let call = best(&|| binding.called(black_box(PolicyEvent::Command), black_box(took)));
    println!("counting a command: {command:?}, and each call of a policy: {call:?}");
    assert!(command < LIMIT && call < LIMIT);
}
