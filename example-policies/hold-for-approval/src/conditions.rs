//! Holds a command against the conditions of one entry, and says in plain words what matched.
//!
//! A condition that looks for something also matches where the gateway cannot see it: code that it
//! cannot look into may do any kind of work, and what reaches further than the gateway sees may reach
//! any table. The words then say that it may.

use std::{cell::OnceCell, fmt::Display};

use sluicegate_policy::{Classes, FunctionUse, KindPrefix, NameGlob, Relation, Sql};

use crate::settings::Entry;

/// How many names of one sort a reason lists.
const SHOWN: usize = 5;

/// The facts of one command, each asked for at most once.
pub(crate) struct Facts<'a> {
    sql: Sql<'a>,
    classes: Classes,
    kinds: OnceCell<Vec<String>>,
    relations: OnceCell<Vec<Relation>>,
    functions: OnceCell<Vec<FunctionUse>>,
    reaches_unknown: OnceCell<bool>,
}

/// Words about one command, while its conditions are gone through.
#[derive(Default)]
struct Words {
    /// The statements that a condition named.
    kinds: Vec<String>,
    /// What is certain about them: ` on public.orders`.
    certain: String,
    /// What may be: `reach public.orders`.
    possible: Vec<String>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(sql: Sql<'a>, classes: Classes) -> Self {
        let (kinds, relations, functions, reaches_unknown) = Default::default();
        Self { sql, classes, kinds, relations, functions, reaches_unknown }
    }

    /// Why the command meets all conditions of the entry; none where it does not. Cheap ones go first.
    pub(crate) fn matched(&self, entry: &Entry) -> Option<String> {
        let mut words = Words::default();
        if let Some(classes) = entry.classes {
            self.class(classes, &mut words)?;
        }
        if entry.missing_where {
            self.missing_where(&mut words)?;
        }
        if let Some(kinds) = &entry.kinds {
            self.kind(kinds, &mut words)?;
        }
        if let Some(tables) = &entry.tables {
            self.table(tables, &mut words)?;
        }
        if let Some(functions) = &entry.functions {
            self.function(functions, &mut words)?;
        }
        Some(self.reason(words))
    }

    fn class(&self, wanted: Classes, words: &mut Words) -> Option<()> {
        let names = |classes: Classes| listed(classes.iter_names().map(|(name, _)| name.to_lowercase()));
        let found = self.classes & wanted;
        if found.is_empty() {
            return self.hidden(words, format!("do {} work", names(wanted)));
        }
        words.certain.push_str(&format!(" ({})", names(found)));
        Some(())
    }

    fn missing_where(&self, words: &mut Words) -> Option<()> {
        if !self.sql.writes_without_where() {
            return self.hidden(words, "write without WHERE".to_owned());
        }
        words.certain.push_str(" without WHERE");
        Some(())
    }

    fn kind(&self, wanted: &[KindPrefix], words: &mut Words) -> Option<()> {
        let named = |kind: &&String| wanted.iter().any(|words| words.matches(kind));
        words.kinds = self.kinds().iter().filter(named).cloned().collect();
        if words.kinds.is_empty() {
            let names = listed(wanted.iter().map(|words| words.words().to_uppercase()));
            return self.hidden(words, format!("run {names}"));
        }
        Some(())
    }

    fn table(&self, wanted: &[NameGlob], words: &mut Words) -> Option<()> {
        let relations = self.relations.get_or_init(|| self.sql.relations());
        let named =
            |relation: &&Relation| wanted.iter().any(|glob| glob.matches(&relation.name.schema, &relation.name.name));
        let mut found = relations.iter().filter(named).peekable();
        if found.peek().is_none() {
            return self.out_of_sight(words, format!("reach {}", listed(wanted)));
        }
        let names = found.map(|relation| {
            let through = if relation.indirect { " (through a view)" } else { "" };
            format!("{}{through}", relation.name)
        });
        words.certain.push_str(&format!(" on {}", listed(names)));
        Some(())
    }

    fn function(&self, wanted: &[NameGlob], words: &mut Words) -> Option<()> {
        let functions = self.functions.get_or_init(|| self.sql.functions());
        let named = |f: &&FunctionUse| wanted.iter().any(|glob| glob.matches(schema(f), &f.name));
        let mut found = functions.iter().filter(named).peekable();
        if found.peek().is_none() {
            return self.out_of_sight(words, format!("call {}", listed(wanted)));
        }
        words.certain.push_str(&format!(" calling {}", listed(found.map(|function| &function.name))));
        Some(())
    }

    /// Code that cannot be looked into may do anything.
    fn hidden(&self, words: &mut Words, what: String) -> Option<()> {
        self.classes.contains(Classes::OPAQUE).then(|| words.possible.push(what))
    }

    /// More than is listed may be reached and called.
    fn out_of_sight(&self, words: &mut Words, what: String) -> Option<()> {
        let unknown = *self.reaches_unknown.get_or_init(|| self.sql.reaches_unknown());
        (unknown || self.classes.contains(Classes::OPAQUE)).then(|| words.possible.push(what))
    }

    fn kinds(&self) -> &[String] {
        self.kinds.get_or_init(|| self.sql.kinds())
    }

    fn reason(&self, words: Words) -> String {
        let Words { kinds, certain, possible } = words;
        let kinds = if kinds.is_empty() { self.kinds() } else { &kinds };
        let what = listed(kinds.iter().map(|kind| kind.to_uppercase()));
        if possible.is_empty() {
            return format!("{what}{certain}");
        }
        let possible = possible.join(" and ");
        format!("{what}{certain}, which may {possible}: the gateway cannot see all that it does")
    }
}

/// Where the function is; empty where nobody knows.
fn schema(function: &FunctionUse) -> &str {
    if function.builtin { "pg_catalog" } else { &function.schema }
}

/// The first names of a list, and how many more there are.
fn listed<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    let mut names = names.into_iter().map(|name| name.to_string());
    let shown = names.by_ref().take(SHOWN).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
