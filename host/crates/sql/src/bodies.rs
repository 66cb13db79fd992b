//! Reads the statements whose body runs later or was given earlier: PREPARE and EXECUTE, DECLARE and
//! FETCH.

use std::sync::Arc;

use sluicegate_core::sql::Classes;
use sqlparser::tokenizer::Token;

use crate::{
    analysis::{Analysis, Effect, Outputs, Statement},
    facts::Facts,
    lex::Kind,
    reader::Read,
    statement::{Session, is_query, is_readable},
    tokens::Tokens,
};

/// Words that say how a cursor is declared.
const CURSOR_OPTIONS: [&str; 5] = ["binary", "asensitive", "insensitive", "no", "scroll"];

/// Words that say which rows FETCH and MOVE mean.
const DIRECTIONS: [&str; 11] =
    ["next", "prior", "first", "last", "absolute", "relative", "forward", "backward", "all", "from", "in"];

impl Session<'_> {
    /// `PREPARE name [(types)] AS statement`.
    pub(crate) fn prepare(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let name = identifier(tokens, 1)?;
        let at = if tokens.is_symbol(2, "(") { tokens.after_bracket(2) } else { 2 };
        let body = tokens.from(at + 1);
        if !tokens.is_word(at, "as") || !is_readable(body) {
            return Err("PREPARE takes a query or a write after AS".to_owned());
        }
        facts.class(Classes::SESSION);
        let body = self.body(body.source(), facts)?;
        Ok(Statement { effect: Effect::Prepare { name, body }, ..Statement::new("prepare") })
    }

    /// `EXECUTE name [(values)]`.
    pub(crate) fn execute(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let name = identifier(tokens, 1)?;
        facts.class(Classes::SESSION);
        let prepared = self.prepared_body(&name).ok_or_else(|| format!("no prepared statement {name:?} is known"))?;
        let Some(source) = prepared.source.clone() else {
            return Err(format!("the text of the prepared statement {name:?} is not known"));
        };
        // The server reads a prepared statement again when the search path or a table has changed.
        let body = self.body(&source, facts)?;
        let Some(first) = body.statements.first() else { return Err("the prepared statement is empty".to_owned()) };
        let mut statement = Statement {
            outputs: first.outputs.clone(),
            catalog_changed: first.catalog_changed,
            settings_may_change: first.settings_may_change,
            names_may_change: first.names_may_change,
            sets: first.sets.clone(),
            ..Statement::new("execute")
        };
        if tokens.len() > 2 {
            let values = tokens.to(tokens.len() - 1).from(3);
            if !tokens.is_symbol(2, "(") || tokens.after_bracket(2) != tokens.len() {
                return Err("EXECUTE takes values in parentheses".to_owned());
            }
            let mut value_facts = Facts::default();
            let select = std::iter::once(Token::make_word("select", None)).chain(values.parsed()).collect();
            let values = self.parsed(select, &mut value_facts)?;
            statement.settings_may_change |= values.settings_may_change;
            statement.names_may_change |= values.names_may_change;
            self.include(facts, &value_facts.finish(1))?;
        }
        Ok(statement)
    }

    /// `DECLARE name [options] CURSOR [WITH | WITHOUT HOLD] FOR query`.
    pub(crate) fn declare(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let name = identifier(tokens, 1)?;
        let mut at = 2;
        while CURSOR_OPTIONS.iter().any(|option| tokens.is_word(at, option)) {
            at += 1;
        }
        let mut query = at + 1;
        if tokens.are_words(query, "with hold") || tokens.are_words(query, "without hold") {
            query += 2;
        }
        let body = tokens.from(query + 1);
        if !tokens.is_word(at, "cursor") || !tokens.is_word(query, "for") || !is_query(body) {
            return Err("DECLARE takes a query after CURSOR FOR".to_owned());
        }
        facts.class(Classes::SESSION);
        let body = self.body(body.source(), facts)?;
        let first = body.statements.first();
        let (settings_may_change, names_may_change) =
            first.map_or((true, true), |first| (first.settings_may_change, first.names_may_change));
        let effect = Effect::DeclareCursor { name, body };
        Ok(Statement { effect, settings_may_change, names_may_change, ..Statement::new("declare") })
    }

    /// `FETCH [direction] [FROM | IN] name`, and MOVE, which sends no rows.
    pub(crate) fn fetch(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let last = tokens.len() - 1;
        let name = identifier(tokens, last)?;
        let known = |at: usize| {
            DIRECTIONS.iter().any(|word| tokens.is_word(at, word))
                || tokens.kind(at) == Some(Kind::Number)
                || tokens.is_symbol(at, "-")
                || tokens.is_symbol(at, "+")
        };
        if last == 0 || !(1..last).all(known) {
            return Err("its direction is not known".to_owned());
        }
        facts.class(Classes::SESSION);
        let body = self.cursor_body(&name).ok_or_else(|| format!("no cursor {name:?} is known"))?;
        self.include(facts, &body.facts)?;
        let Some(first) = body.statements.first() else { return Err("the cursor's query is empty".to_owned()) };
        self.names.budget.list(first.outputs.size())?;
        let moves = tokens.is_word(0, "move");
        Ok(Statement {
            outputs: if moves { Outputs::None } else { first.outputs.clone() },
            settings_may_change: first.settings_may_change,
            names_may_change: first.names_may_change,
            sets: first.sets.clone(),
            ..Statement::new(if moves { "move" } else { "fetch" })
        })
    }

    /// Reads a body in the present state; one that is unanalysable makes its statement so.
    fn body(&self, source: &str, facts: &mut Facts) -> Read<Arc<Analysis>> {
        let body = self.analyser.body(source, self.names);
        match &body.facts.unanalysable {
            Some(reason) => Err(reason.clone()),
            None => {
                self.include(facts, &body.facts)?;
                Ok(body)
            }
        }
    }

    fn prepared_body(&self, wanted: &str) -> Option<Arc<Analysis>> {
        if !self.names_hold {
            return None;
        }
        for effect in self.effects.iter().rev() {
            match effect {
                Effect::Prepare { name, body } if name == wanted => return Some(body.clone()),
                Effect::Deallocate { name: None } | Effect::DiscardAll => return None,
                Effect::Deallocate { name: Some(name) } if name == wanted => return None,
                _ => {}
            }
        }
        self.prepared.get(wanted).cloned()
    }

    fn cursor_body(&self, wanted: &str) -> Option<Arc<Analysis>> {
        if !self.names_hold {
            return None;
        }
        for effect in self.effects.iter().rev() {
            match effect {
                Effect::DeclareCursor { name, body } if name == wanted => return Some(body.clone()),
                Effect::CloseCursor { name: None } | Effect::DiscardAll => return None,
                Effect::CloseCursor { name: Some(name) } if name == wanted => return None,
                _ => {}
            }
        }
        self.cursors.get(wanted).cloned()
    }
}

fn identifier(tokens: Tokens<'_>, at: usize) -> Read<String> {
    tokens.identifier(at).ok_or_else(|| "it lacks a name".to_owned())
}
