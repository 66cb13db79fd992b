//! Commands for the gate, and what their analysis says about the session.

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use sluicegate_core::{
    Command, Denial, Phase, RelationName,
    command::{Context, Parameter},
    record,
    sql::{Classes, SqlFacts},
};
use sluicegate_sql::{Analysis, Catalog, Direction};

use super::{Machine, describe::format_of, objects::Prepared, surroundings::shortened};
use crate::{
    catalog::{Known, short_hash},
    codec::{
        message::{self, Bind},
        value::{self, FieldType, Format, Rendered},
    },
};

/// How many prepared statements and cursors are shown with the command that names them.
const MAX_SHOWN: usize = 16;
/// And how many bytes of each.
const MAX_SHOWN_BYTES: usize = 2048;
/// The longest name, in bytes (`NAMEDATALEN` less one): what is longer is cut by the server.
const MAX_NAME: usize = 63;

impl Machine {
    /// The command that a Bind makes; without the message itself where that is too large.
    pub(super) async fn bind_command(
        &mut self,
        prepared: &Prepared,
        bind: Option<&Bind<'_>>,
        wire: Bytes,
    ) -> Result<(Command, Arc<Analysis>), Denial> {
        let (text, analysis) = self.understand_again("execute", prepared).await?;
        let parameters = bind.map_or_else(Vec::new, |bind| self.bound(bind, prepared));
        let context = self.depends_on(&analysis, &prepared.chosen_types);
        let mut command = sql_command("execute", Phase::Run, text, &analysis, parameters, context);
        command.whole &= bind.is_some();
        command.wire = wire;
        Ok((command, analysis))
    }

    /// The parameters of a Bind as policies and the record see them.
    fn bound(&self, bind: &Bind<'_>, prepared: &Prepared) -> Vec<Parameter> {
        let types = prepared.types.get().unwrap_or(&prepared.chosen_types);
        let render = |(index, value): (usize, &Option<&[u8]>)| {
            let Some(value) = value else { return Parameter::Null };
            let format = format_of(message::format_code(&bind.formats, index));
            let oid = types.get(index).copied().unwrap_or(0);
            if format == Format::Binary && oid == 0 {
                return Parameter::Opaque(Arc::from(*value));
            }
            let mut text = Vec::new();
            let rendered = value::render(value, FieldType { oid, typmod: -1 }, format, &mut text);
            match String::from_utf8(text) {
                Ok(text) if rendered == Rendered::Text && self.settings.can_read(&text) => {
                    Parameter::Text(Arc::from(text))
                }
                _ => Parameter::Opaque(Arc::from(*value)),
            }
        };
        bind.values.iter().enumerate().map(render).collect()
    }

    /// What a command depends on beside its text and its parameters, and whether all of that can be shown:
    /// settings, the types that the client gave the parameters, what the prepared statements and cursors
    /// that it names stand for, the code and the names of the target, and which target it is.
    pub(super) fn depends_on(&self, analysis: &Analysis, types: &[u32]) -> (Context, bool) {
        let settings = self.settings.summary();
        if !self.gate.is_governed() {
            return (Context::later(move || settings.to_string()), true);
        }
        let types = if types.iter().any(|oid| *oid != 0) { types.to_vec() } else { Vec::new() };
        let mut names = String::new();
        let (whole, names_current) = self.say_names(analysis, &mut names);
        let takes_data = |s: &sluicegate_sql::Statement| s.copy.as_ref().is_some_and(|c| c.direction == Direction::In);
        if names_current || self.catalog_pending.is_some() || analysis.statements.iter().any(takes_data) {
            // The data of a COPY, the row of a cursor and what is not committed are not in its text.
            let _ = write!(names, "; as after command {} of session {}", self.permitted, self.gate.session().id);
        }
        let target = self.dialled();
        let facts = Arc::clone(&analysis.facts);
        let write = move || {
            let mut all = settings.to_string();
            for (at, oid) in types.iter().enumerate() {
                let _ = write!(all, "{} {oid}", if at == 0 { "; parameters of types" } else { "," });
            }
            all.push_str(&names);
            target.say(&facts, &mut all);
            all
        };
        (Context::later(write), whole)
    }

    /// Which target it is, and as of which state of it.
    pub(super) fn dialled(&self) -> Dialled {
        Dialled { name: Arc::clone(&self.shared.dialled), known: self.known.clone() }
    }

