//! Keeps a policy that fails again and again from eating the processor: after a few failures in a
//! short time it is not called for a while, and what it would decide is blocked at once.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// One binding's failures. A binding that works pays one atomic load a call.
pub(crate) struct Quarantine {
    born: Instant,
    /// Milliseconds after `born` until which nothing is called; 0 for never.
    until: AtomicU64,
    /// Set from the first failure to the next success.
    suspect: AtomicBool,
    history: Mutex<History>,
}

#[derive(Default)]
struct History {
    failures: VecDeque<Instant>,
    /// The last quarantine's length; zero where none was, or where a success ended it.
    back_off: Duration,
}

impl Quarantine {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            until: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            history: Mutex::default(),
        }
    }

    /// How long the binding is still quarantined; none where it may be called.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        Duration::from_millis(until).checked_sub(self.born.elapsed()).filter(|left| !left.is_zero())
    }

    /// Notes a failure. Returns the length of the quarantine that it starts, if it starts one.
    pub(crate) fn failed(&self) -> Option<Duration> {
        self.failed_at(Instant::now())
    }

    fn failed_at(&self, now: Instant) -> Option<Duration> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        self.suspect.store(true, Ordering::Relaxed);
        history.failures.retain(|at| now.duration_since(*at) < WINDOW);
        history.failures.push_back(now);
        // After a quarantine, one failed try is enough for the next.
        if history.failures.len() < FAILURES && history.back_off.is_zero() {
            return None;
        }
        history.failures.clear();
        history.back_off = if history.back_off.is_zero() { FIRST } else { (history.back_off * 2).min(LONGEST) };
        let until = now.duration_since(self.born) + history.back_off;
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Some(history.back_off)
    }

    /// Notes a success: it ends the doubling, but failures of the last seconds still count.
    pub(crate) fn succeeded(&self) {
        if self.suspect.load(Ordering::Relaxed) {
            self.suspect.store(false, Ordering::Relaxed);
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.back_off = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_ten_seconds_quarantine_and_the_back_off_doubles() {
        let quarantine = Quarantine::new();
        let start = quarantine.born;
        for n in 0..4 {
            assert_eq!(quarantine.failed_at(start + Duration::from_secs(n)), None);
        }
        assert_eq!(quarantine.remaining(), None);
        assert_eq!(quarantine.failed_at(start + Duration::from_secs(4)), Some(FIRST));
        assert!(quarantine.remaining().is_some());
        assert_eq!(quarantine.failed_at(start + Duration::from_secs(6)), Some(FIRST * 2));
        for _ in 0..10 {
            quarantine.failed_at(start + Duration::from_secs(7));
        }
        assert_eq!(quarantine.failed_at(start + Duration::from_secs(8)), Some(LONGEST));
        quarantine.succeeded();
        assert_eq!(quarantine.failed_at(start + Duration::from_secs(90)), None);
    }

    #[test]
    fn slow_failures_do_not_quarantine() {
        let quarantine = Quarantine::new();
        for n in 0..20 {
            assert_eq!(quarantine.failed_at(quarantine.born + Duration::from_secs(n * 3)), None);
        }
    }
}
