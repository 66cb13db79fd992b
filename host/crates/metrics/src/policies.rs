//! What is counted of policies: how long each call took, what failed, and what they refused.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::{histogram::Histogram, label::Text, registry::Registrar};

/// What a policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyEvent {
    /// A session opens.
    Opened,
    /// A command comes.
    Command,
    /// A result is about to flow.
    Result,
    /// A batch of its rows.
    Rows,
    /// A session closed.
    Closed,
}

impl PolicyEvent {
    const ALL: [Self; 5] = [Self::Opened, Self::Command, Self::Result, Self::Rows, Self::Closed];

    fn word(self) -> &'static str {
        match self {
            Self::Opened => "session-opened",
            Self::Command => "command",
            Self::Result => "result",
            Self::Rows => "rows",
            Self::Closed => "session-closed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bound {
    policy: Text,
    target: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    policy: Text,
    target: Text,
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    policy: Text,
    target: Text,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Module {
    policy: Text,
}

/// The policy engine's instruments.
#[derive(Debug, Default)]
pub struct PolicyMetrics {
    calls: Family<Call, Histogram>,
    refusals: Family<Refusal, Counter>,
    failures: Family<Bound, Counter>,
    quarantines: Family<Bound, Counter>,
    starts: Family<Bound, Counter>,
    rejections: Family<Module, Counter>,
}

/// What is counted of one policy bound to one target. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BindingMetrics {
    calls: [Histogram; PolicyEvent::ALL.len()],
    refused: Counter,
    would_refuse: Counter,
    failures: Counter,
    quarantines: Counter,
    starts: Counter,
}

impl PolicyMetrics {
    /// Looks up the labels of a binding.
    pub fn binding(&self, policy: &str, target: &str) -> BindingMetrics {
        let (policy, target) = (Text::from(policy), Text::from(target));
        let bound = Bound { policy: policy.clone(), target: target.clone() };
        let call = |event: PolicyEvent| {
            let (policy, target) = (policy.clone(), target.clone());
            self.calls.get_or_create_owned(&Call { policy, target, event: event.word() })
        };
        let refusals = |mode| {
            let (policy, target) = (policy.clone(), target.clone());
            self.refusals.get_or_create_owned(&Refusal { policy, target, mode })
        };
        BindingMetrics {
            calls: PolicyEvent::ALL.map(call),
            refused: refusals("enforce"),
            would_refuse: refusals("monitor"),
            failures: self.failures.get_or_create_owned(&bound),
            quarantines: self.quarantines.get_or_create_owned(&bound),
            starts: self.starts.get_or_create_owned(&bound),
        }
    }

    /// A module's new file was refused.
    pub fn rejected(&self, policy: &str) {
        self.rejections.get_or_create(&Module { policy: Text::from(policy) }).inc();
    }

    pub(crate) fn register(&self, registrar: &mut Registrar) {
        registrar.add(
            "sluicegate_policy_call_seconds",
            "How long one call of a policy took, the start of its instance included",
            &self.calls,
        );
        registrar.add(
            "sluicegate_policy_refusals",
            "What a policy refused, or would have in `monitor`",
            &self.refusals,
        );
        registrar.add(
            "sluicegate_policy_failures",
            "Calls that trapped, were too slow or answered nonsense",
            &self.failures,
        );
        registrar.add(
            "sluicegate_policy_quarantines",
            "How often a binding failed so often that it is not asked for a while",
            &self.quarantines,
        );
        registrar.add("sluicegate_policy_instances_started", "Instances of policies that were started", &self.starts);
        registrar.add("sluicegate_policy_rejections", "Files of modules that were refused", &self.rejections);
    }
}

impl BindingMetrics {
    /// A call took so long.
    pub fn called(&self, event: PolicyEvent, took: Duration) {
        if let Some(histogram) = self.calls.get(event as usize) {
            histogram.observe(took);
        }
    }

    /// The policy refused something; `counts` says that it is enforced.
    pub fn refused(&self, counts: bool) {
        let counter = if counts { &self.refused } else { &self.would_refuse };
        counter.inc();
    }

    /// A call failed; `quarantined` says that it was one too many.
    pub fn failed(&self, quarantined: bool) {
        self.failures.inc();
        if quarantined {
            self.quarantines.inc();
        }
    }

    /// An instance was started.
    pub fn started(&self) {
        self.starts.inc();
    }
}
