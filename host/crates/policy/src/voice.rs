//! What a binding keeps beyond its instances and reloads: its counters and its voice in the log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sluicegate_core::record::cut;
use sluicegate_metrics::{BindingMetrics, PolicyMetrics};

use crate::contract::sluicegate::policy::types::Level;

/// The contract's bounds.
const MAX_COUNTERS: usize = 1024;
const MAX_COUNTER_NAME: usize = 128;
const MAX_LINE: usize = 1024;
const MAX_RULE: usize = 128;

/// How many lines a binding may log in a second.
const LINES_PER_SECOND: u32 = 100;

/// One binding's counters and log lines, shared by all its sessions.
pub(crate) struct Voice {
    target: String,
    module: String,
    counters: Mutex<HashMap<String, i64>>,
    lines: Mutex<Lines>,
    pub(crate) metrics: BindingMetrics,
}

struct Lines {
    since: Instant,
    count: u32,
}

/// A counter beyond the contract's bounds; the call that asked for it traps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CounterError {
    #[error("a counter's name has {0} bytes; the most is {MAX_COUNTER_NAME}")]
    Name(usize),
    #[error("there are {MAX_COUNTERS} counters already, which is the most that one binding may have")]
    Count,
}

impl Voice {
    /// Of a trial, which nobody counts.
    pub(crate) fn new(target: &str, module: &str) -> Self {
        Self::counted(target, module, &PolicyMetrics::default())
    }

    /// Of a binding that comes into force.
    pub(crate) fn counted(target: &str, module: &str, metrics: &PolicyMetrics) -> Self {
        let lines = Mutex::new(Lines { since: Instant::now(), count: 0 });
        let metrics = metrics.binding(module, target);
        Self { target: target.to_owned(), module: module.to_owned(), counters: Mutex::default(), lines, metrics }
    }

    /// Adds to a counter, stopping at the ends of its range, and returns its value.
    pub(crate) fn add(&self, name: String, delta: i64) -> Result<i64, CounterError> {
        if name.len() > MAX_COUNTER_NAME {
            return Err(CounterError::Name(name.len()));
        }
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= MAX_COUNTERS && !counters.contains_key(&name) {
            return Err(CounterError::Count);
        }
        let value = counters.entry(name).or_default();
        *value = value.saturating_add(delta);
        Ok(*value)
    }

    /// Logs a line, unless the binding has logged too many in this second.
    pub(crate) fn log(&self, level: Level, message: &str) {
        if !self.may_speak() {
            return;
        }
        let (kept, _) = cut(message, MAX_LINE);
        let message = printable(&kept);
        let (target_name, policy) = (&self.target, &self.module);
        match level {
            Level::Debug => tracing::debug!(target: "policy", target_name, policy, "{message}"),
            Level::Info => tracing::info!(target: "policy", target_name, policy, "{message}"),
            Level::Warn => tracing::warn!(target: "policy", target_name, policy, "{message}"),
            Level::Error => tracing::error!(target: "policy", target_name, policy, "{message}"),
        }
    }

    fn may_speak(&self) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.since.elapsed() >= Duration::from_secs(1) {
            *lines = Lines { since: Instant::now(), count: 0 };
        }
        lines.count = lines.count.saturating_add(1);
        if lines.count == LINES_PER_SECOND + 1 {
            tracing::warn!(
                target: "policy",
                target_name = self.target,
                policy = self.module,
                "the policy logs more than {LINES_PER_SECOND} lines a second; the rest of this second is dropped"
            );
        }
        lines.count <= LINES_PER_SECOND
    }
}

/// What is kept of the rule that a policy names.
pub(crate) fn rule_text(rule: &str) -> String {
    printable(&cut(rule, MAX_RULE).0).trim().to_owned()
}

/// The text on one line, without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_and_are_bounded() {
        let voice = Voice::new("orders", "guard");
        assert_eq!(voice.add("a".into(), 2).unwrap(), 2);
        assert_eq!(voice.add("a".into(), i64::MAX).unwrap(), i64::MAX);
        assert!(voice.add("x".repeat(129), 1).is_err());
        for n in 1..MAX_COUNTERS {
            voice.add(format!("n{n}"), 1).unwrap();
        }
        assert!(matches!(voice.add("one more".into(), 0), Err(CounterError::Count)));
        assert_eq!(voice.add("n5".into(), 0).unwrap(), 1);
    }

    #[test]
    fn a_talkative_policy_is_cut_off_for_the_second() {
        let voice = Voice::new("orders", "guard");
        let heard = (0..1000).filter(|_| voice.may_speak()).count();
        assert_eq!(heard, LINES_PER_SECOND as usize);
    }
}
