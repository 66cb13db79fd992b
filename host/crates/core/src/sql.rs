//! What is known about a SQL command: the facts that policies read. The sql crate finds them.

use std::sync::Arc;

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use crate::result::{ColumnName, RelationName};

bitflags! {
    /// What kinds of work a command does. The bits are those of the contract's `sql.classes`.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Classes: u8 {
        /// Reads stored data.
        const READ = 1;
        /// INSERT, UPDATE, DELETE, MERGE, COPY FROM.
        const DML = 1 << 1;
        /// CREATE, ALTER, DROP, TRUNCATE, COMMENT, ...
        const DDL = 1 << 2;
        /// Roles, grants, server settings, maintenance.
        const ADMIN = 1 << 3;
        /// Code that cannot be looked into.
        const OPAQUE = 1 << 4;
        /// Settings of the session, prepared statements, cursors, LISTEN.
        const SESSION = 1 << 5;
        /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT, ...
        const TRANSACTION = 1 << 6;
        /// Could not be analysed.
        const UNANALYSABLE = 1 << 7;
    }

    /// How a relation is used. The bits are those of the contract's `sql.access`.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Access: u8 {
        /// Its rows are read.
        const READ = 1;
        /// Rows are added.
        const INSERT = 1 << 1;
        /// Rows are changed.
        const UPDATE = 1 << 2;
        /// Rows are removed.
        const DELETE = 1 << 3;
        /// All rows are removed.
        const TRUNCATE = 1 << 4;
        /// It is created, altered or dropped.
        const DEFINE = 1 << 5;
    }

    /// Where a column stands. The bits are those of the contract's `sql.usage`.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Usage: u8 {
        /// In what the client receives.
        const OUTPUT = 1;
        /// In WHERE or HAVING.
        const FILTER = 1 << 1;
        /// In a join's condition.
        const JOIN = 1 << 2;
        /// In GROUP BY.
        const GROUP = 1 << 3;
        /// In ORDER BY.
        const ORDER = 1 << 4;
        /// Assigned by INSERT, UPDATE, MERGE or COPY FROM.
        const WRITE = 1 << 5;
    }
}

/// A relation that a command names or reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelationUse {
    /// Its name; the schema is empty where it is unknown.
    pub name: RelationName,
    /// How it is used.
    pub access: Access,
    /// Whether the catalog knows it.
    pub known: bool,
    /// Whether it is reached through a view and not named.
    pub indirect: bool,
}

/// A column and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnUse {
    /// The relation is empty where the column could not be placed.
    pub name: ColumnName,
    /// Where it stands.
    pub usage: Usage,
}

/// A function that a command calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionUse {
    /// The schema as written; empty where none was.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it is certainly the server's own function of that name.
    pub builtin: bool,
}

/// The facts about one SQL command, that is, about all its statements together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SqlFacts {
    /// The kinds of work.
    pub classes: Classes,
    /// The statements' SQL names in lower case, nested ones included, each once.
    pub kinds: Vec<String>,
    /// How many statements.
    pub statements: u32,
    /// The relations named and, through views, reached.
    pub relations: Vec<RelationUse>,
    /// Every column of every known relation in `relations`.
    pub reachable_columns: Arc<[ColumnName]>,
    /// Whether relations that are not listed may be reached.
    pub reaches_unknown: bool,
    /// Columns and where they stand.
    pub columns: Vec<ColumnUse>,
    /// Functions called.
    pub functions: Vec<FunctionUse>,
    /// Whether an UPDATE or DELETE has no WHERE.
    pub writes_without_where: bool,
    /// Why the command is unanalysable.
    pub unanalysable: Option<String>,
}
