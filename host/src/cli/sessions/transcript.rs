//! A session as it looked to whoever sat at it: a prompt, the commands, what came back.

use std::collections::HashMap;

use sluicegate_core::{
    ApprovalId,
    record::{CommandEntry, Event, Outcome},
    sessions::{KeptEntry, SessionSummary},
};

use super::{events, results::results};
use crate::cli::print::{
    BAD, BOLD, GOOD, WAITS, answer, count, duration, micros, printable, quoted, time, time_of_day,
};

/// The most holds that are remembered for how long they took; an honest session has one at a time.
const MAX_HOLDS: usize = 64;

/// Tells one session's entries, one after the other.
pub struct Transcript {
    prompt: String,
    /// Stands before what is no command, where several sessions are told at once.
    tag: String,
    /// The last command that was told.
    last: u64,
    /// When holds began.
    holds: HashMap<ApprovalId, i64>,
}

impl Transcript {
    /// Of a session that is told alone.
    pub fn alone(summary: &SessionSummary) -> Self {
        let prompt = printable(&format!("{}@{}", summary.user, summary.target));
        Self { prompt, tag: String::new(), last: 0, holds: HashMap::new() }
    }

    /// Of one among others: every line says whose it is.
    pub fn among_others(summary: &SessionSummary) -> Self {
        let alone = Self::alone(summary);
        let id = summary.id.to_string();
        let end: String = id.chars().skip(id.len().saturating_sub(6)).collect();
        let prompt = format!("{} {end}", alone.prompt);
        Self { tag: format!("{prompt} | "), prompt, ..alone }
    }

    /// What stands above the first entry.
    pub fn header(&self, summary: &SessionSummary) -> String {
        let mut line = format!("{BOLD}{}{BOLD:#}  {}", self.prompt, time(summary.opened_at));
        line.push_str(&printable(&format!("  session {}, from {}", summary.id, summary.client)));
        if !summary.application.is_empty() {
            line.push_str(&printable(&format!(" with {}", summary.application)));
        }
        line
    }

    /// The next entry; none where there was nothing to see.
    pub fn tell(&mut self, kept: &KeptEntry) -> Option<String> {
        let at = kept.entry.at;
        let lines = match &kept.entry.event {
            Event::Command(event) => return Some(self.command(event, at)),
            Event::Outcome(event) => self.outcome(event),
            Event::Opened(_) | Event::Governed(_) => return None,
            Event::Refused(event) => vec![format!("{BAD}refused: {}{BAD:#}", printable(&event.reason))],
            Event::Held(approval) => {
                if self.holds.len() < MAX_HOLDS {
                    self.holds.insert(approval.id, at);
                }
                let locks = if approval.in_transaction { "; its transaction keeps its locks" } else { "" };
                vec![
                    format!("{WAITS}waits for approval {}{WAITS:#}{locks}", approval.id),
                    printable(&format!("  by {}; {}", approval.approvers(), approval.reasons())),
                ]
            }
            Event::Answered(event) => vec![format!("  {}", answer(&event.answer, ""))],
            Event::HoldEnded(event) => {
                let waited = self.holds.remove(&event.approval).map(|since| format!(" after {}", duration(at - since)));
                let approved = event.state == sluicegate_core::ApprovalState::Approved;
                let style = if approved { GOOD } else { BAD };
                let why = if approved { String::new() } else { printable(&format!(": {}", event.reason)) };
                vec![format!("{style}{}{}{style:#}{why}", event.state, waited.unwrap_or_default())]
            }
            Event::Closed(event) => vec![format!("closed: {}", printable(&event.reason))],
        };
        Some(self.tagged(&lines))
    }

    fn command(&mut self, event: &CommandEntry, at: i64) -> String {
        self.last = event.sequence;
        let verb = if event.verb == "query" { String::new() } else { format!("({}) ", printable(&event.verb)) };
        let mut shown = format!("{BOLD}{} {}>{BOLD:#} {verb}", self.prompt, time_of_day(at));
        shown.push_str(&events::text(&event.text, event.cut).join("\n    "));
        let mut after = Vec::new();
        if !event.values.is_empty() {
            let values = event.values.iter().map(|value| value.as_deref().map_or("NULL".to_owned(), quoted));
            after.push(format!("  with {}", values.collect::<Vec<_>>().join(", ")));
        }
        after.extend(event.approval.map(|id| format!("{GOOD}covered by approval {id}{GOOD:#}")));
        after.extend(event.denial.as_ref().map(|denial| format!("{BAD}{}{BAD:#}", printable(&denial.to_string()))));
        if !after.is_empty() {
            shown.push('\n');
            shown.push_str(&self.tagged(&after));
        }
        shown
    }

