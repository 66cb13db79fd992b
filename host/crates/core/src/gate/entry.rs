//! What is recorded of a command, and shown to approvers: without what a mask could have hidden, and
//! without passwords.

use super::GatedSession;
use crate::{
    command::{Command, Parameter},
    record::{self, CommandEntry, MAX_TEXT_BYTES},
    sql::Classes,
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
        let (text, mut cut) = record::cut(source, MAX_TEXT_BYTES);
        let mut shown = |parameter: &Parameter| match parameter {
            Parameter::Null => None,
            Parameter::Text(text) => {
                let (kept, shortened) = record::cut(text, MAX_PARAMETER_BYTES);
                cut |= shortened;
                Some(if shortened { format!("{kept} ... ({} bytes in all)", text.len()) } else { kept })
            }
            Parameter::Opaque(bytes) => {
                cut = true;
                Some(format!("({} bytes)", bytes.len()))
            }
        };
        let values = if hide { Vec::new() } else { command.parameters.iter().map(&mut shown).collect() };
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

/// Whether something may have happened at the target before the client hears of its end: then strict
/// recording has the decision on disk first. Of several statements the client may see one complete while
/// the next runs.
pub(super) fn leaves_traces(command: &Command) -> bool {
    let harmless = Classes::READ | Classes::SESSION | Classes::TRANSACTION;
    command.sql.as_ref().is_none_or(|sql| {
        sql.statements > 1
            || !harmless.contains(sql.classes)
            || sql.reaches_unknown
            || sql.functions.iter().any(|function| !function.builtin)
    })
}

/// Whether a text is made to carry a password: statements about roles and other servers, and whatever
/// speaks of one.
fn carries_password(command: &Command) -> bool {
    let word = b"password";
    if command.text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word)) {
        return true;
    }
    let carriers = ["role", "user", "group", "user mapping", "server", "subscription"];
    let carries = |kind: &String| carriers.iter().any(|carrier| kind.ends_with(carrier));
    command.sql.as_ref().is_some_and(|sql| sql.kinds.iter().any(carries))
}
