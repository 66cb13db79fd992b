//! `sluicegate sessions show`: everything that the record has of one session, in order.

use std::io::Write as _;

use sluicegate_core::{SessionId, sessions::SessionSummary};

use super::events;
use crate::cli::{
    Output,
    pick::Meant,
    print::{count, fields_text, json_line, moment, out, put},
    source::Source,
};

#[derive(Debug, clap::Args)]
pub struct Show {
    /// The session's id, or at least the last 4 characters of a recent one's
    id: Meant<SessionId>,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Show {
    /// Prints the session page by page, so that it need not fit in memory.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        let id = self.id.find(source).await?;
        let mut page = source.session(id, 0).await?;
        let mut reading = put(match self.output {
            Output::Text => summary(&page.summary),
            Output::Json => format!("{{\"summary\":{},\n\"entries\":[", json_line(&page.summary)?),
        })?;
        let mut separator = "";
        while reading {
            for kept in &page.entries {
                reading = match self.output {
                    Output::Text => put(events::entry(kept))?,
                    Output::Json => put(format!("{separator}{}", json_line(kept)?))?,
                };
                separator = ",";
                if !reading {
                    return Ok(());
                }
            }
            let Some(next) = page.next else { break };
            page = source.session(id, next).await?;
        }
        if self.output == Output::Json {
            out("]}")?;
        }
        Ok(std::io::stdout().flush()?)
    }
}

fn summary(summary: &SessionSummary) -> String {
    let refused = summary.refused.is_some();
    let ended = summary.ended.as_deref().unwrap_or_default();
    let closed = summary.closed_at.map_or_else(|| "still open".to_owned(), |at| format!("{}: {ended}", moment(at)));
    let more = if summary.named_cut { ", ..." } else { "" };
    let fields = [
        ("session", summary.id.to_string()),
        ("user", summary.user.clone()),
        ("target", format!("{} ({})", summary.target, summary.protocol)),
        ("client", summary.client.clone()),
        ("application", summary.application.clone()),
        ("opened", if refused { String::new() } else { moment(summary.opened_at) }),
        ("closed", if refused { String::new() } else { closed }),
        (
            "refused",
            summary.refused.as_ref().map_or_else(String::new, |why| format!("{}: {why}", moment(summary.opened_at))),
        ),
        ("named", format!("{}{more}", summary.named.join(", "))),
        ("in all", in_all(summary)),
    ];
    fields_text(&fields)
}

/// What there is of a session, in numbers.
pub fn in_all(summary: &SessionSummary) -> String {
    let numbers = [
        count(summary.commands, "command"),
        format!("{} denied", summary.denied),
        format!("{} held", summary.held),
        count(summary.rows, "row"),
        format!("{} masked", count(summary.masked, "value")),
    ];
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_summary_is_printed_without_what_is_empty_and_cannot_steer_the_terminal() {
        let mut session = SessionSummary::new(SessionId(Uuid::nil()), 0);
        session.user = "eve\u{1b}[2J".to_owned();
        session.refused = Some("no such\ntarget".to_owned());
        let text = anstream::adapter::strip_str(&summary(&session)).to_string();
        assert!(text.contains("eve\\u{1b}[2J") && text.contains("no such⏎target"), "{text}");
        assert!(!text.contains("application") && !text.contains("still open"), "{text}");
    }
}
