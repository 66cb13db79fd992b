//! One session's policies behind core's port: commands go to the newest generation, and a command's
//! results to the one that decided it.

use std::sync::Arc;

use sluicegate_core::{
    Batch, Command, Denial, DenialKind, ResultSchema, Session,
    policy::{Flight, PolicySession, ResultRuling, RowsRuling, Ruling},
};

use crate::{
    chain::{Chain, Inspection, SessionChain},
    host::Shared,
    instance::Numbered,
};

/// The policies of one session.
pub(crate) struct Policies {
    shared: Arc<Shared>,
    session: Arc<Session>,
    /// The generation that `current` was taken from.
    generation: u64,
    /// None where the engine was never told about the target.
    current: Option<Arc<SessionChain>>,
    /// Set where a policy that came to govern the open session refuses it.
    refusal: Option<Ruling>,
}

impl Policies {
    pub(crate) fn new(shared: Arc<Shared>, session: Arc<Session>) -> Self {
        let generation = shared.generation.load();
        let mut policies =
            Self { shared: Arc::clone(&shared), session, generation: generation.id, current: None, refusal: None };
        policies.current = generation.chains.get(&*policies.session.target).map(|chain| policies.start(chain));
        policies
    }

    fn start(&self, chain: &Arc<Chain>) -> Arc<SessionChain> {
        let (runtime, session) = (Arc::clone(&self.shared.runtime), Arc::clone(&self.session));
        Arc::new(SessionChain::new(Arc::clone(chain), runtime, session))
    }

    /// Moves to the newest generation, in which the target's chain may be the same. Policies that
    /// come to govern the open session are asked about it now.
    fn refresh(&mut self) {
        let generation = self.shared.generation.load();
        if generation.id == self.generation {
            return;
        }
        self.generation = generation.id;
        let newest = generation.chains.get(&*self.session.target);
        if let (Some(newest), Some(current)) = (newest, &self.current)
            && Arc::ptr_eq(newest, &current.chain)
        {
            return;
        }
        let before = self.current.take();
        // After a refusal all are asked: the one that refused may govern the session still.
        let known = before.as_deref().filter(|_| self.refusal.is_none()).map(|before| &*before.chain);
        self.refusal = None;
        if let Some(newest) = newest {
            let next = self.start(newest);
            self.refusal = Some(next.opened(known)).filter(|ruling| ruling.denial.is_some());
            self.current = Some(next);
        }
    }
}

impl PolicySession for Policies {
    fn may_mask(&self) -> bool {
        // The chain that decided last, and the one that decides next; without a chain, yes.
        if self.current.as_ref().is_none_or(|current| current.chain.may_mask()) {
            return true;
        }
        let generation = self.shared.generation.load();
        generation.id != self.generation
            && generation.chains.get(&*self.session.target).is_none_or(|newest| newest.may_mask())
    }

    fn decides_commands(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.chain.decides_commands())
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn is_outdated(&self) -> bool {
        let generation = self.shared.generation.load();
        if generation.id == self.generation {
            return false;
        }
        match (generation.chains.get(&*self.session.target), &self.current) {
            (Some(newest), Some(current)) => !Arc::ptr_eq(newest, &current.chain),
            (newest, current) => newest.is_some() != current.is_some(),
        }
    }

    fn governing(&self) -> Vec<(String, String)> {
        let Some(current) = &self.current else { return Vec::new() };
        current.chain.links.iter().map(|link| (link.module_name.to_string(), link.digest().to_owned())).collect()
    }

    fn opened(&mut self) -> Ruling {
        match &self.current {
            Some(current) => current.opened(None),
            None => unknown_target(),
        }
    }

    fn command(&mut self, sequence: u64, command: &Arc<Command>) -> (Ruling, Box<dyn Flight>) {
        self.refresh();
        let command = Numbered { sequence, command: Arc::clone(command) };
        let ruling = match (&self.current, &self.refusal) {
            (_, Some(refusal)) => refusal.clone(),
            (Some(current), None) => current.command(&command),
            (None, None) => unknown_target(),
        };
        let flight =
            Results { chain: self.current.clone(), command, schema: Arc::default(), inspections: Arc::default() };
        (ruling, Box::new(flight))
    }

    fn rest(&mut self) {
        if let Some(current) = &self.current {
            current.rest();
        }
    }

    fn closed(&mut self) {
        if let Some(current) = &self.current {
            current.closed();
        }
    }
}

/// One command's results.
struct Results {
    chain: Option<Arc<SessionChain>>,
    command: Numbered,
    schema: Arc<ResultSchema>,
    inspections: Arc<[Inspection]>,
}

impl Flight for Results {
    fn sees_results(&self) -> bool {
        self.chain.as_ref().is_none_or(|current| current.chain.sees_results(&self.command.command))
    }

    fn result(&mut self, schema: &Arc<ResultSchema>) -> ResultRuling {
        let Some(chain) = &self.chain else {
            return ResultRuling { denial: unknown_target().denial, ..ResultRuling::default() };
        };
        self.schema = Arc::clone(schema);
        let (ruling, inspections) = chain.result(&self.command, schema);
        self.inspections = inspections;
        ruling
    }

    fn rows(&mut self, batch: &Arc<Batch>) -> RowsRuling {
        match &self.chain {
            Some(chain) if !self.inspections.is_empty() => chain.rows(&self.schema, batch, &self.inspections),
            _ => RowsRuling::default(),
        }
    }
}

fn unknown_target() -> Ruling {
    let reason = "the target is no longer configured, so no policy can decide about it";
    let denial = Denial::of(DenialKind::PolicyFailure, reason);
    Ruling { denial: Some(denial), ..Ruling::default() }
}
