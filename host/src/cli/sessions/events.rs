//! Everything that the record says of one event, for people.

use sluicegate_core::{
    Approval,
    identity::Kind,
    policy::{Mode, Opinion},
    record::{CommandEntry, Event, Opened, Outcome},
    sessions::KeptEntry,
};

use super::results::results;
use crate::cli::approvals::ending;
use crate::cli::print::{BAD, BOLD, WAITS, answer, count, micros, moment, printable, printable_lines, quoted};

/// The most characters of a command that are shown; JSON has all that was kept.
pub const MAX_TEXT: usize = 4000;

/// One entry: its place, its time and what happened, and below that the details.
pub fn entry(kept: &KeptEntry) -> String {
    let (what, details) = describe(&kept.entry.event);
    let mut shown = format!("{:>5}  {}  {BOLD}{what}{BOLD:#}", kept.number, moment(kept.entry.at));
    for line in details {
        shown.push_str("\n       ");
        shown.push_str(&line);
    }
    shown
}

fn describe(event: &Event) -> (String, Vec<String>) {
    match event {
        Event::Opened(event) => ("opened".to_owned(), opened(event)),
        Event::Refused(event) => {
            let mut lines = vec![
                printable(&format!("{} asked for {} ({})", event.user, event.target, event.protocol)),
                printable(&format!("from {}", event.client)),
                bad(&event.reason),
            ];
            lines.extend(event.opinions.iter().map(opinion));
            ("refused".to_owned(), lines)
        }
        Event::Governed(event) => ("policies changed".to_owned(), vec![governing(&event.policies)]),
        Event::Command(event) => {
            let verb = if event.verb == "query" { String::new() } else { format!(", {}", printable(&event.verb)) };
            (format!("command {}{verb}", event.sequence), command(event))
        }
        Event::Held(approval) => (format!("command {} is held", approval.sequence), held(approval)),
        Event::Answered(event) => {
            let line = answer(&event.answer, &format!(" {}", event.approval));
            (format!("command {} is answered", event.sequence), vec![line])
        }
        Event::HoldEnded(event) => {
            let how = ending(event.state, &event.reason);
            (format!("command {} is held no longer", event.sequence), vec![printable(&how)])
        }
        Event::Outcome(event) => (format!("result of command {}", event.sequence), outcome(event)),
        Event::Closed(event) => {
            ("closed".to_owned(), vec![format!("{}, {}", count(event.commands, "command"), printable(&event.reason))])
        }
    }
}

fn opened(event: &Opened) -> Vec<String> {
    let groups = if event.groups.is_empty() { "no group".to_owned() } else { event.groups.join(", ") };
    let mut lines = vec![
        printable(&format!("{}{} ({groups}), proven by {}", event.user, acting(event), event.authentication)),
        printable(&format!("on {} ({}), from {}", event.target, event.protocol, event.client)),
    ];
    if !event.roles.is_empty() {
        lines.push(printable(&format!("as {}", event.roles.join(", "))));
    }
    if !event.application.is_empty() {
        lines.push(printable(&format!("with {}", event.application)));
    }
    lines.push(governing(&event.policies));
    lines.extend(event.opinions.iter().map(opinion));
    lines
}

/// What stands behind a name that is not a person's own.
fn acting(event: &Opened) -> String {
    let kind = event.kind.word();
    match (&event.actor, &event.owner) {
        (Some(actor), _) => format!(", by the {kind} {actor}"),
        (None, Some(owner)) => format!(", a {kind} of {owner}").replace("a agent", "an agent"),
        (None, None) if event.kind != Kind::Person => format!(", a {kind}").replace("a agent", "an agent"),
        (None, None) => String::new(),
    }
}

fn governing(policies: &[(String, String)]) -> String {
    let policies: Vec<String> = policies.iter().map(|(module, digest)| short(module, digest)).collect();
    if policies.is_empty() { "no policies".to_owned() } else { printable(&format!("policies {}", policies.join(", "))) }
}

