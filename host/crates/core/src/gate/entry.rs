//! What is recorded of a command, and shown to approvers: without what a mask could have hidden, and
//! without passwords.

use super::GatedSession;
use crate::{
    command::{Command, Parameter},
    record::{self, CommandEntry, MAX_TEXT_BYTES},
};

/// The most bytes of one parameter that are kept.
const MAX_PARAMETER_BYTES: usize = 1024;

impl GatedSession {
    /// Whether literals and parameters stay out of the record, and away from approvers.
    pub(super) fn hides(&self, command: &Command) -> bool {
        self.policies.may_mask() || carries_password(command)
    }

    /// What is recorded of a command itself.
    pub(super) fn entry(&self, sequence: u64, command: &Command) -> CommandEntry {
        let hide = self.hides(command);
        let source = if hide { &command.normalized } else { &command.text };
        let (text, cut) = record::cut(source, MAX_TEXT_BYTES);
        let values = if hide {
            Vec::new()
        } else {
            command
                .parameters
                .iter()
                .map(|p| match p {
                    Parameter::Null => None,
                    Parameter::Text(text) => Some(record::cut(text, MAX_PARAMETER_BYTES).0),
                    Parameter::Opaque(bytes) => Some(format!("({} bytes)", bytes.len())),
                })
                .collect()
        };
        let mut resources = command.resources.clone();
        if let Some(sql) = &command.sql {
            resources.extend(sql.relations.iter().filter(|r| !r.indirect).map(|r| r.name.to_string()));
        }
        CommandEntry {
            sequence,
            verb: command.verb.to_owned(),
            text,
            cut,
            resources,
            parameters: u32::try_from(command.parameters.len()).unwrap_or(u32::MAX),
            values,
            denial: None,
            approval: None,
            opinions: Vec::new(),
        }
    }
}

/// Whether a statement is made to carry a password: of roles, and of other servers.
fn carries_password(command: &Command) -> bool {
    let carriers = ["role", "user", "group", "user mapping", "server", "subscription"];
    let carries = |kind: &String| carriers.iter().any(|carrier| kind.ends_with(carrier));
    command.sql.as_ref().is_some_and(|sql| sql.kinds.iter().any(carries))
}
