//! The fixture format: events in, expectations out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Command, Session};
use crate::{Column, Mask};

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
    Suspend(String),
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
    /// The row limit.
    pub limit_rows: Option<u64>,
}

/// What a policy says about rows: `block`, or every cell it masks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedRows {
    /// Blocked, for a reason that contains this.
    pub block: Option<String>,
    /// The cells it masks, in any order.
    pub cells: Vec<ExpectedCell>,
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
