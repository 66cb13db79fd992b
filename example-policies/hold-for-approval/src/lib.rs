//! Has risky statements wait for a person: by kind, class, table, function or a missing WHERE.

mod conditions;
mod settings;

use sluicegate_policy::{Classes, Command, Events, Interests, Policy, Session, Sql, Verdict, host};

use crate::conditions::Facts;
pub use crate::settings::{Entry, Settings, Unanalysable};

/// The policy.
#[derive(Debug)]
pub struct HoldForApproval(Settings);

impl Policy for HoldForApproval {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self(settings))
    }

    fn interests(&self) -> Interests {
        Interests::in_events(Events::COMMAND)
    }

    fn on_command(&mut self, _: &Session, command: &Command) -> Verdict {
        // An approver could not see which function it is, nor with which values.
        if command.verb() == "function-call" {
            host::cite("unanalysable");
            return Verdict::block("a FunctionCall message names a function by its number; run it with SELECT");
        }
        match command.sql() {
            Some(sql) => self.judge(sql),
            None => self.not_understood("the command is not SQL"),
        }
    }
}

impl HoldForApproval {
    fn judge(&self, sql: Sql<'_>) -> Verdict {
        let classes = sql.classes();
        if classes.contains(Classes::UNANALYSABLE) {
            let why = sql.unanalysable_reason().unwrap_or_default();
            return self.not_understood(&format!("the command cannot be analysed ({why})"));
        }
        let facts = Facts::new(sql, classes);
        for (index, entry) in self.0.when.iter().enumerate() {
            if let Some(reason) = facts.matched(entry) {
                host::cite(&format!("when[{index}]"));
                return self.0.approval(reason).into();
            }
        }
        Verdict::Allow
    }

    fn not_understood(&self, why: &str) -> Verdict {
        host::cite("unanalysable");
        match self.0.unanalysable {
            Unanalysable::Block => Verdict::block(format!("{why}, and what is not understood does not run")),
            Unanalysable::Hold => self.0.approval(format!("{why}, so nobody knows what it does")).into(),
        }
    }
}

sluicegate_policy::export!(HoldForApproval);
