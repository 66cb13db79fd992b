//! Ways to read the contract's types that are handier than their fields: a command's SQL facts, the
//! values of a column, and short constructors for verdicts and interests.

use std::{fmt, time::Duration};

#[cfg(target_family = "wasm")]
use crate::bindings::sluicegate::policy::sql;
#[cfg(not(target_family = "wasm"))]
use crate::testing::sql;
use crate::{
    Approval, Classes, ColumnName, ColumnUse, Command, Events, FunctionUse, Interests, Relation, RelationName,
    ResultVerdict, RowsVerdict, Values, Verdict,
};

/// The facts about a SQL command. Each is asked of the gateway when it is read, so read once what
/// is used twice.
#[derive(Debug, Clone, Copy)]
pub struct Sql<'a>(&'a Command);

impl Command {
    /// The facts about SQL; none where the command is not SQL.
    pub fn sql(&self) -> Option<Sql<'_>> {
        self.is_sql().then_some(Sql(self))
    }
}

impl Sql<'_> {
    /// What kinds of work the command does, over all its statements.
    pub fn classes(&self) -> Classes {
        sql::classes_of(self.0)
    }

    /// The statements' SQL names in lower case (`select`, `drop table`), nested ones included.
    pub fn kinds(&self) -> Vec<String> {
        sql::kinds(self.0)
    }

    /// How many statements the command holds.
    pub fn statement_count(&self) -> u32 {
        sql::statement_count(self.0)
    }

    /// The relations that it names, or reaches through views.
    pub fn relations(&self) -> Vec<Relation> {
        sql::relations(self.0)
    }

    /// Every column of every relation in [`Sql::relations`] that the catalog knows.
    pub fn reachable_columns(&self) -> Vec<ColumnName> {
        sql::reachable_columns(self.0)
    }

    /// Whether it may reach relations that are not in [`Sql::relations`].
    pub fn reaches_unknown(&self) -> bool {
        sql::reaches_unknown(self.0)
    }

    /// Columns, and where they stand.
    pub fn columns(&self) -> Vec<ColumnUse> {
        sql::columns(self.0)
    }

    /// Functions called.
    pub fn functions(&self) -> Vec<FunctionUse> {
        sql::functions(self.0)
    }

    /// Whether an UPDATE or DELETE in it has no WHERE.
    pub fn writes_without_where(&self) -> bool {
        sql::writes_without_where(self.0)
    }

    /// Why it could not be analysed; none where it was.
    pub fn unanalysable_reason(&self) -> Option<String> {
        sql::unanalysable_reason(self.0)
    }
}

impl Values {
    /// The values in row order; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let ends = self.offsets.iter().skip(1);
        let mut nulls = self.nulls.iter().copied().peekable();
        self.offsets.iter().zip(ends).zip(0_u32..).map(move |((start, end), row)| {
            if nulls.next_if_eq(&row).is_some() {
                return None;
            }
            self.bytes.get(*start as usize..*end as usize)
        })
    }
}

impl Interests {
    /// Interest in these events of every protocol and every command.
    pub fn in_events(events: Events) -> Self {
        Self { events, protocols: Vec::new(), sql_classes: Classes::empty(), masks: false }
    }

    /// The policy may mask or inspect columns. Where it is enforced the record keeps no literals and
    /// the target's error texts are scrubbed.
    pub fn masking(mut self) -> Self {
        self.masks = true;
        self
    }

    /// Only of these protocols.
    pub fn of_protocols<'a>(mut self, protocols: impl IntoIterator<Item = &'a str>) -> Self {
        self.protocols = protocols.into_iter().map(str::to_owned).collect();
        self
    }

    /// Only SQL commands with one of these classes, and those that are unanalysable.
    pub fn of_sql_classes(mut self, classes: Classes) -> Self {
        self.sql_classes = classes;
        self
    }
}

impl Verdict {
    /// Refuses, for this reason.
    pub fn block(reason: impl Into<String>) -> Self {
        Self::Block(reason.into())
    }
}

impl Approval {
    /// Asks one of the gateway's admins for this one run, for as long as the gateway keeps requests.
    /// The reason is shown to the approver and to the client.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            approvers: Vec::new(),
            min_approvals: 1,
            reason_required: false,
            expires_in: 0,
            remember: 0,
        }
    }

    /// Who may approve instead of the gateway's admins: `group:name` or `user:name`, at most 64. A text
    /// that is neither blocks the command.
    pub fn by<T: Into<String>>(mut self, approvers: impl IntoIterator<Item = T>) -> Self {
        self.approvers.extend(approvers.into_iter().map(Into::into));
        self
    }

    /// How many of them must approve. More than there are users named blocks the command.
    pub fn at_least(mut self, approvals: u32) -> Self {
        self.min_approvals = approvals;
        self
    }

    /// Each answer needs a note that says why.
    pub fn with_note(mut self) -> Self {
        self.reason_required = true;
        self
    }

    /// How long the request stands, in whole seconds, rounded up.
    pub fn expiring_after(mut self, time: Duration) -> Self {
        self.expires_in = seconds(time);
        self
    }

    /// For how long an approval also covers the same command of the same identity on the same target, in
    /// whole seconds, rounded up.
    pub fn remembered_for(mut self, time: Duration) -> Self {
        self.remember = seconds(time);
        self
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(u32::from(time.subsec_nanos() > 0))
}

impl From<Approval> for Verdict {
    fn from(approval: Approval) -> Self {
        Self::Suspend(approval)
    }
}

impl ResultVerdict {
    /// Refuses the result, for this reason.
    pub fn block(reason: impl Into<String>) -> Self {
        Self::Block(reason.into())
    }
}

impl RowsVerdict {
    /// Refuses the rest of the result, for this reason.
    pub fn block(reason: impl Into<String>) -> Self {
        Self::Block(reason.into())
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.schema.is_empty() {
            write!(f, "{}.", self.schema)?;
        }
        f.write_str(&self.name)
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for qualifier in [&self.schema, &self.relation] {
            if !qualifier.is_empty() {
                write!(f, "{qualifier}.")?;
            }
        }
        f.write_str(&self.column)
    }
}
