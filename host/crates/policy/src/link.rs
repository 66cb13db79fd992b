//! One policy bound to one target: what it is asked about, and what is to be said in its place when
//! it cannot answer.

use std::{sync::Arc, time::Instant};

use sluicegate_core::{
    Command,
    policy::{Binding, Mode, Opinion},
    sql::Classes,
};
use sluicegate_metrics::PolicyEvent;

use crate::{
    contract::exports::sluicegate::policy::guest::{Events, Interests},
    instance::{CallError, Instance},
    module::Module,
    quarantine::Quarantine,
    runtime::Runtime,
    saying::{Asked, Failure, Saying, Source},
    voice::Voice,
};

/// One binding of the generation in force.
pub(crate) struct Link {
    pub(crate) module_name: Arc<str>,
    /// The module's; empty where there is none.
    digest: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) settings: String,
    pub(crate) matcher: Matcher,
    pub(crate) code: Code,
    pub(crate) voice: Arc<Voice>,
    pub(crate) quarantine: Quarantine,
}

/// What runs, or why nothing does.
pub(crate) enum Code {
    Ready(Arc<Module>),
    Broken(String),
}

/// Which events a binding is asked about; reading it allocates nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matcher {
    pub(crate) opened: bool,
    pub(crate) command: bool,
    pub(crate) result: bool,
    pub(crate) closed: bool,
    /// Whether it may mask or inspect what results hold.
    pub(crate) masks: bool,
    classes: Classes,
}

impl Link {
    pub(crate) fn ready(binding: &Binding, matcher: Matcher, module: Arc<Module>, voice: Arc<Voice>) -> Self {
        Self::new(binding, matcher, Code::Ready(module), voice)
    }

    /// A binding without a policy: it is asked about every command and refuses each. What the policy
    /// would mask is not known, so it counts as one that masks.
    pub(crate) fn broken(binding: &Binding, reason: String, voice: Arc<Voice>) -> Self {
        Self::new(binding, Matcher::without_policy(), Code::Broken(reason), voice)
    }

    fn new(binding: &Binding, matcher: Matcher, code: Code, voice: Arc<Voice>) -> Self {
        Self {
            module_name: binding.module.as_str().into(),
            digest: match &code {
                Code::Ready(module) => module.digest.as_str().into(),
                Code::Broken(_) => Arc::default(),
            },
            mode: binding.mode,
            settings: settings_text(binding),
            matcher,
            code,
            voice,
            quarantine: Quarantine::new(),
        }
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// Asks the policy, in the session's instance of it, which is started if there is none. An
    /// instance that failed is gone afterwards.
    pub(crate) fn ask<T>(
        &self,
        about: PolicyEvent,
        runtime: &Runtime,
        slot: &mut Option<Instance>,
        prepare: impl FnOnce(&mut Instance),
        event: impl FnOnce(&mut Instance) -> Result<T, CallError>,
    ) -> Asked<T> {
        let start = Instant::now();
        let answer = self.answer(runtime, slot, prepare, event);
        let mut answered = slot.as_mut().filter(|_| answer.is_ok());
        let varies = answered.as_ref().is_none_or(|instance| instance.varies());
        let rule = answered.as_mut().and_then(|instance| instance.take_cited());
        let took = start.elapsed();
        self.voice.metrics.called(about, took);
        Asked { answer, source: Source::new(rule, took, varies) }
    }

    fn answer<T>(
        &self,
        runtime: &Runtime,
        slot: &mut Option<Instance>,
        prepare: impl FnOnce(&mut Instance),
        event: impl FnOnce(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, Failure> {
        let module = match &self.code {
            Code::Ready(module) => module,
            Code::Broken(reason) => return Err(Failure { reason: format!("the policy is not in force: {reason}") }),
        };
        if let Some(left) = self.quarantine.remaining() {
            let seconds = left.as_secs() + 1;
            let reason =
                format!("the policy failed too often and is not asked for the next {seconds} s; until then it blocks");
            return Err(Failure { reason });
        }
        let answer = self.started(runtime, module, slot, prepare).and_then(event);
        match answer {
            Ok(answer) => {
                self.quarantine.succeeded();
                Ok(answer)
            }
            Err(error) => {
                *slot = None;
                Err(self.failed(&error))
            }
        }
    }

    fn started<'a>(
        &self,
        runtime: &Runtime,
        module: &Module,
        slot: &'a mut Option<Instance>,
        prepare: impl FnOnce(&mut Instance),
    ) -> Result<&'a mut Instance, CallError> {
        match slot {
            Some(instance) => Ok(instance),
            None => {
                self.voice.metrics.started();
                let mut instance = Instance::start(runtime, &module.pre, Arc::clone(&self.voice))?;
                instance.configure(&self.settings)?;
                // By what the session's record and error texts went by, whatever this instance answered.
                instance.let_mask(self.matcher.masks);
                prepare(&mut instance);
                Ok(slot.insert(instance))
            }
        }
    }

    fn failed(&self, error: &CallError) -> Failure {
        let reason = format!("the policy failed: {error}");
        tracing::warn!(policy = &*self.module_name, digest = self.digest(), mode = ?self.mode, reason, "a policy failed");
        let quarantined = self.quarantine.failed();
        self.voice.metrics.failed(quarantined.is_some());
        if let Some(back_off) = quarantined {
            tracing::error!(
                policy = &*self.module_name,
                digest = self.digest(),
                seconds = back_off.as_secs(),
                "a policy fails too often; it is not asked for a while, and what it would decide is blocked"
            );
        }
        Failure { reason }
    }

    pub(crate) fn opinion(&self, saying: Saying, source: Source) -> Opinion {
        Opinion {
            policy: Arc::clone(&self.module_name),
            digest: Arc::clone(&self.digest),
            mode: self.mode,
            said: saying.said.into(),
            reason: saying.reason,
            rule: source.rule,
            micros: source.micros,
        }
    }
}

impl Matcher {
    pub(crate) fn new(interests: &Interests, protocol: &str) -> Self {
        let speaks = interests.protocols.is_empty() || interests.protocols.iter().any(|p| p == protocol);
        let wants = |event| speaks && interests.events.contains(event);
        let mut classes = Classes::from(interests.sql_classes);
        if !classes.is_empty() {
            classes |= Classes::UNANALYSABLE;
        }
        Self {
            opened: wants(Events::SESSION_OPENED),
            command: wants(Events::COMMAND),
            result: wants(Events::RESULT),
            closed: wants(Events::SESSION_CLOSED),
            masks: interests.masks && wants(Events::RESULT),
            classes,
        }
    }

