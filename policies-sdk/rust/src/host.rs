//! What the gateway does for a policy at any time: log lines, the rule that it follows, and counters
//! that outlive it. In a
//! native build all of it is local to the thread, so that tests do not see one another.

use crate::Level;

/// Writes one line to the gateway's log. At most 1 KiB is kept.
pub fn log(level: Level, message: &str) {
    imp::log(level, message);
}

/// Names the rule of the settings that the answer to this event follows, such as `deny[2]`. It is
/// recorded beside the answer; the last one counts, and at most 128 bytes of it are kept.
pub fn cite(rule: &str) {
    imp::cite(rule);
}

/// Adds to a counter that every session of this binding on this gateway shares, and returns the
/// new value; adding 0 reads it. At most 1024 names of at most 128 bytes per binding: beyond that
/// the call traps, which blocks.
pub fn counter_add(name: &str, delta: i64) -> i64 {
    imp::counter_add(name, delta)
}

#[cfg(target_family = "wasm")]
use crate::bindings::sluicegate::policy::host as imp;

#[cfg(not(target_family = "wasm"))]
pub(crate) mod imp {
    use std::{cell::RefCell, collections::HashMap};

    use crate::Level;

    thread_local! {
        static COUNTERS: RefCell<HashMap<String, i64>> = RefCell::default();
        static CITED: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    pub(crate) fn log(level: Level, message: &str) {
        eprintln!("{level:?}: {message}");
    }

    pub(crate) fn counter_add(name: &str, delta: i64) -> i64 {
        COUNTERS.with_borrow_mut(|counters| {
            let value = counters.entry(name.to_owned()).or_default();
            *value = value.saturating_add(delta);
            *value
        })
    }

    pub(crate) fn cite(rule: &str) {
        CITED.set(Some(rule.to_owned()).filter(|rule| !rule.is_empty()));
    }

    /// The rule that was named last, which is forgotten.
    pub(crate) fn take_cited() -> Option<String> {
        CITED.take()
    }

    pub(crate) fn forget_counters() {
        COUNTERS.with_borrow_mut(HashMap::clear);
    }
}
