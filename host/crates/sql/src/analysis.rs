//! What the analyser takes and gives: its limits, the state of the session that a text is read in,
//! and the analysis of that text.

use std::{collections::HashMap, sync::Arc};

use sluicegate_core::{
    result::{ColumnName, RelationName, Resolution},
    sql::SqlFacts,
};

use crate::{
    catalog::{Catalog, Oid},
    sets::Sets,
};

/// What a text may cost before it is refused as unanalysable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes.
    pub max_bytes: usize,
    /// The most tokens.
    pub max_tokens: usize,
    /// How deep parentheses, brackets and CASE may nest.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1024 * 1024, max_tokens: 50_000, max_depth: 100 }
    }
}

/// The state of the session that a text is read in.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The target's catalog.
    pub catalog: &'a Catalog,
    /// The schemas that unqualified names are looked up in, in order, as `current_schemas(true)` lists
    /// them. `pg_catalog` is searched first where it is not listed. Temporary tables always come
    /// first; where no `pg_temp_N` is listed, a name that any temporary table has is uncertain.
    pub search_path: &'a [String],
    /// The setting of that name. While it is off, a plain literal with a backslash is refused.
    pub standard_conforming_strings: bool,
    /// The prepared statements by name, those of the protocol's own Parse included: the server keeps
    /// both under the same names.
    pub prepared: &'a HashMap<String, Arc<Analysis>>,
    /// The open cursors by name, the protocol's named portals included.
    pub cursors: &'a HashMap<String, Arc<Analysis>>,
}

/// What a text does.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The facts that policies read, over all statements.
    pub facts: Arc<SqlFacts>,
    /// The text with every literal replaced by `?` and comments dropped; empty where it could not be
    /// lexed.
    pub normalized: Arc<str>,
    /// The statements in order; empty where the text is unanalysable as a whole.
    pub statements: Vec<Statement>,
    /// Whether it may name a prepared statement or a cursor: EXECUTE, FETCH, MOVE or WHERE CURRENT OF.
    pub uses_names: bool,
    /// A text that normalises to `normalized`, kept while there is one statement, to read it again
    /// when it is executed under other settings.
    pub(crate) source: Option<Arc<str>>,
}

impl Analysis {
    /// The settings that its statements set; unknown where the text cannot be analysed as a whole.
    pub fn sets(&self) -> Sets {
        if self.statements.is_empty() && self.facts.unanalysable.is_some() {
            return Sets::Unknown;
        }
        self.statements.iter().map(|statement| statement.sets.clone()).fold(Sets::None, Sets::and)
    }
}

/// One statement of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Its SQL name in lower case: `select`, `drop table`.
    pub kind: String,
    /// What it does to the session's prepared statements and cursors.
    pub effect: Effect,
    /// Where its output columns come from.
    pub outputs: Outputs,
    /// What the COPY in it sends or takes.
    pub copy: Option<Copy>,
    /// The catalog is to be loaded again after it.
    pub catalog_changed: bool,
    /// `search_path`, the role, the client's encoding or the settings of string literals may differ
    /// after it.
    pub settings_may_change: bool,
    /// Code that cannot be looked into runs in it: afterwards prepared statements and cursors may be
    /// others under the same names, so all that is known about them is to be forgotten.
    pub names_may_change: bool,
    /// The settings that it sets, for EXECUTE those of the prepared statement too.
    pub sets: Sets,
}

/// What a statement does to the session's prepared statements and cursors, if it succeeds.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A statement is kept under a name.
    Prepare {
        /// The name.
        name: String,
        /// What it will do.
        body: Arc<Analysis>,
    },
    /// A prepared statement is dropped, or all of them.
    Deallocate {
        /// The name; none for all.
        name: Option<String>,
    },
    /// A cursor is opened.
    DeclareCursor {
        /// The name.
        name: String,
        /// Its query.
        body: Arc<Analysis>,
    },
    /// A cursor is closed, or all of them.
    CloseCursor {
        /// The name; none for all.
        name: Option<String>,
    },
    /// Prepared statements, cursors and settings are all dropped.
    DiscardAll,
    /// A transaction ends; cursors without HOLD die with it.
    EndTransaction,
}

/// Where a statement's output columns come from. It is meant for the columns that the server
/// describes without a table's OID; for the others `Catalog::resolve` is exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outputs {
    /// It sends no rows. If the server describes some all the same, a rule rewrote the statement and
    /// their origin is unknown.
    None,
    /// One for each output column. If the server describes another number of columns, none of
    /// these hold.
    Aligned(Vec<Output>),
    /// Not even their number is known.
    Unknown,
}

impl Outputs {
    /// How many columns they name.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Aligned(outputs) => outputs.iter().map(|output| 1 + output.sources.len()).sum(),
            Self::None | Self::Unknown => 0,
        }
    }
}

/// Where one output column comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How sure it is.
    pub resolution: Resolution,
    /// The columns it comes from, with the views it is seen through.
    pub sources: Vec<ColumnName>,
}

/// Which way a COPY moves its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// COPY ... FROM: the client sends.
    In,
    /// COPY ... TO: the server sends.
    Out,
}

/// How a COPY writes its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// PostgreSQL's own text.
    Text,
    /// Comma separated values.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}

/// A COPY statement. See the manual's page on COPY for the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Which way.
    pub direction: Direction,
    /// The relation's OID, where one is named and known.
    pub relation: Option<Oid>,
    /// The relation's name, where one is named.
    pub name: Option<RelationName>,
    /// Each field's column; none where that is unknown.
    pub columns: Option<Vec<Output>>,
    /// The format.
    pub format: CopyFormat,
    /// The byte between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the first line is a heading.
    pub header: bool,
    /// The quoting byte of CSV.
    pub quote: u8,
    /// The escaping byte of CSV.
    pub escape: u8,
    /// Whether the data goes to or comes from a program or a file on the server, not the client.
    pub server_side: bool,
}
