//! What is counted of commands that wait for people.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::{label::Text, registry::Registrar};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Opened {
    target: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    target: Text,
    state: &'static str,
}

/// The approvals' instruments.
#[derive(Debug, Default)]
pub struct HoldMetrics {
    opened: Family<Opened, Counter>,
    ended: Family<Ended, Counter>,
}

impl HoldMetrics {
    /// A command begins to wait.
    pub fn opened(&self, target: &str) {
        self.opened.get_or_create(&Opened { target: Text::from(target) }).inc();
    }

    /// A command waits no longer; `state` is one of a closed list.
    pub fn ended(&self, target: &str, state: &'static str) {
        self.ended.get_or_create(&Ended { target: Text::from(target), state }).inc();
    }

    pub(crate) fn register(&self, registrar: &mut Registrar) {
        registrar.add("sluicegate_holds", "Commands that began to wait for people", &self.opened);
        registrar.add("sluicegate_holds_ended", "Commands that wait no longer, by how it ended", &self.ended);
    }
}
