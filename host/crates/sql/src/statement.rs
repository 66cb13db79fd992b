//! Reads one statement of a text: sends it to the reader of its kind by its leading keyword.

use std::{collections::HashMap, sync::Arc};

use sluicegate_core::{
    result::Resolution,
    sql::{Access, Classes, SqlFacts},
};
use sqlparser::{
    ast::{SetExpr, Statement as Tree},
    tokenizer::Token,
};

use crate::{
    analyser::Analyser,
    analysis::{Analysis, Effect, Output, Outputs, Statement},
    facts::Facts,
    hazards,
    lex::Kind,
    names::Names,
    reader::{Read, Reader},
    scope::{Columns, Scope},
    sets::Sets,
    tokens::Tokens,
};

/// Statements that a query can be, by their first word.
const QUERIES: [&str; 5] = ["select", "values", "with", "table", "("];

/// Statements that sqlparser reads, by their first word.
const READABLE: [&str; 9] = ["select", "values", "with", "table", "(", "insert", "update", "delete", "merge"];

/// Statements that name functions and run none, by their first word.
const MENTIONS: [&str; 5] = ["grant", "revoke", "comment", "security", "drop"];

/// The state in which the statements of a text are read, one after the other.
#[derive(Debug)]
pub struct Session<'a> {
    /// Reads the bodies of prepared statements and cursors.
    pub analyser: &'a Analyser,
    /// How names are looked up.
    pub names: Names<'a>,
    /// Prepared statements before the text.
    pub prepared: &'a HashMap<String, Arc<Analysis>>,
    /// Cursors before the text.
    pub cursors: &'a HashMap<String, Arc<Analysis>>,
    /// What earlier statements of the text did to both.
    pub effects: Vec<Effect>,
    /// False once an earlier statement of the text may have changed both unseen.
    pub names_hold: bool,
}

impl Statement {
    /// A statement of this name that has no other effect.
    pub(crate) fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            effect: Effect::None,
            outputs: Outputs::None,
            copy: None,
            catalog_changed: false,
            settings_may_change: false,
            names_may_change: false,
            sets: Sets::None,
        }
    }
}