    fn outcome(&self, event: &Outcome) -> Vec<String> {
        let mut lines: Vec<String> = event.output.iter().flat_map(results).collect();
        lines.extend(event.denial.iter().map(|denial| format!("{BAD}{}{BAD:#}", printable(&denial.to_string()))));
        if event.denial.is_some() && event.forwarded_at.is_none() {
            // The target has said nothing about it.
            return lines;
        }
        let mut line = printable(&event.status);
        if event.failed {
            line = format!("{BAD}error {line}{BAD:#}");
        }
        if event.sequence != self.last {
            line.push_str(&format!(" (of command {})", event.sequence));
        }
        if event.forwarded_at.is_some() {
            line.push_str(&format!("  {}", micros(event.micros)));
        }
        if event.masked > 0 {
            line.push_str(&format!(", {} masked", count(event.masked, "value")));
        }
        lines.push(line);
        lines
    }

    fn tagged(&self, lines: &[String]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| format!("{}{line}", self.tag)).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_core::{
        ApprovalState, Denial, SessionId,
        record::{Answered, Closed, Entry, HoldEnded, Output},
    };
    use uuid::Uuid;

    use super::*;
    use crate::cli::approvals::sample;

    fn summary() -> SessionSummary {
        let id = SessionId(Uuid::from_u128(0x1234_5678_9abc));
        SessionSummary { user: "al\u{1b}ice".to_owned(), target: "orders".to_owned(), ..SessionSummary::new(id, 0) }
    }

    fn kept(event: Event, at: i64) -> KeptEntry {
        KeptEntry { number: 0, hash: String::new(), entry: Entry { session: summary().id, at, event } }
    }

    fn command(text: &str) -> CommandEntry {
        CommandEntry {
            sequence: 1,
            verb: "query".to_owned(),
            text: text.to_owned(),
            cut: false,
            resources: Vec::new(),
            parameters: 0,
            values: Vec::new(),
            denial: None,
            approval: None,
            opinions: Vec::new(),
        }
    }

    fn outcome(sequence: u64) -> Outcome {
        let row = vec![Some("*****4412".to_owned())];
        Outcome {
            sequence,
            rows: 1,
            bytes: 9,
            masked: 1,
            status: "SELECT 1".to_owned(),
            failed: false,
            denial: None,
            opinions: Vec::new(),
            forwarded_at: Some(5),
            micros: 3200,
            output: vec![Output { columns: vec!["ssn".to_owned()], rows: vec![row], cut: false }],
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_command_and_its_result_read_as_at_a_prompt() {
        let mut transcript = Transcript::alone(&summary());
        let asked = plain(&transcript.tell(&kept(Event::Command(command("SELECT ssn\nFROM t\u{1b}[2J")), 0)).unwrap());
        assert!(
            asked.starts_with("al\\u{1b}ice@orders ") && asked.ends_with("> SELECT ssn\n    FROM t\\u{1b}[2J"),
            "{asked}"
        );
        let came = plain(&transcript.tell(&kept(Event::Outcome(outcome(1)), 9)).unwrap());
        assert!(came.contains("ssn") && came.contains("*****4412"), "{came}");
        assert!(came.ends_with("SELECT 1  3.2 ms, 1 value masked"), "{came}");
        let other = plain(&transcript.tell(&kept(Event::Outcome(outcome(7)), 9)).unwrap());
        assert!(other.contains("(of command 7)"), "{other}");
    }

    #[test]
    fn a_hold_says_who_answered_and_how_long_it_took() {
        let mut transcript = Transcript::among_others(&summary());
        let approval = sample();
        let answer = sluicegate_core::approval::Answer {
            approver: "bob".to_owned(),
            approved: true,
            note: "go\nahead".to_owned(),
            at: 2,
        };
        let ended = HoldEnded {
            approval: approval.id,
            sequence: 1,
            state: ApprovalState::Approved,
            reason: "approved".to_owned(),
        };
        let answered = Answered { approval: approval.id, sequence: 1, answer };
        let told: Vec<String> = [
            (Event::Held(Box::new(approval)), 0),
            (Event::Answered(answered), 12_000),
            (Event::HoldEnded(ended), 12_300),
        ]
        .into_iter()
        .filter_map(|(event, at)| transcript.tell(&kept(event, at)))
        .map(|text| plain(&text))
        .collect();
        let [held, answered, ended] = &told[..] else { panic!("{told:?}") };
        assert!(held.contains("waits for approval") && held.contains("group:dba"), "{held}");
        assert_eq!(answered, "al\\u{1b}ice@orders 789abc |   bob approved: go⏎ahead");
        assert_eq!(ended, "al\\u{1b}ice@orders 789abc | approved after 12 s");
    }

    #[test]
    fn a_denial_follows_its_command() {
        let mut denied = command("DROP TABLE t");
        denied.denial = Some(Denial::gate("no"));
        let mut transcript = Transcript::among_others(&summary());
        let told = plain(&transcript.tell(&kept(Event::Command(denied), 0)).unwrap());
        assert!(told.ends_with("\nal\\u{1b}ice@orders 789abc | blocked by the gateway: no"), "{told}");
        let closed = Event::Closed(Closed { commands: 1, reason: "the client left".to_owned() });
        assert!(transcript.tell(&kept(closed, 0)).unwrap().ends_with("closed: the client left"));
    }
}
