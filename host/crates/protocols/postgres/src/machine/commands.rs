//! Commands for the gate, and what their analysis says about the session.

use std::sync::Arc;

use sluicegate_core::{
    Command, Phase,
    command::Parameter,
    sql::{Classes, SqlFacts},
};
use sluicegate_sql::{Analysis, Direction};

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
