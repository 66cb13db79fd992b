//! Rules that name statements, and how a command is held against them.

use serde::{Deserialize, Deserializer};
use sluicegate_policy::Classes;

use crate::kinds;

/// Classes that `allow_only` leaves alone, because no client can work without them.
const ALWAYS: Classes = Classes::SESSION.union(Classes::TRANSACTION);

/// One entry of `deny` or `allow_only`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A class of work: `read`, `dml`, `ddl`, `admin`, `opaque`, `session`, `transaction`.
    Class(Classes, String),
    /// A statement's name, or the first words of it: `drop` covers `drop table`.
    Kind(String),
}

impl Rule {
    /// Its words, as the settings have them.
    fn words(&self) -> &str {
        match self {
            Self::Class(_, words) | Self::Kind(words) => words,
        }
    }

    fn names(&self, kind: &str) -> bool {
        match self {
            Self::Class(..) => false,
            Self::Kind(words) => {
                kind.strip_prefix(words.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            }
        }
    }
}

/// A rule that could never match would be a rule without effect, so it is refused.
impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_lowercase();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(class) = kinds::class(&words) {
            return Ok(Self::Class(class, words));
        }
        if kinds::possible(&words).is_some() {
            return Ok(Self::Kind(words));
        }
        Err(serde::de::Error::custom(format_args!(
            "`{text}` is neither a statement's SQL name (`drop`, `create index`) nor one of the classes read, dml, \
             ddl, admin, opaque, session and transaction"
        )))
    }
}

/// Why the command is denied; none where no rule names it.
pub(crate) fn denied_by(deny: &[Rule], kinds: &[String], classes: Classes) -> Option<String> {
    deny.iter().find_map(|rule| match rule {
        Rule::Kind(words) => {
            let kind = kinds.iter().find(|kind| rule.names(kind))?;
            Some(format!("{} is denied here (rule `{words}` of `deny`)", name(kind)))
        }
        Rule::Class(class, words) => classes.intersects(*class).then(|| {
            let doers = kinds.iter().filter(|kind| can_do(kind).intersects(*class));
            format!("{} is denied here (class `{words}` of `deny`)", names(doers, kinds))
        }),
    })
}

/// The only things that may run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct AllowOnly(Vec<Rule>);

impl AllowOnly {
    /// Why the command may not run; none where all that it does is covered.
    ///
    /// A statement is covered by a rule that names its kind, or by rules for all the classes of
    /// work that it does. Facts are about a whole command, so a statement is taken to do each of
    /// the command's classes that its kind can do, and what none of the kinds can do has to be
    /// covered by a class. EXPLAIN needs no rule: the statement in it does.
    pub(crate) fn refusal(&self, kinds: &[String], classes: Classes) -> Option<String> {
        let covered = self.0.iter().fold(ALWAYS, |sum, rule| match rule {
            Rule::Class(class, _) => sum | *class,
            Rule::Kind(_) => sum,
        });
        for kind in kinds.iter().filter(|kind| *kind != "explain" && !self.0.iter().any(|rule| rule.names(kind))) {
            let possible = can_do(kind);
            let done = if possible.intersects(classes) { possible & classes } else { possible };
            if !covered.contains(done) {
                return Some(self.stray(&name(kind), done - covered));
            }
        }
        let explained = kinds.iter().fold(covered, |sum, kind| sum | can_do(kind));
        let unexplained = classes - explained;
        (!unexplained.is_empty()).then(|| self.stray(&names(kinds.iter(), kinds), unexplained))
    }

    fn stray(&self, what: &str, classes: Classes) -> String {
        let classes = classes.iter_names().map(|(word, _)| word.to_lowercase()).collect::<Vec<_>>().join(", ");
        format!("{what} is not allowed here: it is {classes}, and `allow_only` has {}", self.list())
    }

    fn list(&self) -> String {
        if self.0.is_empty() {
            return "nothing".to_owned();
        }
        self.0.iter().map(|rule| format!("`{}`", rule.words())).collect::<Vec<_>>().join(", ")
    }
}

/// What a statement of this kind can do; a kind that is not known can do anything.
fn can_do(kind: &str) -> Classes {
    kinds::possible(kind).unwrap_or(Classes::all())
}

fn name(kind: &str) -> String {
    kind.to_uppercase()
}

/// Those kinds, or all where there are none, or a word for a command without any.
fn names<'a>(some: impl Iterator<Item = &'a String>, all: &[String]) -> String {
    let mut names: Vec<_> = some.map(|kind| name(kind)).collect();
    if names.is_empty() {
        names = all.iter().map(|kind| name(kind)).collect();
    }
    if names.is_empty() { "the command".to_owned() } else { names.join(", ") }
}