    fn without_policy() -> Self {
        Self { opened: false, command: true, result: true, closed: false, masks: true, classes: Classes::empty() }
    }

    /// Whether commands like this one concern the binding at all.
    pub(crate) fn covers(&self, command: &Command) -> bool {
        match &command.sql {
            Some(facts) if !self.classes.is_empty() => facts.classes.intersects(self.classes),
            _ => true,
        }
    }
}

/// What `configure` receives.
pub(crate) fn settings_text(binding: &Binding) -> String {
    binding.settings.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::sluicegate::policy::sql;
    use sluicegate_core::{Phase, sql::SqlFacts};

    fn command(classes: Option<Classes>) -> Command {
        Command {
            verb: "query",
            phase: Phase::Run,
            text: "".into(),
            normalized: "".into(),
            resources: Vec::new(),
            parameters: Vec::new(),
            wire: Default::default(),
            whole: true,
            context: Default::default(),
            sql: classes.map(|classes| Arc::new(SqlFacts { classes, ..SqlFacts::default() })),
        }
    }

    fn matcher(protocols: &[&str], classes: sql::Classes) -> Matcher {
        let protocols = protocols.iter().map(|p| (*p).to_owned()).collect();
        Matcher::new(
            &Interests { events: Events::COMMAND | Events::RESULT, protocols, sql_classes: classes, masks: true },
            "postgres",
        )
    }

    #[test]
    fn classes_narrow_sql_commands_and_nothing_else() {
        let dml = matcher(&[], sql::Classes::DML);
        assert!(dml.covers(&command(Some(Classes::DML | Classes::READ))));
        assert!(!dml.covers(&command(Some(Classes::READ))));
        assert!(dml.covers(&command(Some(Classes::UNANALYSABLE))));
        assert!(dml.covers(&command(None)));
        assert!(matcher(&[], sql::Classes::empty()).covers(&command(Some(Classes::READ))));
    }

    #[test]
    fn a_policy_for_other_protocols_wants_nothing() {
        let other = matcher(&["http"], sql::Classes::empty());
        assert!(!other.command && !other.result && !other.masks);
        let ours = matcher(&["http", "postgres"], sql::Classes::empty());
        assert!(ours.command && ours.result && ours.masks);
    }

    #[test]
    fn a_policy_that_wants_no_results_masks_nothing() {
        let interests = Interests {
            events: Events::COMMAND,
            protocols: Vec::new(),
            sql_classes: sql::Classes::empty(),
            masks: true,
        };
        assert!(!Matcher::new(&interests, "postgres").masks);
    }
}
