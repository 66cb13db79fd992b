//! One session's entries as people read them: each command in a row, with what was decided and what
//! came of it.

use std::{collections::HashMap, fmt};

use sluicegate_core::{
    policy::{Mode, Opinion},
    record::{CommandEntry, Entry, Event, Outcome},
};

use super::print::{printable, table, time_of_day};

/// The most characters of a command that are shown; JSON has all that was kept.
const MAX_TEXT: usize = 600;

/// Shows entries.
pub struct EntryTable<'a>(pub &'a [Entry]);

impl fmt::Display for EntryTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcomes: HashMap<u64, &Outcome> = self.0.iter().filter_map(|entry| outcome(&entry.event)).collect();
        let mut rows = table(&["#", "time", "command", "decision and result"]);
        for entry in self.0 {
            let at = time_of_day(entry.at);
            match &entry.event {
                Event::Command(command) => {
                    let outcome = outcomes.get(&command.sequence).copied();
                    rows.add_row([command.sequence.to_string(), at, text(command), result(command, outcome)]);
                }
                Event::Opened(opened) => {
                    rows.add_row([String::new(), at, "opened".to_owned(), governing(&opened.policies)]);
                }
                Event::Governed(governed) => {
                    rows.add_row([String::new(), at, "policies changed".to_owned(), governing(&governed.policies)]);
                }
                Event::Refused(refused) => {
                    rows.add_row([String::new(), at, "refused".to_owned(), printable(&refused.reason)]);
                }
                Event::Closed(closed) => {
                    rows.add_row([String::new(), at, "closed".to_owned(), printable(&closed.reason)]);
                }
                Event::Outcome(_) => {}
            }
        }
        f.write_str(&rows.trim_fmt())
    }
}

fn governing(policies: &[(String, String)]) -> String {
    let policies: Vec<String> = policies.iter().map(|(module, digest)| short(module, digest)).collect();
    if policies.is_empty() { "no policies".to_owned() } else { policies.join(", ") }
}

fn outcome(event: &Event) -> Option<(u64, &Outcome)> {
    match event {
        Event::Outcome(outcome) => Some((outcome.sequence, outcome)),
        _ => None,
    }
}

fn text(command: &CommandEntry) -> String {
    let text = printable(&command.text);
    let mut shown: String = text.chars().take(MAX_TEXT).collect();
    if shown.len() < text.len() || command.cut {
        shown.push_str(" ...");
    }
    match command.verb.as_str() {
        "query" => shown,
        verb => format!("{verb}: {shown}"),
    }
}

fn result(command: &CommandEntry, outcome: Option<&Outcome>) -> String {
    let mut lines = Vec::new();
    if let Some(denial) = &command.denial {
        lines.push(printable(&denial.to_string()));
    }
    if let Some(outcome) = outcome {
        lines.extend(outcome.denial.as_ref().map(|denial| printable(&denial.to_string())));
        let word = if outcome.failed { "error " } else { "" };
        let mut line = format!("{word}{}", printable(&outcome.status));
        if outcome.masked > 0 {
            line.push_str(&format!(", {} values masked", outcome.masked));
        }
        lines.push(line);
    } else if command.denial.is_none() {
        lines.push("no end recorded".to_owned());
    }
    let opinions = command.opinions.iter().chain(outcome.into_iter().flat_map(|outcome| &outcome.opinions));
    let denied = command.denial.as_ref().or(outcome.and_then(|outcome| outcome.denial.as_ref()));
    // What the denial says already is not said again.
    let fresh = opinions.filter(|opinion| denied.is_none_or(|denial| denial.reason != opinion.reason));
    lines.extend(fresh.map(opinion));
    lines.join("\n")
}

fn opinion(opinion: &Opinion) -> String {
    let mode = if opinion.mode == Mode::Monitor { " (monitor)" } else { "" };
    printable(&format!("{}{mode}: {} {}", short(&opinion.policy, &opinion.digest), opinion.said, opinion.reason))
}

fn short(module: &str, digest: &str) -> String {
    format!("{module}@{}", digest.get(..12).unwrap_or(digest))
}
