//! The instruments of one session and of its target, looked up when it opens.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::{
    gate::{Decided, Kind, Spoken},
    histogram::{Histogram, Seconds},
    words::Verdict,
};

/// What is counted of one target.
#[derive(Debug)]
pub struct TargetMetrics {
    pub(crate) labels: Spoken,
    pub(crate) open: Gauge,
    pub(crate) opened: Counter,
    pub(crate) commands: [Counter; Verdict::AT_FIRST],
    pub(crate) refused_later: Family<Decided, Counter>,
    pub(crate) gate: Histogram,
    pub(crate) results: Histogram,
    pub(crate) upstream: Histogram,
    pub(crate) failed: Counter,
    pub(crate) rows: Counter,
    pub(crate) masked: Counter,
    pub(crate) to_target: Counter,
    pub(crate) to_client: Counter,
    pub(crate) dial: Histogram,
    pub(crate) dial_failures: Family<Kind, Counter>,
}

/// What is counted of one session, which is open until this is dropped.
#[derive(Debug)]
pub struct SessionMetrics {
    pub(crate) target: Arc<TargetMetrics>,
    pub(crate) commands: Counter,
    pub(crate) gate: Seconds,
    pub(crate) upstream: Seconds,
}

/// How a forwarded command ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finished {
    /// How long it took from its forwarding on, without what the gate took to decide about results.
    pub upstream: Duration,
    /// Rows that reached the client.
    pub rows: u64,
    /// Values masked.
    pub masked: u64,
    /// Whether the target reported an error.
    pub failed: bool,
}

impl SessionMetrics {
    /// The target's.
    pub fn target(&self) -> &TargetMetrics {
        &self.target
    }

    /// A command was decided.
    pub fn decided(&self, verdict: Verdict) {
        if let Some(counter) = self.target.commands.get(verdict as usize) {
            counter.inc();
        }
    }

    /// A command was forwarded, and the gate took so long for it. What is only made ready `runs` later.
    pub fn forwarded(&self, took: Duration, runs: bool) {
        self.target.gate.observe(took);
        self.gate.add(took);
        if runs {
            self.commands.inc();
        }
    }

    /// Deciding about a result, or about rows of it, took so long.
    pub fn result_decided(&self, took: Duration) {
        self.target.results.observe(took);
        self.gate.add(took);
    }

    /// A command that was allowed or held is refused after all.
    pub fn refused_later(&self, verdict: Verdict) {
        let Spoken { target, protocol } = self.target.labels.clone();
        let labels = Decided { target, protocol, verdict: verdict.word() };
        self.target.refused_later.get_or_create(&labels).inc();
    }

    /// A forwarded command has ended.
    pub fn finished(&self, finished: Finished) {
        let Finished { upstream, rows, masked, failed } = finished;
        self.target.upstream.observe(upstream);
        self.upstream.add(upstream);
        for (counter, count) in
            [(&self.target.rows, rows), (&self.target.masked, masked), (&self.target.failed, u64::from(failed))]
        {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }
}

impl Drop for SessionMetrics {
    fn drop(&mut self) {
        self.target.open.dec();
    }
}

impl TargetMetrics {
    /// Counts bytes that were written to the target.
    pub fn to_target(&self) -> Counter {
        self.to_target.clone()
    }

    /// Counts bytes that were written to clients.
    pub fn to_client(&self) -> Counter {
        self.to_client.clone()
    }

    /// The target became ready for a session after so long.
    pub fn dialled(&self, took: Duration) {
        self.dial.observe(took);
    }

    /// The target could not be used, for a reason of this kind, which is one of a closed list.
    pub fn dial_failed(&self, kind: &'static str) {
        self.dial_failures.get_or_create(&Kind { target: self.labels.target.clone(), kind }).inc();
    }
}
