//! What is counted of the record. How full its queue is, is asked when it is scraped.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::{histogram::Histogram, registry::Registrar};

/// The recorder's instruments.
#[derive(Debug, Default)]
pub struct RecordMetrics {
    entries: Counter,
    flushes: Histogram,
    failures: Counter,
}

impl RecordMetrics {
    /// So many entries were written.
    pub fn written(&self, entries: u64) {
        self.entries.inc_by(entries);
    }

    /// Writing what was gathered and forcing it to disk took so long.
    pub fn flushed(&self, took: Duration) {
        self.flushes.observe(took);
    }

    /// The record failed: nothing passes the gate any more.
    pub fn failed(&self) {
        self.failures.inc();
    }

    pub(crate) fn register(&self, registrar: &mut Registrar) {
        registrar.add("sluicegate_record_entries", "Entries that were written to the record", &self.entries);
        registrar.add("sluicegate_record_flush_seconds", "How long it took to force entries to disk", &self.flushes);
        registrar.add(
            "sluicegate_record_failures",
            "Failures of the record; the gateway ends after one",
            &self.failures,
        );
    }
}
