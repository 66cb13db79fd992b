//! The fixture format: events in, expectations out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Command, Session};
use crate::{Approval, Column, Mask};

/// One fixture file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What it shows.
    #[serde(default)]
    pub about: String,
    /// The binding's settings.
    #[serde(default = "no_settings")]
    pub settings: Value,
    /// The settings are refused with an error that contains this.
    #[serde(default)]
    pub refused: Option<String>,
    /// The session.
    #[serde(default)]
    pub session: Session,
    /// What the policy says when the session opens.
    #[serde(default)]
    pub opened: ExpectedVerdict,
    /// The session's commands, in order.
    #[serde(default)]
    pub cases: Vec<Case>,
}

/// One command, its result and what is expected of the policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    #[serde(default)]
    pub about: String,
    /// The command.
    pub command: Command,
    /// Its result, where it has one.
    #[serde(default)]
    pub result: Option<ResultFacts>,
    /// What the policy says.
    #[serde(default)]
    pub expect: Expected,
}

/// A result and its rows.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResultFacts {
    /// Which of the command's statements it belongs to.
    pub statement: u32,
    /// Its columns; their names are unique.
    pub columns: Vec<Column>,
    /// Its rows as text, all columns of each; `null` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// What a policy says about a case.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// About the command.
    pub command: ExpectedVerdict,
    /// The rule that the policy names about the command.
    pub rule: Option<String>,
    /// About the result.
    pub result: ExpectedPlan,
    /// About the rows.
    pub rows: ExpectedRows,
}

/// What a policy says about a session or a command; texts are what the reason contains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedVerdict {
    /// Allow.
    #[default]
    Allow,
    /// Block.
    Block(String),
    /// Suspend.
    Suspend(ExpectedApproval),
}

/// What a policy asks of people: a part of the reason, or more. What is left out is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ReasonOrParts")]
pub struct ExpectedApproval {
    /// A part of the reason.
    pub reason: String,
    /// Who may approve, in order.
    pub approvers: Option<Vec<String>>,
    /// How many of them must.
    pub min_approvals: Option<u32>,
    /// Whether each answer needs a note.
    pub reason_required: Option<bool>,
    /// How long the request stands, in seconds; 0 for the gateway's default.
    pub expires_in: Option<u32>,
    /// For how many seconds an approval covers the same command; 0 for that one run.
    pub remember: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ReasonOrParts {
    Reason(String),
    Parts(Parts),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Parts {
    reason: String,
    approvers: Option<Vec<String>>,
    min_approvals: Option<u32>,
    reason_required: Option<bool>,
    expires_in: Option<u32>,
    remember: Option<u32>,
}

impl From<ReasonOrParts> for ExpectedApproval {
    fn from(expected: ReasonOrParts) -> Self {
        match expected {
            ReasonOrParts::Reason(reason) => Self { reason, ..Self::default() },
            ReasonOrParts::Parts(parts) => {
                let Parts { reason, approvers, min_approvals, reason_required, expires_in, remember } = parts;
                Self { reason, approvers, min_approvals, reason_required, expires_in, remember }
            }
        }
    }
}

impl ExpectedApproval {
    pub(super) fn holds(&self, said: &Approval) -> bool {
        said.reason.contains(&self.reason)
            && self.approvers.as_ref().is_none_or(|approvers| *approvers == said.approvers)
            && self.min_approvals.is_none_or(|count| count.max(1) == said.min_approvals.max(1))
            && self.reason_required.is_none_or(|required| required == said.reason_required)
            && self.expires_in.is_none_or(|seconds| seconds == said.expires_in)
            && self.remember.is_none_or(|seconds| seconds == said.remember)
    }
}

/// What a policy says about a result: `block`, or the whole plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedPlan {
    /// Blocked, for a reason that contains this.
    pub block: Option<String>,
    /// Masks by column.
    pub mask: BTreeMap<String, Mask>,
    /// Columns to inspect.
    pub inspect: Vec<String>,
    /// Columns that the caller sees by an exception.
    pub spare: Vec<String>,
    /// The row limit.
    pub limit_rows: Option<u64>,
    /// The rule that the policy names about the result.
    pub rule: Option<String>,
}

/// What a policy says about rows: `block`, or every cell it masks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedRows {
    /// Blocked, for a reason that contains this.
    pub block: Option<String>,
    /// The cells it masks, in any order.
    pub cells: Vec<ExpectedCell>,
    /// The rule that the policy names about the rows.
    pub rule: Option<String>,
}

/// A masked value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedCell {
    /// The row, from 0.
    pub row: u32,
    /// The column's name.
    pub column: String,
    /// The mask.
    pub mask: Mask,
}

fn no_settings() -> Value {
    Value::Object(serde_json::Map::new())
}
