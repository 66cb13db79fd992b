//! The statements of SQL as PostgreSQL lists them, by the first word of their name, and the classes
//! of work that each can do: <https://www.postgresql.org/docs/current/sql-commands.html>. With them
//! settings that name statements are checked: what could match nothing is refused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

use crate::Classes;

/// The first words of statements' SQL names: `drop` stands for `drop table` and `drop index`.
///
/// Read from settings in any letter case. A text whose first word begins no statement's name is
/// refused, since it could match nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindPrefix(String);

/// The text begins no statement's SQL name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindError(String);

impl fmt::Display for KindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` begins no statement's SQL name; write such as `drop` or `create index`", self.0)
    }
}

impl std::error::Error for KindError {}

impl KindPrefix {
    /// Whether a statement's SQL name begins with these words.
    pub fn matches(&self, kind: &str) -> bool {
        kind.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    /// The words, in lower case.
    pub fn words(&self) -> &str {
        &self.0
    }
}

impl FromStr for KindPrefix {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        let words = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        if classes_of_kind(&words).is_some() { Ok(Self(words)) } else { Err(KindError(text.to_owned())) }
    }
}

impl<'de> Deserialize<'de> for KindPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The class of this name in settings: `read`, `dml`, `ddl`, `admin`, `opaque`, `session`, `transaction`.
/// `unanalysable` is none of them: it says that the classes are not known.
pub fn named_class(word: &str) -> Option<Classes> {
    Some(match word {
        "read" => Classes::READ,
        "dml" => Classes::DML,
        "ddl" => Classes::DDL,
        "admin" => Classes::ADMIN,
        "opaque" => Classes::OPAQUE,
        "session" => Classes::SESSION,
        "transaction" => Classes::TRANSACTION,
        _ => return None,
    })
}

/// What a statement of this kind can do of itself; none where the kind is not known.
pub fn classes_of_kind(kind: &str) -> Option<Classes> {
    let first = kind.split(' ').next()?;
    STATEMENTS.iter().find(|(word, _)| *word == first).map(|(_, classes)| *classes)
}

const READ: Classes = Classes::READ;
const DML: Classes = Classes::DML;
const DEFINE: Classes = Classes::DDL.union(Classes::ADMIN);
const SESSION: Classes = Classes::SESSION;
const TRANSACTION: Classes = Classes::TRANSACTION;

/// A write that returns rows reads too.
const WRITE: Classes = DML.union(READ);

/// First words, and what a statement of that name can do of itself.
const STATEMENTS: &[(&str, Classes)] = &[
    ("abort", TRANSACTION),
    ("alter", DEFINE.union(Classes::OPAQUE)),
    ("analyze", DEFINE),
    ("begin", TRANSACTION),
    ("call", Classes::OPAQUE),
    ("checkpoint", DEFINE),
    ("close", SESSION),
    ("cluster", DEFINE),
    ("comment", DEFINE),
    ("commit", TRANSACTION),
    ("copy", WRITE),
    ("create", DEFINE.union(Classes::OPAQUE)),
    ("deallocate", SESSION),
    ("declare", SESSION),
    ("delete", WRITE),
    ("discard", SESSION),
    ("do", Classes::OPAQUE),
    ("drop", DEFINE),
    ("end", TRANSACTION),
    ("execute", SESSION),
    ("explain", READ),
    ("fetch", SESSION),
    ("grant", DEFINE),
    ("import", DEFINE),
    ("insert", WRITE),
    ("listen", SESSION),
    ("load", DEFINE.union(Classes::OPAQUE)),
    ("lock", DEFINE.union(TRANSACTION)),
    ("merge", WRITE),
    ("move", SESSION),
    ("notify", SESSION),
    ("prepare", SESSION.union(TRANSACTION)),
    ("reassign", DEFINE),
    ("refresh", DEFINE.union(READ).union(DML)),
    ("reindex", DEFINE),
    ("release", TRANSACTION),
    ("reset", SESSION),
    ("revoke", DEFINE),
    ("rollback", TRANSACTION),
    ("savepoint", TRANSACTION),
    ("security", DEFINE),
    ("select", READ),
    ("set", SESSION.union(TRANSACTION)),
    ("show", SESSION.union(READ)),
    ("start", TRANSACTION),
    ("table", READ),
    ("truncate", DEFINE.union(DML)),
    ("unlisten", SESSION),
    ("update", WRITE),
    ("vacuum", DEFINE),
    ("values", READ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_match() {
        let drop: KindPrefix = " DROP ".parse().unwrap();
        assert!(drop.matches("drop") && drop.matches("drop table"));
        assert!(!drop.matches("dropped") && !drop.matches("alter table drop"));
        assert!("create  index".parse::<KindPrefix>().unwrap().matches("create index"));
        assert!("dorp".parse::<KindPrefix>().is_err() && "".parse::<KindPrefix>().is_err());
    }
}
