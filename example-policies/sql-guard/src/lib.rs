//! Says which SQL statements may run: by kind or class, with or without WHERE, and how many rows a
//! result may have.

mod rules;

use serde::Deserialize;
use sluicegate_policy::{
    Classes, Command, Events, Interests, Plan, Policy, ResultSet, ResultVerdict, Session, Sql, Verdict, host,
};

use crate::rules::{AllowOnly, Rule, denied_by};

/// The settings of a binding; `settings.schema.json` says what they mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What may not run.
    pub deny: Vec<Rule>,
    /// Nothing else may run.
    pub allow_only: Option<AllowOnly>,
    /// An UPDATE or DELETE needs a WHERE.
    pub require_where: bool,
    /// A result with more rows is blocked.
    pub max_rows: Option<u64>,
    /// What happens to a command that the gateway cannot analyse.
    pub unanalysable: Unanalysable,
    /// Whether PostgreSQL's FunctionCall message may pass.
    pub allow_function_call: bool,
}

/// What happens to a command that the gateway cannot analyse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unanalysable {
    /// It is blocked.
    #[default]
    Block,
    /// It passes, and no rule is sure to find what is in it.
    Allow,
}

/// The policy.
#[derive(Debug)]
pub struct SqlGuard(Settings);

impl Policy for SqlGuard {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn interests(&self) -> Interests {
        let results = if self.0.max_rows.is_some() { Events::RESULT } else { Events::empty() };
        Interests::in_events(Events::COMMAND | results)
    }

    fn on_command(&mut self, _: &Session, command: &Command) -> Verdict {
        match self.refusal(command) {
            Some(reason) => Verdict::Block(reason),
            None => Verdict::Allow,
        }
    }

    fn on_result(&mut self, _: &Session, _: &Command, _: &ResultSet, plan: &Plan) -> ResultVerdict {
        if let Some(rows) = self.0.max_rows {
            host::cite("max_rows");
            plan.limit_rows(rows);
        }
        ResultVerdict::Proceed
    }
}

impl SqlGuard {
    fn refusal(&self, command: &Command) -> Option<String> {
        if command.verb() == "function-call" {
            let reason = "a FunctionCall message names a function by its number and not by SQL; run it with SELECT";
            return (!self.0.allow_function_call).then(|| by("allow_function_call", reason));
        }
        match command.sql() {
            Some(sql) => self.sql_refusal(sql),
            None if self.0.unanalysable == Unanalysable::Allow => None,
            None => Some(by("unanalysable", "the command is not SQL, so the rules for SQL cannot judge it")),
        }
    }

    fn sql_refusal(&self, sql: Sql<'_>) -> Option<String> {
        let classes = sql.classes();
        let unanalysable = classes.contains(Classes::UNANALYSABLE);
        if unanalysable && self.0.unanalysable == Unanalysable::Block {
            let why = sql.unanalysable_reason().unwrap_or_default();
            let reason = format!("the command cannot be analysed ({why}), and what is not understood does not run");
            return Some(by("unanalysable", reason));
        }
        let kinds = sql.kinds();
        if let Some((index, reason)) = denied_by(&self.0.deny, &kinds, classes) {
            return Some(by(&format!("deny[{index}]"), reason));
        }
        if let Some(allow_only) = self.0.allow_only.as_ref().filter(|_| !unanalysable)
            && let Some(reason) = allow_only.refusal(&kinds, classes)
        {
            return Some(by("allow_only", reason));
        }
        let reason = "an UPDATE or DELETE without WHERE changes every row (`require_where`); add a WHERE";
        (self.0.require_where && sql.writes_without_where()).then(|| by("require_where", reason))
    }
}

/// The reason of a refusal by this setting.
fn by(setting: &str, reason: impl Into<String>) -> String {
    host::cite(setting);
    reason.into()
}

sluicegate_policy::export!(SqlGuard);
