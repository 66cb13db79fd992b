//! Rules that name statements, and how a command is held against them.

use serde::{Deserialize, Deserializer};
use sluicegate_policy::{Classes, KindPrefix, classes_of_kind, named_class};

/// Classes that `allow_only` leaves alone, because no client can work without them.
const ALWAYS: Classes = Classes::SESSION.union(Classes::TRANSACTION);

/// One entry of `deny` or `allow_only`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A class of work: `read`, `dml`, `ddl`, `admin`, `opaque`, `session`, `transaction`.
    Class(Classes, String),
    /// A statement's name, or the first words of it: `drop` covers `drop table`.
    Kind(KindPrefix),
}

impl Rule {
    /// Its words, as the settings have them.
    fn words(&self) -> &str {
        match self {
            Self::Class(_, words) => words,
            Self::Kind(words) => words.words(),
        }
    }

    fn names(&self, kind: &str) -> bool {
        match self {
            Self::Class(..) => false,
            Self::Kind(words) => words.matches(kind),
        }
    }
}

/// A rule that could never match would be a rule without effect, so it is refused.
impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_lowercase();
        if let Some(class) = named_class(text.trim()) {
            return Ok(Self::Class(class, text.trim().to_owned()));
        }
        text.parse().map(Self::Kind).map_err(|_| {
            serde::de::Error::custom(format_args!(
                "`{text}` is neither a statement's SQL name (`drop`, `create index`) nor one of the classes read, \
                 dml, ddl, admin, opaque, session and transaction"
            ))
        })
    }
}

/// Which rule denies the command and why; none where no rule names it.
pub(crate) fn denied_by(deny: &[Rule], kinds: &[String], classes: Classes) -> Option<(usize, String)> {
    deny.iter().enumerate().find_map(|(index, rule)| {
        let reason = match rule {
            Rule::Kind(words) => {
                let kind = kinds.iter().find(|kind| rule.names(kind))?;
                format!("{} is denied here (rule `{}` of `deny`)", name(kind), words.words())
            }
            Rule::Class(class, _) if !classes.intersects(*class) => return None,
            Rule::Class(class, words) => {
                let doers = kinds.iter().filter(|kind| can_do(kind).intersects(*class));
                format!("{} is denied here (class `{words}` of `deny`)", names(doers, kinds))
            }
        };
        Some((index, reason))
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
    classes_of_kind(kind).unwrap_or(Classes::all())
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
