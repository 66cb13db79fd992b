//! What a session's policies allowed before. The contract says that equal events get equal answers, so a
//! policy need not be asked twice about what it cannot tell apart: the same facts, the same session. An
//! answer is kept only where the policy read nothing that differs from run to run (the text, its
//! parameters, its number), and neither counted nor logged; and only where it allowed, so that
//! whatever is refused or has to wait is asked anew each time.

use std::{collections::VecDeque, sync::Arc};

use sluicegate_core::{
    Command, ResultSchema,
    policy::{Opinion, ResultRuling, Ruling},
    sql::SqlFacts,
};

use crate::chain::Inspection;

/// How many commands of a session are kept; the one that came first goes first.
const MAX_COMMANDS: usize = 64;
/// How many shapes of results of each.
const MAX_RESULTS: usize = 4;

/// The answers of one session's chain.
#[derive(Default)]
pub(crate) struct Memory {
    commands: VecDeque<Known>,
}

struct Known {
    verb: &'static str,
    /// Held, so that its address is no other's.
    facts: Arc<SqlFacts>,
    normalized: Arc<str>,
    ruling: Option<Ruling>,
    results: Vec<KnownResult>,
}

#[derive(Clone)]
pub(crate) struct KnownResult {
    pub(crate) schema: Arc<ResultSchema>,
    pub(crate) ruling: ResultRuling,
    pub(crate) inspections: Arc<[Inspection]>,
}

impl Memory {
    /// What was ruled on a command like this one.
    pub(crate) fn ruling(&self, command: &Command) -> Option<Ruling> {
        self.find(command)?.ruling.clone()
    }

    /// What was ruled on a result of this shape of a command like this one.
    pub(crate) fn result(&self, command: &Command, schema: &Arc<ResultSchema>) -> Option<KnownResult> {
        let same = |known: &&KnownResult| Arc::ptr_eq(&known.schema, schema) || known.schema == *schema;
        self.find(command)?.results.iter().find(same).cloned()
    }

    pub(crate) fn keep_ruling(&mut self, command: &Command, ruling: &Ruling) {
        if ruling.denial.is_some() || !ruling.requirements.is_empty() {
            return;
        }
        if let Some(known) = self.place(command) {
            known.ruling = Some(Ruling { opinions: timeless(&ruling.opinions), ..Ruling::default() });
        }
    }

    pub(crate) fn keep_result(
        &mut self,
        command: &Command,
        schema: &Arc<ResultSchema>,
        ruling: &ResultRuling,
        inspections: &Arc<[Inspection]>,
    ) {
        if ruling.denial.is_some() {
            return;
        }
        if let Some(known) = self.place(command)
            && known.results.len() < MAX_RESULTS
        {
            let ruling = ResultRuling { denial: None, plan: ruling.plan.clone(), opinions: timeless(&ruling.opinions) };
            let (schema, inspections) = (Arc::clone(schema), Arc::clone(inspections));
            known.results.push(KnownResult { schema, ruling, inspections });
        }
    }

    fn find(&self, command: &Command) -> Option<&Known> {
        let facts = command.sql.as_ref()?;
        self.commands.iter().find(|known| known.is(command, facts))
    }

    fn place(&mut self, command: &Command) -> Option<&mut Known> {
        let facts = command.sql.as_ref()?;
        let at = self.commands.iter().position(|known| known.is(command, facts));
        if at.is_none() {
            if self.commands.len() >= MAX_COMMANDS {
                self.commands.pop_back();
            }
            let (facts, normalized) = (Arc::clone(facts), Arc::clone(&command.normalized));
            let new = Known { verb: command.verb, facts, normalized, ruling: None, results: Vec::new() };
            self.commands.push_front(new);
        }
        self.commands.get_mut(at.unwrap_or(0))
    }
}

impl Known {
    /// Analyses are shared, so the same facts are most often the same value; others are other facts.
    fn is(&self, command: &Command, facts: &Arc<SqlFacts>) -> bool {
        Arc::ptr_eq(&self.facts, facts)
            && Arc::ptr_eq(&self.normalized, &command.normalized)
            && self.verb == command.verb
    }
}

/// What is only remembered took no time.
fn timeless(opinions: &[Opinion]) -> Vec<Opinion> {
    opinions.iter().map(|opinion| Opinion { micros: 0, ..opinion.clone() }).collect()
}
