//! The events as plain structures, with the methods of the contract's resources.

use std::cell::RefCell;

use serde::Deserialize;

use crate::{Classes, Column, ColumnName, ColumnUse, FunctionUse, IdentityKind, Mask, Relation, Values};

/// Who is calling, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// The session's id.
    pub id: String,
    /// The authenticated name.
    pub user: String,
    /// The groups that the identity carries.
    pub groups: Vec<String>,
    /// What the identity is; `person` in a fixture that does not say.
    pub kind: IdentityKind,
    /// The person who answers for a service or an agent.
    pub owner: Option<String>,
    /// The agent that acts for the user.
    pub actor: Option<String>,
    /// The roles that the identity has on the target.
    pub roles: Vec<String>,
    /// The target's name.
    pub target: String,
    /// The protocol; `postgres` in a fixture that does not say.
    pub protocol: String,
    /// `ip:port`.
    pub client_address: String,
    /// What the client calls itself.
    pub application: String,
}

impl Default for IdentityKind {
    fn default() -> Self {
        Self::Person
    }
}

#[allow(missing_docs, reason = "the methods of the contract's resource `session`")]
impl Session {
    pub fn id(&self) -> String {
        self.id.clone()
    }
    pub fn user(&self) -> String {
        self.user.clone()
    }
    pub fn groups(&self) -> Vec<String> {
        self.groups.clone()
    }
    pub fn has_group(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group == name)
    }
    pub fn kind(&self) -> IdentityKind {
        self.kind
    }
    pub fn owner(&self) -> Option<String> {
        self.owner.clone()
    }
    pub fn actor(&self) -> Option<String> {
        self.actor.clone()
    }
    pub fn roles(&self) -> Vec<String> {
        self.roles.clone()
    }
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role == name)
    }
    pub fn target(&self) -> String {
        self.target.clone()
    }
    pub fn protocol(&self) -> String {
        self.protocol.clone()
    }
    pub fn client_address(&self) -> String {
        self.client_address.clone()
    }
    pub fn application(&self) -> String {
        self.application.clone()
    }
}

/// One command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Command {
    /// Its number within the session.
    pub sequence: u64,
    /// `query`, `prepare`, ...; `query` in a fixture that does not say.
    pub verb: String,
    /// The text.
    pub text: String,
    /// The text with every literal replaced by `?`.
    pub normalized_text: String,
    /// What it names.
    pub resources: Vec<String>,
    /// The bound parameters; `None` is NULL, or cannot be rendered.
    pub parameters: Vec<Option<String>>,
    /// Facts about SQL; none where it is not SQL.
    pub sql: Option<SqlFacts>,
}

#[allow(missing_docs, reason = "the methods of the contract's resource `command`")]
impl Command {
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
    pub fn verb(&self) -> String {
        self.verb.clone()
    }
    pub fn text(&self) -> String {
        self.text.clone()
    }
    pub fn normalized_text(&self) -> String {
        self.normalized_text.clone()
    }
    pub fn resources(&self) -> Vec<String> {
        self.resources.clone()
    }
    pub fn parameter_count(&self) -> u32 {
        u32::try_from(self.parameters.len()).unwrap_or(u32::MAX)
    }
    pub fn parameter(&self, index: u32) -> Option<String> {
        self.parameters.get(index as usize).cloned().flatten()
    }
    pub fn is_sql(&self) -> bool {
        self.sql.is_some()
    }
}

/// The facts about a SQL command; see [`Sql`](crate::Sql).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqlFacts {
    /// The kinds of work.
    pub classes: Classes,
    /// The statements' SQL names.
    pub kinds: Vec<String>,
    /// How many statements; 1 in a fixture that does not say.
    pub statement_count: u32,
    /// Relations named and reached.
    pub relations: Vec<Relation>,
    /// Every column of the known relations.
    pub reachable_columns: Vec<ColumnName>,
    /// Whether relations that are not listed may be reached.
    pub reaches_unknown: bool,
    /// Columns and where they stand.
    pub columns: Vec<ColumnUse>,
    /// Functions called.
    pub functions: Vec<FunctionUse>,
    /// Whether an UPDATE or DELETE has no WHERE.
    pub writes_without_where: bool,
    /// Why it could not be analysed.
    pub unanalysable_reason: Option<String>,
}

impl Default for SqlFacts {
    fn default() -> Self {
        Self {
            classes: Classes::empty(),
            kinds: Vec::new(),
            statement_count: 1,
            relations: Vec::new(),
            reachable_columns: Vec::new(),
            reaches_unknown: false,
            columns: Vec::new(),
            functions: Vec::new(),
            writes_without_where: false,
            unanalysable_reason: None,
        }
    }
}

/// The functions of the contract's interface `sql`.
#[allow(missing_docs, reason = "the functions of the contract's interface `sql`")]
pub mod sql {
    use super::Command;
    use crate::{Classes, ColumnName, ColumnUse, FunctionUse, Relation};

