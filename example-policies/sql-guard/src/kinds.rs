//! The statements of SQL as PostgreSQL lists them, by the first word of their name, and the classes
//! of work that each can do: <https://www.postgresql.org/docs/current/sql-commands.html>.

use sluicegate_policy::Classes;

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

/// The class that a rule may name.
pub(crate) fn class(word: &str) -> Option<Classes> {
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
pub(crate) fn possible(kind: &str) -> Option<Classes> {
    let first = kind.split(' ').next()?;
    STATEMENTS.iter().find(|(word, _)| *word == first).map(|(_, classes)| *classes)
}
