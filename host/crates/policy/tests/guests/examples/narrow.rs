//! A policy that cares about writes and nothing else, and blocks them. Any settings suit it.

use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};
use sluicegate_policy::{Classes, Command, Events, Interests, Policy, Session, Verdict};

#[derive(Deserialize)]
struct Narrow {
    #[serde(flatten)]
    _settings: HashMap<String, IgnoredAny>,
}

impl Policy for Narrow {
    const NAME: &'static str = "narrow";
    const VERSION: &'static str = "2.0.0";
    const SETTINGS_SCHEMA: &'static str = r#"{"type": "object"}"#;
    type Settings = Self;

    fn configure(settings: Self) -> Result<Self, String> {
        Ok(settings)
    }

    fn interests(&self) -> Interests {
        Interests::in_events(Events::COMMAND).of_protocols(["postgres"]).of_sql_classes(Classes::DML)
    }

    fn on_command(&mut self, _: &Session, _: &Command) -> Verdict {
        Verdict::Block("narrow blocks writes".into())
    }
}

sluicegate_policy::export!(Narrow);