    pub fn classes_of(c: &Command) -> Classes {
        c.sql.as_ref().map_or(Classes::empty(), |sql| sql.classes)
    }
    pub fn kinds(c: &Command) -> Vec<String> {
        c.sql.as_ref().map(|sql| sql.kinds.clone()).unwrap_or_default()
    }
    pub fn statement_count(c: &Command) -> u32 {
        c.sql.as_ref().map_or(0, |sql| sql.statement_count)
    }
    pub fn relations(c: &Command) -> Vec<Relation> {
        c.sql.as_ref().map(|sql| sql.relations.clone()).unwrap_or_default()
    }
    pub fn reachable_columns(c: &Command) -> Vec<ColumnName> {
        c.sql.as_ref().map(|sql| sql.reachable_columns.clone()).unwrap_or_default()
    }
    pub fn reaches_unknown(c: &Command) -> bool {
        c.sql.as_ref().is_some_and(|sql| sql.reaches_unknown)
    }
    pub fn columns(c: &Command) -> Vec<ColumnUse> {
        c.sql.as_ref().map(|sql| sql.columns.clone()).unwrap_or_default()
    }
    pub fn functions(c: &Command) -> Vec<FunctionUse> {
        c.sql.as_ref().map(|sql| sql.functions.clone()).unwrap_or_default()
    }
    pub fn writes_without_where(c: &Command) -> bool {
        c.sql.as_ref().is_some_and(|sql| sql.writes_without_where)
    }
    pub fn unanalysable_reason(c: &Command) -> Option<String> {
        c.sql.as_ref().and_then(|sql| sql.unanalysable_reason.clone())
    }
}

/// A result that is about to flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// Which of the command's statements it belongs to.
    pub statement: u32,
    /// Its columns.
    pub columns: Vec<Column>,
}

#[allow(missing_docs, reason = "the methods of the contract's resource `result-set`")]
impl ResultSet {
    pub fn statement(&self) -> u32 {
        self.statement
    }
    pub fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }
}

/// Takes down what a policy plans for a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan(RefCell<Planned>);

/// What a policy planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// Columns and their masks, in the order they were named.
    pub masks: Vec<(u32, Mask)>,
    /// Columns to inspect, in the order they were named.
    pub inspected: Vec<u32>,
    /// Columns that this caller sees by an exception, in the order they were named.
    pub spared: Vec<u32>,
    /// The smallest limit named.
    pub limit_rows: Option<u64>,
}

impl Plan {
    /// What was planned so far.
    pub fn planned(&self) -> Planned {
        self.0.borrow().clone()
    }

    /// Masks a column.
    pub fn mask(&self, column: u32, mask: &Mask) {
        self.0.borrow_mut().masks.push((column, mask.clone()));
    }

    /// Asks for a column's values.
    pub fn inspect(&self, column: u32) {
        self.0.borrow_mut().inspected.push(column);
    }

    /// Says of a column that it would be masked for others.
    pub fn spare(&self, column: u32) {
        self.0.borrow_mut().spared.push(column);
    }

    /// Blocks the result once it has more rows.
    pub fn limit_rows(&self, rows: u64) {
        let mut planned = self.0.borrow_mut();
        planned.limit_rows = Some(planned.limit_rows.map_or(rows, |before| before.min(rows)));
    }
}

/// Some rows, projected to the inspected columns.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The number of the first row within the result.
    pub first_row: u64,
    /// How many rows.
    pub row_count: u32,
    /// The inspected columns.
    pub columns: Vec<Values>,
}

#[allow(missing_docs, reason = "the methods of the contract's resource `rows`")]
impl Rows {
    /// Rows from their texts, all columns of each; `inspected` says which are kept.
    pub fn from_texts(rows: &[Vec<Option<String>>], inspected: &[u32]) -> Self {
        let columns = inspected.iter().map(|column| values(rows, *column)).collect();
        Self { first_row: 0, row_count: u32::try_from(rows.len()).unwrap_or(u32::MAX), columns }
    }
    pub fn first_row(&self) -> u64 {
        self.first_row
    }
    pub fn row_count(&self) -> u32 {
        self.row_count
    }
    pub fn columns(&self) -> Vec<Values> {
        self.columns.clone()
    }
}

fn values(rows: &[Vec<Option<String>>], column: u32) -> Values {
    let mut values = Values { column, offsets: vec![0], bytes: Vec::new(), nulls: Vec::new() };
    for (row, cells) in (0_u32..).zip(rows) {
        match cells.get(column as usize) {
            Some(Some(text)) => values.bytes.extend_from_slice(text.as_bytes()),
            _ => values.nulls.push(row),
        }
        values.offsets.push(u32::try_from(values.bytes.len()).unwrap_or(u32::MAX));
    }
    values
}
