//! What operators measure and probes ask: the instruments of all crates under one roof, and whether new
//! clients should come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use sluicegate_admin::Health;
use sluicegate_core::{Approvals, Gate, record};
use sluicegate_metrics::{Metrics, Sample, Sources};
use sluicegate_net::Stop;
use sluicegate_policy_engine::{PolicyHost, PolicyState};
use sluicegate_recorder::SledRecorder;

/// Whether new clients should come.
pub struct Readiness {
    recorder: Arc<SledRecorder>,
    policies: Arc<PolicyHost>,
    stop: Stop,
    serving: AtomicBool,
}

impl Readiness {
    /// They should not yet.
    pub fn new(recorder: Arc<SledRecorder>, policies: Arc<PolicyHost>, stop: Stop) -> Self {
        Self { recorder, policies, stop, serving: AtomicBool::new(false) }
    }

    /// The listeners are open, and targets are in force.
    pub fn serves(&self) {
        self.serving.store(true, Relaxed);
    }
}

impl Health for Readiness {
    fn unready(&self) -> Vec<&'static str> {
        let checks = [
            (self.serving.load(Relaxed), "its listeners are not open yet"),
            (self.policies.generation() > 0, "no policies are in force yet"),
            (!self.recorder.is_ended(), "the record cannot be written"),
            (!self.stop.is_asked(), "it stops"),
        ];
        checks.into_iter().filter_map(|(good, reason)| (!good).then_some(reason)).collect()
    }
}

/// The instruments of all crates.
pub fn metrics(
    gate: &Gate,
    policies: &Arc<PolicyHost>,
    approvals: &Arc<Approvals>,
    recorder: &Arc<SledRecorder>,
) -> Metrics {
    let mut metrics = Metrics::new(&Sources {
        version: env!("CARGO_PKG_VERSION"),
        gate: Arc::clone(gate.metrics()),
        policies: Arc::clone(policies.metrics()),
        holds: Arc::clone(approvals.metrics()),
        record: Arc::clone(recorder.metrics()),
    });
    let queue = Arc::new(recorder.queue_fill());
    let queued = Arc::clone(&queue);
    metrics.sample("sluicegate_record_queue_bytes", "Bytes of entries that wait to be written", move || {
        vec![Sample::of(queued().0 as f64)]
    });
    metrics.sample("sluicegate_record_queue_capacity_bytes", "How many may wait before commands wait too", move || {
        vec![Sample::of(queue().1 as f64)]
    });
    let waiting = Arc::clone(approvals);
    metrics.sample("sluicegate_holds_pending", "Commands that wait for people", move || {
        vec![Sample::of(waiting.waiting().0 as f64)]
    });
    let waiting = Arc::clone(approvals);
    metrics.sample("sluicegate_holds_oldest_seconds", "How long the one has waited that waits longest", move || {
        let since = waiting.waiting().1.map_or(0, |since| record::now().saturating_sub(since));
        vec![Sample::of(since as f64 / 1000.0)]
    });
    let host = Arc::clone(policies);
    metrics.sample("sluicegate_policy_generation", "The number of the policies in force; it grows with each change", {
        move || vec![Sample::of(host.generation() as f64)]
    });
    let host = Arc::clone(policies);
    metrics.sample("sluicegate_policy_state", "How a policy's module stands: 1 for the state it is in", move || {
        states(&host)
    });
    metrics
}

fn states(host: &PolicyHost) -> Vec<Sample> {
    const STATES: [&str; 4] = ["active", "rejected", "missing", "quarantined"];
    let mut samples = Vec::new();
    for policy in host.status() {
        let stands = match policy.state {
            PolicyState::Active => "active",
            PolicyState::Rejected { .. } => "rejected",
            PolicyState::Missing => "missing",
            PolicyState::Quarantined { .. } => "quarantined",
        };
        samples.extend(STATES.map(|state| {
            let is = f64::from(u8::from(state == stands));
            Sample::labelled(is, &[("policy", &policy.module), ("state", state)])
        }));
    }
    samples
}