impl<'a> Session<'a> {
    /// Reads the next statement of the text. It never fails: what cannot be analysed is a fact.
    pub fn statement(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Statement {
        let mut statement = self.read(tokens, facts).unwrap_or_else(|reason| {
            let kind = tokens.identifier(0).unwrap_or_default();
            facts.unanalysable(format!("a statement ({}) cannot be analysed: {reason}", describe(&kind)));
            Statement {
                outputs: Outputs::Unknown,
                catalog_changed: true,
                settings_may_change: true,
                names_may_change: true,
                ..Statement::new(kind)
            }
        });
        statement.sets = statement.sets.and(Sets::of(tokens));
        facts.kind(&statement.kind);
        self.names.path_holds &= !statement.settings_may_change;
        self.names.catalog_holds &= !statement.catalog_changed;
        self.names_hold &= !statement.names_may_change;
        self.effects.push(statement.effect.clone());
        statement
    }

    fn read(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        if !starts_with(tokens, &MENTIONS) {
            hazards::sql_that_is_run(tokens)?;
        }
        if starts_with(tokens, &READABLE) {
            return self.tree(tokens, facts);
        }
        let word = tokens.identifier(0).filter(|_| tokens.kind(0) == Some(Kind::Word)).unwrap_or_default();
        match word.as_str() {
            "explain" => self.explain(tokens, facts),
            "prepare" if !tokens.is_word(1, "transaction") => self.prepare(tokens, facts),
            "execute" => self.execute(tokens, facts),
            "declare" => self.declare(tokens, facts),
            "fetch" | "move" => self.fetch(tokens, facts),
            "copy" => self.copy(tokens, facts),
            "create" => self.create(tokens, facts),
            _ => self.utility(tokens, facts),
        }
    }

    /// A statement within CREATE SCHEMA.
    pub(crate) fn element(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        if tokens.is_word(0, "create") { self.create(tokens, facts) } else { self.utility(tokens, facts) }
    }

    /// A query or a write.
    pub(crate) fn tree(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let parsed = match tokens.is_word(0, "table") {
            true => {
                let start = [Token::make_word("select", None), Token::Mul, Token::make_word("from", None)];
                start.into_iter().chain(tokens.from(1).parsed()).collect()
            }
            false => tokens.parsed(),
        };
        self.parsed(parsed, facts)
    }

    /// A query or a write as sqlparser's tokens.
    pub(crate) fn parsed(&mut self, tokens: Vec<Token>, facts: &mut Facts) -> Read<Statement> {
        let mut reader = Reader::new(self.names, facts);
        let limits = self.analyser.limits();
        let (kind, columns) = reader.with_tree(tokens, limits, |reader, tree| {
            let scope = Scope::top();
            match tree {
                Tree::Query(query) => {
                    let kind = kind_of(&query.body);
                    if kind == "values" {
                        reader.facts.class(Classes::READ);
                    }
                    Ok((kind, reader.query(query, &scope, sluicegate_core::sql::Usage::OUTPUT)?))
                }
                Tree::Insert(_) => Ok(("insert", reader.write(tree, &scope)?)),
                Tree::Update(_) => Ok(("update", reader.write(tree, &scope)?)),
                Tree::Delete(_) => Ok(("delete", reader.write(tree, &scope)?)),
                Tree::Merge(_) => Ok(("merge", reader.write(tree, &scope)?)),
                _ => Err("it is neither a query nor a write".to_owned()),
            }
        })?;
        let Reader { settings_may_change, unknown_code: names_may_change, catalog_changed, .. } = reader;
        let settings_may_change = settings_may_change || names_may_change;
        let outputs = match columns {
            // SELECT INTO keeps its rows.
            _ if catalog_changed => Outputs::None,
            Columns::Listed(columns) if columns.is_empty() => Outputs::None,
            Columns::Listed(columns) => Outputs::Aligned(columns.into_iter().map(|column| column.output).collect()),
            Columns::Relation(_) | Columns::Unknown => Outputs::Unknown,
        };
        Ok(Statement { outputs, catalog_changed, settings_may_change, names_may_change, ..Statement::new(kind) })
    }

    /// Adds what a part of the statement, or a body that it runs, was found to do.
    pub(crate) fn include(&self, facts: &mut Facts, found: &SqlFacts) -> Read<()> {
        self.names.budget.list(found.reachable_columns.len() + found.columns.len() + found.relations.len())?;
        facts.include(found);
        Ok(())
    }

    fn explain(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let mut at = 1;
        if tokens.is_symbol(1, "(") && !starts_with(tokens.from(2), &QUERIES) {
            at = tokens.after_bracket(1);
        } else {
            for word in ["analyze", "analyse", "verbose"] {
                at += usize::from(tokens.is_word(at, word));
            }
        }
        let inner = tokens.from(at);
        let plannable = ["execute", "declare", "create", "refresh"];
        if !starts_with(inner, &READABLE) && !starts_with(inner, &plannable) {
            return Err("EXPLAIN takes no such statement".to_owned());
        }
        let mut inner_facts = Facts::default();
        let statement = self.read(inner, &mut inner_facts)?;
        inner_facts.kind("explain");
        inner_facts.kind(&statement.kind);
        inner_facts.class(Classes::READ);
        // A plan shows constants, also those that a function gave while it was planned.
        let resolution = if inner_facts.may_reach_unknown() { Resolution::Unresolved } else { Resolution::Computed };
        self.include(facts, &inner_facts.finish(1))?;
        let outputs = Outputs::Aligned(vec![Output { resolution, sources: Vec::new() }]);
        Ok(Statement { effect: Effect::None, outputs, copy: None, kind: "explain".to_owned(), ..statement })
    }

    /// CREATE: those that hold a query here, the others by their leading keywords.
    fn create(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let object = crate::utility::created(tokens);
        let (at, kind) = match object {
            Some((at, "table")) => (at, "create table as"),
            Some((at, "materialized view")) => (at, "create materialized view"),
            Some((at, "view")) => (at, "create view"),
            _ => return self.utility(tokens, facts),
        };
        let Some(query) = tokens.find_words(at, "as") else { return self.utility(tokens, facts) };
        let (named, _) = crate::utility::name(tokens, crate::utility::skip_if_exists(tokens, at))?;
        self.names.note(facts, &named, Access::DEFINE);
        facts.class(Classes::DDL);
        hazards::values_that_are_kept(tokens).inspect_err(|_| facts.kind(kind))?;
        let body = without_suffix(tokens.from(query + 1));
        let mut body_facts = Facts::default();
        let body = if body.is_word(0, "execute") {
            self.execute(body, &mut body_facts)
        } else {
            self.tree(body, &mut body_facts)
        };
        let mut body_facts = match (&body, kind) {
            (Ok(body), _) => {
                body_facts.kind(&body.kind);
                body_facts.finish(1)
            }
            (Err(reason), "create view") => {
                tracing::debug!(reason, "a view's query could not be read");
                facts.class(Classes::OPAQUE);
                facts.reaches_unknown();
                body_facts.finish(1)
            }
            (Err(reason), _) => return Err(reason.clone()),
        };
        if kind == "create view" {
            // It names what it will read, and reads nothing now.
            body_facts.kinds.clear();
            body_facts.classes = Classes::empty();
        }
        self.include(facts, &body_facts)?;
        let settings_may_change = kind != "create view" && body.is_ok_and(|body| body.settings_may_change);
        Ok(Statement {
            catalog_changed: true,
            settings_may_change,
            names_may_change: settings_may_change,
            ..Statement::new(kind)
        })
    }
}

/// Whether the first token is one of these.
pub(crate) fn starts_with(tokens: Tokens<'_>, words: &[&str]) -> bool {
    words.iter().any(|word| tokens.is_word(0, word) || tokens.is_symbol(0, word))
}

/// Whether these tokens are a query or a write, by their first.
pub(crate) fn is_readable(tokens: Tokens<'_>) -> bool {
    starts_with(tokens, &READABLE)
}

/// Whether these tokens are a query, by their first.
pub(crate) fn is_query(tokens: Tokens<'_>) -> bool {
    starts_with(tokens, &QUERIES)
}

/// A query without the WITH [NO] DATA or WITH CHECK OPTION after it.
fn without_suffix(tokens: Tokens<'_>) -> Tokens<'_> {
    let suffixes =
        ["with data", "with no data", "with check option", "with cascaded check option", "with local check option"];
    let found = suffixes.iter().find_map(|suffix| {
        let start = tokens.len().checked_sub(suffix.split(' ').count())?;
        tokens.are_words(start, suffix).then_some(start)
    });
    found.map_or(tokens, |start| tokens.to(start))
}

fn kind_of(body: &SetExpr) -> &'static str {
    match body {
        SetExpr::Insert(_) => "insert",
        SetExpr::Update(_) => "update",
        SetExpr::Delete(_) => "delete",
        SetExpr::Merge(_) => "merge",
        SetExpr::Values(_) => "values",
        _ => "select",
    }
}

fn describe(kind: &str) -> String {
    if kind.is_empty() { "without a keyword".to_owned() } else { kind.to_uppercase() }
}
