//! Commands for the gate, and what their analysis says about the session.

use std::{fmt::Write as _, sync::Arc};

use sluicegate_core::{
    Command, Phase,
    command::Parameter,
    record,
    sql::{Classes, SqlFacts},
};
use sluicegate_sql::{Analysis, Direction};

use super::Machine;

/// How many prepared statements and cursors are shown with the command that names them.
const MAX_SHOWN: usize = 4;
/// And how many bytes of each.
const MAX_SHOWN_BYTES: usize = 512;

impl Machine {
    /// What a command depends on beside its text and its parameters: settings, the types that the client
    /// gave the parameters, and what the prepared statements and cursors that it names stand for.
    pub(super) fn depends_on(&self, text: &str, analysis: &Analysis, types: &[u32]) -> Arc<str> {
        let settings = self.settings.summary();
        let by_name = |s: &sluicegate_sql::Statement| matches!(s.kind.as_str(), "execute" | "fetch" | "move");
        // UPDATE and DELETE ... WHERE CURRENT OF a cursor.
        let by_cursor = |s: &sluicegate_sql::Statement| {
            matches!(s.kind.as_str(), "update" | "delete")
                && text.as_bytes().windows(7).any(|word| word.eq_ignore_ascii_case(b"current"))
        };
        let names = analysis.statements.iter().any(|s| by_name(s) || by_cursor(s));
        if !names && types.iter().all(|oid| *oid == 0) {
            return settings;
        }
        let mut all = settings.to_string();
        for (at, oid) in types.iter().enumerate() {
            let _ = write!(all, "{} {oid}", if at == 0 { "; parameters of types" } else { "," });
        }
        if names {
            let lower = text.to_ascii_lowercase();
            let known = self.objects.prepared.iter().chain(&self.objects.cursors);
            let named = known.filter(|(name, _)| lower.contains(&name.to_ascii_lowercase()));
            for (name, body) in named.take(MAX_SHOWN) {
                let _ = write!(all, "; {name} is {}", record::cut(&body.normalized, MAX_SHOWN_BYTES).0);
            }
            let (count, session) = (self.objects.definitions(), self.gate.session().id);
            let _ = write!(all, "; names as after definition {count} of session {session}");
        }
        Arc::from(all)
    }
}

/// Whether what the catalog says may be different once it ran.
pub(super) fn changes_catalog(analysis: &Analysis) -> bool {
    let hidden = analysis.facts.classes.intersects(Classes::OPAQUE | Classes::UNANALYSABLE);
    hidden || analysis.statements.iter().any(|s| s.catalog_changed || s.names_may_change)
}

/// Whether there may be other functions, operators or casts once it ran.
pub(super) fn makes_code(analysis: &Analysis) -> bool {
    let hidden = analysis.facts.classes.intersects(Classes::OPAQUE | Classes::UNANALYSABLE);
    let makers = ["operator", "cast", "function", "procedure", "aggregate", "extension", "routine", "type", "domain"];
    let makes = |s: &sluicegate_sql::Statement| {
        s.names_may_change || s.catalog_changed && s.kind.split(' ').any(|word| makers.contains(&word))
    };
    hidden || analysis.statements.iter().any(makes)
}

/// Whether a statement is COPY ... TO STDOUT.
pub(super) fn copies_out(statement: &sluicegate_sql::Statement) -> bool {
    statement.copy.as_ref().is_some_and(|copy| copy.direction == Direction::Out && !copy.server_side)
}

/// A command about an analysed text. All of its parameters are here.
pub(super) fn sql_command(
    verb: &'static str,
    phase: Phase,
    text: Arc<str>,
    analysis: &Analysis,
    parameters: Vec<Parameter>,
    context: Arc<str>,
) -> Command {
    Command {
        verb,
        phase,
        text,
        normalized: Arc::clone(&analysis.normalized),
        resources: Vec::new(),
        parameters,
        whole: true,
        context,
        sql: Some(Arc::clone(&analysis.facts)),
    }
}

/// A command that nobody can look into.
pub(super) fn opaque_command(verb: &'static str, text: &str) -> Command {
    let facts = SqlFacts {
        classes: Classes::OPAQUE | Classes::UNANALYSABLE,
        kinds: vec![verb.to_owned()],
        reaches_unknown: true,
        unanalysable: Some(format!("a {verb} {text} cannot be analysed")),
        ..SqlFacts::default()
    };
    Command {
        verb,
        phase: Phase::Run,
        text: Arc::from(text),
        normalized: Arc::from(text),
        resources: Vec::new(),
        parameters: Vec::new(),
        whole: true,
        context: Arc::from(""),
        sql: Some(Arc::new(facts)),
    }
}
