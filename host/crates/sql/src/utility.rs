//! Recognises the statements that are neither queries nor writes by their leading keywords. It says what
//! they are and what they name; where they may do more than they name, it says so.

use sluicegate_core::sql::{Access, Classes};

use crate::{
    analysis::{Outputs, Statement},
    facts::Facts,
    functions, hazards,
    lex::Kind,
    names::Named,
    objects::{self, Object, Relations},
    reader::Read,
    settings::{discard, end_of_transaction, of, opaque, release, reset, set, show},
    statement::Session,
    tokens::Tokens,
};

/// Words between CREATE and the kind of object.
const CREATE_OPTIONS: [&str; 13] = [
    "or",
    "replace",
    "temp",
    "temporary",
    "global",
    "local",
    "unlogged",
    "recursive",
    "unique",
    "trusted",
    "procedural",
    "constraint",
    "default",
];

/// Words that may stand before a relation's name.
const BEFORE_NAME: [&str; 6] = ["table", "if", "not", "exists", "only", "concurrently"];

/// What GRANT ... ON and COMMENT ON name when it is no relation.
const NO_RELATION: [&str; 22] = [
    "all",
    "schema",
    "database",
    "domain",
    "foreign",
    "function",
    "procedure",
    "routine",
    "language",
    "large",
    "parameter",
    "tablespace",
    "type",
    "aggregate",
    "cast",
    "collation",
    "extension",
    "role",
    "operator",
    "constraint",
    "trigger",
    "policy",
];