    /// Says what the prepared statements and cursors are that a text may name. Returns whether all are
    /// said, and whether the row at which a cursor stands counts.
    fn say_names(&self, analysis: &Analysis, all: &mut String) -> (bool, bool) {
        let unread = analysis.facts.classes.intersects(Classes::OPAQUE | Classes::UNANALYSABLE);
        if self.objects.definitions() == 0 || !unread && !analysis.uses_names {
            return (true, false);
        }
        let said = identifiers(&analysis.normalized);
        let words: HashSet<&str> = said.iter().map(String::as_str).collect();
        let known = self.objects.prepared.iter().chain(&self.objects.cursors);
        let mut named: Vec<_> = known.filter(|(name, _)| words.contains(&*name.to_lowercase())).collect();
        named.sort_by_key(|(name, _)| *name);
        for (name, body) in named.iter().take(MAX_SHOWN) {
            let _ = write!(all, "; {name} is {}", shortened(&body.normalized, MAX_SHOWN_BYTES));
        }
        let (count, session) = (self.objects.definitions(), self.gate.session().id);
        let _ = write!(all, "; names as after definition {count} of session {session}");
        let current = of_cursor(&said) || named.iter().any(|(_, body)| of_cursor(&identifiers(&body.normalized)));
        (named.len() <= MAX_SHOWN, current)
    }
}

/// The target of a session, as it was known when a command came.
pub(super) struct Dialled {
    name: Arc<str>,
    known: Option<Arc<Known>>,
}

impl Dialled {
    /// Says which target it is, and as of which state of it: any command may set off a trigger, and what
    /// reaches views and functions does what they say now.
    pub(super) fn say(&self, facts: &SqlFacts, all: &mut String) {
        let _ = write!(all, "; database {}", self.name);
        let Some(known) = &self.known else { return };
        let _ = write!(all, "; code={}", known.fingerprint.code);
        let reaches = facts.reaches_unknown
            || facts.classes.intersects(Classes::OPAQUE | Classes::UNANALYSABLE)
            || facts.relations.iter().any(|relation| relation.indirect)
            || facts.functions.iter().any(|function| !function.builtin);
        if reaches {
            let _ = write!(all, "; relations={}", known.fingerprint.names);
        } else if !facts.relations.is_empty() {
            let _ = write!(all, "; relations={}", identities(facts, &known.catalog));
        }
    }
}

/// What the named relations and columns are behind their names, which may be exchanged.
fn identities(facts: &SqlFacts, catalog: &Catalog) -> String {
    let mut found = Vec::new();
    let find = |name: &RelationName| catalog.find(&name.schema, &name.name);
    for relation in facts.relations.iter().filter_map(|relation| find(&relation.name)) {
        found.extend(relation.oid.to_be_bytes());
    }
    for column in &facts.columns {
        let columns = find(&column.name.relation).map_or(&[][..], |relation| &relation.columns);
        if let Some(column) = columns.iter().find(|known| known.name == column.name.column) {
            found.extend(column.attnum.to_be_bytes());
        }
    }
    short_hash(&found)
}

/// The words and quoted names of a text without comments and literals, in lower case and as long as the
/// server keeps them.
fn identifiers(text: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c| c == '"' || is_word(c)) {
        let (_, from) = rest.split_at(start);
        let (name, after) = match from.strip_prefix('"') {
            Some(inner) => quoted(inner),
            None => {
                let (word, after) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
                (word.to_owned(), after)
            }
        };
        found.push(record::cut(&name, MAX_NAME).0.to_lowercase());
        rest = after;
    }
    found
}

/// A quoted name behind its first quote, and what comes after it.
fn quoted(inner: &str) -> (String, &str) {
    let (mut name, mut rest) = (String::new(), inner);
    loop {
        let Some((part, after)) = rest.split_once('"') else { return (name + rest, "") };
        name.push_str(part);
        let Some(more) = after.strip_prefix('"') else { return (name, after) };
        name.push('"');
        rest = more;
    }
}

/// Whether it says WHERE CURRENT OF a cursor.
fn of_cursor(words: &[String]) -> bool {
    words.windows(2).any(|pair| matches!(pair, [one, other] if one == "current" && other == "of"))
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

/// Whether one may be in a text.
pub(super) fn may_copy_out(analysis: &Analysis) -> bool {
    analysis.statements.is_empty() || analysis.statements.iter().any(copies_out)
}

/// A command about an analysed text, all of whose parameters are here.
pub(super) fn sql_command(
    verb: &'static str,
    phase: Phase,
    text: Arc<str>,
    analysis: &Analysis,
    parameters: Vec<Parameter>,
    (context, whole): (Context, bool),
) -> Command {
    Command {
        verb,
        phase,
        text,
        normalized: Arc::clone(&analysis.normalized),
        resources: Vec::new(),
        parameters,
        wire: Bytes::new(),
        whole,
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
        wire: Bytes::new(),
        whole: true,
        context: Context::default(),
        sql: Some(Arc::new(facts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_server_reads_them() {
        let long = "x".repeat(70);
        let text = format!("EXECUTE \"Go\"\"ne\"(?, a.b$1) ; fetch {long} -- \"open");
        let found = identifiers(&text);
        assert_eq!(found, ["execute", "go\"ne", "a", "b$1", "fetch", &long[..63], "open"]);
        assert!(of_cursor(&identifiers("delete from t where CURRENT OF c")));
        assert!(!of_cursor(&identifiers("sum(a) over (rows between 1 preceding and current row)")));
    }
}
