//! What the gate counts: sessions, what was decided about their commands, and how long the gate and the
//! target took. A session's labels are looked up when it opens; see [`SessionMetrics`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::{
    histogram::{Histogram, Seconds},
    label::Text,
    registry::Registrar,
    session::{SessionMetrics, TargetMetrics},
    users::Users,
    words::{Refused, Verdict},
};

/// The target's label where the one that was asked for is not configured: its name is anybody's text.
const NO_TARGET: &str = "(unknown)";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    target: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Spoken {
    pub(crate) target: Text,
    pub(crate) protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Decided {
    pub(crate) target: Text,
    pub(crate) protocol: &'static str,
    pub(crate) verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotLetIn {
    target: Text,
    protocol: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) target: Text,
    pub(crate) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    protocol: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    target: Text,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct User {
    target: Text,
    user: Text,
}

/// The gate's instruments.
#[derive(Debug, Default)]
pub struct GateMetrics {
    families: Families,
    targets: Mutex<HashMap<Spoken, Arc<TargetMetrics>>>,
    users: Users,
}

#[derive(Debug, Default)]
struct Families {
    open: Family<Spoken, Gauge>,
    opened: Family<Spoken, Counter>,
    not_let_in: Family<NotLetIn, Counter>,
    logins: Histogram,
    commands: Family<Decided, Counter>,
    refused_later: Family<Decided, Counter>,
    gate: Family<Target, Histogram>,
    results: Family<Target, Histogram>,
    upstream: Family<Target, Histogram>,
    failed: Family<Target, Counter>,
    rows: Family<Target, Counter>,
    masked: Family<Target, Counter>,
    bytes: Family<Moved, Counter>,
    dial: Family<Target, Histogram>,
    dial_failures: Family<Kind, Counter>,
    connections: Family<Failure, Counter>,
    user_commands: Family<User, Counter>,
    user_gate: Family<User, Seconds>,
    user_upstream: Family<User, Seconds>,
}

impl GateMetrics {
    /// A session opens.
    pub fn opened(&self, target: &str, protocol: &'static str, user: &str) -> SessionMetrics {
        let target = Text::from(target);
        let metrics = self.target(Spoken { target: target.clone(), protocol });
        metrics.opened.inc();
        metrics.open.inc();
        let user = User { target, user: self.users.label(user) };
        SessionMetrics {
            target: metrics,
            commands: self.families.user_commands.get_or_create_owned(&user),
            gate: self.families.user_gate.get_or_create_owned(&user),
            upstream: self.families.user_upstream.get_or_create_owned(&user),
        }
    }

    /// A client is not let in. `target` is none where no such target is configured.
    pub fn not_let_in(&self, target: Option<&str>, protocol: &'static str, reason: Refused) {
        let target = Text::from(target.unwrap_or(NO_TARGET));
        self.families.not_let_in.get_or_create(&NotLetIn { target, protocol, reason: reason.word() }).inc();
    }

    /// Verifying a client's secret took so long.
    pub fn verified(&self, took: Duration) {
        self.families.logins.observe(took);
    }

    /// A connection ended by an error of this kind, which is one of a closed list.
    pub fn connection_failed(&self, protocol: &'static str, kind: &'static str) {
        self.families.connections.get_or_create(&Failure { protocol, kind }).inc();
    }

    fn target(&self, labels: Spoken) -> Arc<TargetMetrics> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |labels: &Spoken| Arc::new(self.families.target(labels.clone()));
        Arc::clone(targets.entry(labels).or_insert_with_key(new))
    }

    pub(crate) fn register(&self, registrar: &mut Registrar) {
        let Families { open, opened, not_let_in, logins, commands, refused_later, gate, results, upstream, .. } =
            &self.families;
        registrar.add("sluicegate_sessions_open", "Sessions that are open", open);
        registrar.add("sluicegate_sessions_opened", "Sessions that were let in", opened);
        registrar.add("sluicegate_sessions_refused", "Clients that were not let in", not_let_in);
        registrar.add("sluicegate_login_seconds", "How long it took to verify a client's secret", logins);
        registrar.add("sluicegate_commands", "Commands, by what was decided when they came", commands);
        registrar.add(
            "sluicegate_commands_refused_later",
            "Commands that were refused after that: for their results, or at the end of a wait",
            refused_later,
        );
        registrar.add(
            "sluicegate_gate_seconds",
            "What the gate adds to a command: from taking it up until it is forwarded, without waits for people",
            gate,
        );
        registrar.add(
            "sluicegate_gate_result_seconds",
            "What the gate adds to a result: asking the policies about its shape, or about a batch of rows",
            results,
        );
        registrar.add(
            "sluicegate_upstream_seconds",
            "From forwarding a command to the end of its results, without what the gate took",
            upstream,
        );
        self.families.register_more(registrar);
    }
}

impl Families {
    fn target(&self, labels: Spoken) -> TargetMetrics {
        let Spoken { target, protocol } = labels.clone();
        let name = Target { target: target.clone() };
        let moved = |direction| self.bytes.get_or_create_owned(&Moved { target: target.clone(), direction });
        TargetMetrics {
            open: self.open.get_or_create_owned(&labels),
            opened: self.opened.get_or_create_owned(&labels),
            commands: std::array::from_fn(|at| {
                let verdict = Verdict::ALL.get(at).copied().map_or("", Verdict::word);
                self.commands.get_or_create_owned(&Decided { target: target.clone(), protocol, verdict })
            }),
            refused_later: self.refused_later.clone(),
            gate: self.gate.get_or_create_owned(&name),
            results: self.results.get_or_create_owned(&name),
            upstream: self.upstream.get_or_create_owned(&name),
            failed: self.failed.get_or_create_owned(&name),
            rows: self.rows.get_or_create_owned(&name),
            masked: self.masked.get_or_create_owned(&name),
            to_target: moved("to-target"),
            to_client: moved("to-client"),
            dial: self.dial.get_or_create_owned(&name),
            dial_failures: self.dial_failures.clone(),
            labels,
        }
    }

    fn register_more(&self, registrar: &mut Registrar) {
        registrar.add("sluicegate_target_errors", "Commands that the target answered with an error", &self.failed);
        registrar.add("sluicegate_rows", "Rows that reached clients", &self.rows);
        registrar.add("sluicegate_masked_values", "Values that were masked", &self.masked);
        registrar.add("sluicegate_bytes", "Bytes that sessions moved", &self.bytes);
        registrar.add(
            "sluicegate_upstream_dial_seconds",
            "How long it took until a target was ready for a new session",
            &self.dial,
        );
        registrar.add(
            "sluicegate_upstream_dial_failures",
            "New sessions for which the target could not be used",
            &self.dial_failures,
        );
        registrar.add("sluicegate_connection_errors", "Connections that ended by an error", &self.connections);
        registrar.add("sluicegate_user_commands", "Commands that were forwarded for a user", &self.user_commands);
        registrar.add("sluicegate_user_gate_seconds", "What the gate added to a user's commands", &self.user_gate);
        registrar.add(
            "sluicegate_user_upstream_seconds",
            "How long a user's commands took once they were forwarded",
            &self.user_upstream,
        );
    }
}