impl Session<'_> {
    /// A statement by its leading keywords.
    pub(crate) fn utility(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let word = tokens.identifier(0).filter(|_| tokens.kind(0) == Some(Kind::Word)).unwrap_or_default();
        match word.as_str() {
            "create" | "alter" | "drop" => self.definition(&word, tokens, facts),
            "truncate" => self.truncate(tokens, facts),
            "comment" | "security" => self.comment(&word, tokens, facts),
            "grant" | "revoke" => self.grant(&word, tokens, facts),
            "lock" => self.named(tokens, 1, "lock table", Classes::TRANSACTION, Access::READ, facts),
            "vacuum" | "analyze" | "analyse" | "reindex" | "cluster" => self.maintenance(&word, tokens, facts),
            "refresh" if tokens.are_words(1, "materialized view") => {
                let access = Access::READ | Access::DEFINE;
                self.named(tokens, 3, "refresh materialized view", Classes::DDL, access, facts)
            }
            "call" => self.call(tokens, facts),
            _ => self.plain(&word, tokens, facts),
        }
    }

    /// Statements that name no relation.
    fn plain(&self, word: &str, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let next = tokens.identifier(1).unwrap_or_default();
        let statement = match (word, next.as_str()) {
            ("set", _) => set(tokens, facts),
            ("reset", _) => reset(tokens, facts),
            ("show", _) => show(tokens, facts),
            ("discard", _) => discard(&next, facts),
            ("deallocate" | "close", _) => release(word, tokens, facts)?,
            ("listen" | "unlisten" | "notify", _) => of(word, Classes::SESSION, facts),
            ("begin", _) => of("begin", Classes::TRANSACTION, facts),
            ("start", "transaction") => of("start transaction", Classes::TRANSACTION, facts),
            ("savepoint", _) => of("savepoint", Classes::TRANSACTION, facts),
            ("release", _) => of("release savepoint", Classes::TRANSACTION, facts),
            ("prepare" | "commit" | "end" | "rollback" | "abort", _) => end_of_transaction(word, tokens, facts),
            ("checkpoint", _) => of("checkpoint", Classes::ADMIN, facts),
            ("reassign", "owned") => of("reassign owned", Classes::ADMIN, facts),
            ("import", "foreign") => {
                Statement { catalog_changed: true, ..of("import foreign schema", Classes::DDL | Classes::ADMIN, facts) }
            }
            ("load", _) => opaque("load", Classes::ADMIN, facts),
            ("do", _) => opaque("do", Classes::empty(), facts),
            _ => return Err("it is not a statement that is known".to_owned()),
        };
        Ok(statement)
    }

    fn definition(&mut self, verb: &str, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let Some((object, at)) = object_at(tokens, verb) else {
            return Err(format!("{} what is not known", verb.to_uppercase()));
        };
        facts.class(object.classes);
        // Altering an extension may run its scripts.
        if object.code && (verb == "create" || verb == "alter" && object.name == "extension") {
            facts.class(Classes::OPAQUE);
            facts.reaches_unknown();
        }
        if object.name == "policy" || tokens.find_words(at, "cascade").is_some() {
            facts.reaches_unknown();
        }
        self.defined_relations(verb, object, tokens, at, facts);
        self.calls(tokens.from(at), facts);
        if verb == "alter" {
            self.alterations(object, tokens, at, facts)?;
        }
        if verb == "create" && object.name == "schema" {
            self.schema_elements(tokens, at, facts)?;
        }
        let kind = format!("{verb} {}", object.name);
        facts.kind(&kind);
        if verb != "drop" {
            hazards::values_that_are_kept(tokens)?;
        }
        Ok(Statement { catalog_changed: true, ..Statement::new(kind) })
    }

    fn defined_relations(&self, verb: &str, object: &Object, tokens: Tokens<'_>, at: usize, facts: &mut Facts) {
        let index = object.name == "index" && verb == "create";
        let start = match object.relations {
            Relations::None => return,
            Relations::Itself if index => tokens.find_words(at, "on").map(|on| on + 1),
            Relations::Itself => Some(at),
            Relations::After(word) => tokens.find_words(at, word).map(|word| word + 1),
        };
        let Some(start) = start else { return };
        if verb == "alter" && tokens.are_words(start, "all in tablespace") {
            facts.reaches_unknown();
            return;
        }
        let access = Access::DEFINE;
        self.relations(tokens, start, verb == "drop", access, facts);
        self.related(tokens, facts);
    }

    /// Relations that a table's definition refers to.
    fn related(&self, tokens: Tokens<'_>, facts: &mut Facts) {
        let words =
            ["references", "inherit", "inherits", "partition of", "attach partition", "detach partition", "like"];
        for at in 1..tokens.len() {
            let Some(word) = words.iter().find(|word| tokens.are_words(at, word)) else { continue };
            // Elsewhere LIKE is an operator.
            let clause = *word != "like" || tokens.is_symbol(at - 1, "(") || tokens.is_symbol(at - 1, ",");
            let start = at + word.split(' ').count();
            let start = start + usize::from(*word == "inherits");
            if clause {
                self.relations(tokens, start, *word == "inherits", Access::READ, facts);
            }
        }
    }

    /// The elements of CREATE SCHEMA, each a statement of its own.
    fn schema_elements(&mut self, tokens: Tokens<'_>, at: usize, facts: &mut Facts) -> Read<()> {
        let Some(start) = ["create", "grant"].iter().filter_map(|word| tokens.find_words(at, word)).min() else {
            return Ok(());
        };
        let next = ["create", "grant"].iter().filter_map(|word| tokens.find_words(start + 1, word)).min();
        let element = tokens.to(next.unwrap_or(tokens.len())).from(start);
        // Names in it belong to the new schema first.
        facts.reaches_unknown();
        let statement = self.element(element, facts)?;
        facts.kind(&statement.kind);
        self.schema_elements(tokens, next.unwrap_or(tokens.len()), facts)
    }

    fn truncate(&mut self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        if tokens.find_words(1, "cascade").is_some() {
            facts.reaches_unknown();
        }
        let statement = self.named(tokens, 1, "truncate", Classes::DDL, Access::TRUNCATE, facts)?;
        Ok(Statement { catalog_changed: false, ..statement })
    }

    /// A statement that lists relations.
    fn named(
        &self,
        tokens: Tokens<'_>,
        at: usize,
        kind: &str,
        classes: Classes,
        access: Access,
        facts: &mut Facts,
    ) -> Read<Statement> {
        if self.relations(tokens, at, true, access, facts) == 0 {
            return Err("it names no relation".to_owned());
        }
        let catalog_changed = classes.contains(Classes::DDL);
        Ok(Statement { catalog_changed, ..of(kind, classes, facts) })
    }

    fn comment(&self, word: &str, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let kind = if word == "comment" { "comment" } else { "security label" };
        let Some(on) = tokens.find_words(1, "on") else { return Err("it lacks ON".to_owned()) };
        let is = |objects: &[&str]| objects.iter().any(|object| tokens.are_words(on + 1, object));
        if is(&["column"]) {
            if let Ok((named, _)) = column_owner(tokens, on + 2) {
                self.names.note(facts, &named, Access::DEFINE);
            }
        } else if is(&["table", "view", "sequence", "index"]) {
            self.relations(tokens, on + 2, false, Access::DEFINE, facts);
        } else if is(&["materialized view", "foreign table"]) {
            self.relations(tokens, on + 3, false, Access::DEFINE, facts);
        }
        Ok(of(kind, Classes::DDL, facts))
    }

    fn grant(&self, word: &str, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        if let Some(on) = tokens.find_words(1, "on") {
            let other = NO_RELATION.iter().any(|object| tokens.is_word(on + 1, object));
            let sequence = usize::from(tokens.is_word(on + 1, "sequence"));
            if !other {
                self.relations(tokens, on + 1 + sequence, true, Access::DEFINE, facts);
            }
        }
        Ok(of(word, Classes::ADMIN, facts))
    }

    fn maintenance(&self, word: &str, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let mut at = 1;
        if tokens.is_symbol(at, "(") {
            at = tokens.after_bracket(at);
        }
        let options = ["full", "freeze", "verbose", "analyze", "analyse", "skip_locked"];
        while options.iter().any(|option| tokens.is_word(at, option)) {
            at += 1;
        }
        let whole = ["schema", "database", "system"].iter().any(|what| tokens.is_word(at, what));
        at += usize::from(word == "reindex" && (tokens.is_word(at, "index") || tokens.is_word(at, "table")));
        if at < tokens.len() && !(word == "reindex" && whole) {
            self.relations(tokens, at, true, Access::READ, facts);
        }
        Ok(of(if word == "analyse" { "analyze" } else { word }, Classes::ADMIN, facts))
    }

    fn call(&self, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
        let (named, _) = name(tokens, 1)?;
        facts.function(named.schema.as_deref().unwrap_or_default(), &named.name, false);
        Ok(Statement { outputs: Outputs::Unknown, ..opaque("call", Classes::empty(), facts) })
    }

    /// Notes the relation named at `at`, or the list of them, and says how many there are.
    fn relations(&self, tokens: Tokens<'_>, at: usize, list: bool, access: Access, facts: &mut Facts) -> usize {
        let mut at = at;
        let mut found = 0;
        loop {
            at = skip_before_name(tokens, at);
            let Ok((named, next)) = name(tokens, at) else { return found };
            self.names.note(facts, &named, access);
            found += 1;
            at = next + usize::from(tokens.is_symbol(next, "*"));
            if tokens.is_symbol(at, "(") {
                at = tokens.after_bracket(at);
            }
            if !list || !tokens.is_symbol(at, ",") {
                return found;
            }
            at += 1;
        }
    }

    /// Functions that a definition calls: what stands before a parenthesis and is a function by the
    /// catalog. Keywords, types and the object's own name look the same.
    fn calls(&self, tokens: Tokens<'_>, facts: &mut Facts) {
        for at in 0..tokens.len() {
            if !tokens.is_symbol(at + 1, "(") {
                continue;
            }
            let Some(function) = tokens.identifier(at) else { continue };
            let schema = if at >= 2 && tokens.is_symbol(at - 1, ".") { tokens.identifier(at - 2) } else { None };
            let builtin = self.names.is_builtin_function(schema.as_deref(), &function);
            if builtin && functions::is_indirect(&function) || !self.names.is_plain_name(&function) {
                facts.reaches_unknown();
            }
            if builtin || self.names.catalog.is_user_function(&function) {
                facts.function(schema.as_deref().unwrap_or_default(), &function, builtin);
            }
        }
    }
}