fn command(event: &CommandEntry) -> Vec<String> {
    let mut lines = text(&event.text, event.cut);
    if !event.values.is_empty() {
        lines.extend((1..).zip(&event.values).map(|(number, value)| match value {
            Some(value) => format!("${number} = {}", quoted(value)),
            None => format!("${number} is NULL"),
        }));
    } else if event.parameters > 0 {
        lines.push(format!("{}, not kept", count(event.parameters.into(), "parameter")));
    }
    if !event.resources.is_empty() {
        lines.push(printable(&format!("names {}", event.resources.join(", "))));
    }
    lines.extend(event.denial.as_ref().map(|denial| bad(&denial.to_string())));
    lines.extend(event.approval.map(|id| format!("covered by the earlier approval {id}")));
    lines.extend(event.opinions.iter().map(opinion));
    lines
}

/// A command's text, line by line.
pub fn text(text: &str, cut: bool) -> Vec<String> {
    let shown: String = text.chars().take(MAX_TEXT).collect();
    let mut lines = printable_lines(&shown);
    if shown.len() < text.len() || cut {
        lines.push("...".to_owned());
    }
    lines
}

fn held(approval: &Approval) -> Vec<String> {
    let mut lines = vec![
        format!("{WAITS}waits for approval {}{WAITS:#}, until {}", approval.id, moment(approval.expires_at)),
        printable(&format!("by {}", approval.approvers())),
        printable(&approval.reasons()),
    ];
    if approval.in_transaction {
        lines.push("a transaction is open and keeps its locks".to_owned());
    }
    lines
}

fn outcome(event: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = event.denial.iter().map(|denial| bad(&denial.to_string())).collect();
    let status = printable(&event.status);
    let mut line = if event.failed { format!("error {status}") } else { status };
    if event.rows > 0 {
        line.push_str(&format!(", {}, {}", count(event.rows, "row"), count(event.bytes, "byte")));
    }
    if event.masked > 0 {
        line.push_str(&format!(", {} masked", count(event.masked, "value")));
    }
    lines.push(line);
    lines.push(match event.forwarded_at {
        Some(at) => format!("sent to the target at {}, took {}", moment(at), micros(event.micros)),
        None => "never sent to the target".to_owned(),
    });
    lines.extend(event.opinions.iter().map(opinion));
    lines.extend(event.output.iter().flat_map(results));
    lines
}

fn opinion(opinion: &Opinion) -> String {
    let mode = if opinion.mode == Mode::Monitor { " (monitor)" } else { "" };
    let mut line = format!("{}{mode}: {}", short(&opinion.policy, &opinion.digest), opinion.said);
    if let Some(rule) = &opinion.rule {
        line.push_str(&format!(" by rule {rule}"));
    }
    if !opinion.reason.is_empty() {
        line.push_str(&format!(", {}", opinion.reason));
    }
    printable(&format!("{line} ({})", micros(opinion.micros.into())))
}

fn short(module: &str, digest: &str) -> String {
    format!("{module}@{}", digest.get(..12).unwrap_or(digest))
}

fn bad(text: &str) -> String {
    format!("{BAD}{}{BAD:#}", printable(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_behind_a_name_is_said() {
        let of = |kind, owner: Option<&str>, actor: Option<&str>| {
            let [owner, actor] = [owner, actor].map(|name| name.map(str::to_owned));
            let event =
                Opened { user: "x".to_owned(), roles: vec!["dba".to_owned()], kind, owner, actor, ..Opened::default() };
            opened(&event).join("\n")
        };
        assert!(of(Kind::Person, None, None).starts_with("x (no group), proven by"));
        assert!(of(Kind::Agent, None, Some("bot")).starts_with("x, by the agent bot (no group)"));
        assert!(of(Kind::Agent, Some("alice"), None).starts_with("x, an agent of alice (no group)"));
        assert!(of(Kind::Service, None, None).contains("x, a service (no group)"));
        assert!(of(Kind::Person, None, None).contains("\nas dba\n"));
    }
}
