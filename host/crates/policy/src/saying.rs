//! What came of asking one policy, before it is known what it means for the whole chain.

use std::time::Duration;

use sluicegate_core::DenialKind;

/// No answer, so the answer is no.
pub(crate) struct Failure {
    pub(crate) reason: String,
}

/// What came of asking a policy.
pub(crate) struct Asked<T> {
    pub(crate) answer: Result<T, Failure>,
    pub(crate) source: Source,
}

/// What is to be noted beside everything that one call said.
pub(crate) struct Source {
    pub(crate) rule: Option<String>,
    /// How long the call took, an instance's start included.
    pub(crate) micros: u32,
    /// Whether the answer depends on what differs from run to run, or the call did more than answer.
    pub(crate) varies: bool,
}

/// One thing that a policy said, before it is known what it means for the whole chain.
pub(crate) struct Saying {
    pub(crate) said: &'static str,
    pub(crate) reason: String,
    /// `Some` where it refuses.
    pub(crate) refusal: Option<DenialKind>,
}

impl<T> Asked<T> {
    /// Of a policy that could not even be asked.
    pub(crate) fn failed(reason: String) -> Self {
        Self { answer: Err(Failure { reason }), source: Source::new(None, Duration::ZERO, true) }
    }
}

impl Source {
    pub(crate) fn new(rule: Option<String>, time: Duration, varies: bool) -> Self {
        Self { rule, micros: micros(time), varies }
    }

    /// For one of several sayings of the same call: its time is noted with the first.
    pub(crate) fn share(&mut self) -> Self {
        Self { rule: self.rule.clone(), micros: std::mem::take(&mut self.micros), varies: self.varies }
    }
}

impl Saying {
    pub(crate) fn allow(reason: String) -> Self {
        Self { said: "allow", reason, refusal: None }
    }

    pub(crate) fn suspend(reason: String) -> Self {
        Self { said: "suspend", reason, refusal: None }
    }
}

impl From<Failure> for Saying {
    fn from(failure: Failure) -> Self {
        Self { said: "block", reason: failure.reason, refusal: Some(DenialKind::PolicyFailure) }
    }
}

/// To the nearest microsecond, so that a sum of many short calls is right on average.
fn micros(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() + 500) / 1000).unwrap_or(u32::MAX)
}