/// The kind of object that a CREATE names, and where its name starts.
pub(crate) fn created(tokens: Tokens<'_>) -> Option<(usize, &'static str)> {
    object_at(tokens, "create").map(|(object, at)| (at, object.name))
}

/// The index after the IF NOT EXISTS and its like that may stand before a name.
pub(crate) fn skip_if_exists(tokens: Tokens<'_>, at: usize) -> usize {
    ["if not exists", "if exists"]
        .iter()
        .find(|words| tokens.are_words(at, words))
        .map_or(at, |words| at + words.split(' ').count())
}

/// A relation's name, and the index after it.
pub(crate) fn name(tokens: Tokens<'_>, at: usize) -> Read<(Named, usize)> {
    let (mut parts, next) = parts(tokens, at)?;
    let name = parts.pop().unwrap_or_default();
    Ok((Named { schema: parts.pop(), name }, next))
}

/// The relation of a column's name, and the index after it.
fn column_owner(tokens: Tokens<'_>, at: usize) -> Read<(Named, usize)> {
    let (mut parts, next) = parts(tokens, at)?;
    parts.pop();
    let name = parts.pop().ok_or("a column's name lacks its relation")?;
    Ok((Named { schema: parts.pop(), name }, next))
}

fn parts(tokens: Tokens<'_>, mut at: usize) -> Read<(Vec<String>, usize)> {
    let missing = || "a name is missing".to_owned();
    let mut parts = vec![tokens.identifier(at).ok_or_else(missing)?];
    while tokens.is_symbol(at + 1, ".") {
        at += 2;
        parts.push(tokens.identifier(at).ok_or_else(missing)?);
    }
    Ok((parts, at + 1))
}

pub(crate) fn skip_before_name(tokens: Tokens<'_>, mut at: usize) -> usize {
    while BEFORE_NAME.iter().any(|word| tokens.is_word(at, word)) {
        at += 1;
    }
    at
}

fn object_at(tokens: Tokens<'_>, verb: &str) -> Option<(&'static Object, usize)> {
    let mut at = 1;
    while verb == "create" && CREATE_OPTIONS.iter().any(|option| tokens.is_word(at, option)) {
        at += 1;
    }
    let object = objects::find(|name| tokens.are_words(at, name))?;
    Some((object, at + object.name.split(' ').count()))
}
