//! `sluicegate approvals list`: what waits, or how it ended.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sluicegate_core::{
    Approval, ApprovalId, ApprovalState, record,
    sessions::{ApprovalFilter, ApprovalPage},
};

use crate::cli::{
    Output,
    print::{BOLD, brief, duration, is_narrow, json, out, printable, table, time},
    source::{Source, pages},
};

/// The most characters of a command in the table.
const MAX_TEXT: usize = 300;
/// The columns that the table needs.
const TABLE_WIDTH: u16 = 160;
/// The word for every state.
const ALL: &str = "all";

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those that stand so
    #[arg(long, default_value = "pending", value_name = "STATE", value_parser = state())]
    state: Wanted,
    /// Only what this user asked for
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those for this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only those older than this one: the next page
    #[arg(long, value_name = "ID")]
    before: Option<ApprovalId>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to print them
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

/// A state, or every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted(Option<ApprovalState>);

fn state() -> impl TypedValueParser<Value = Wanted> {
    let words = ApprovalState::ALL.iter().map(|state| state.word()).chain([ALL]);
    PossibleValuesParser::new(words)
        .map(|word| Wanted(ApprovalState::ALL.into_iter().find(|state| state.word() == word)))
}

impl List {
    /// Prints the approvals.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        let filter = ApprovalFilter {
            state: self.state.0,
            requester: self.user.clone(),
            target: self.target.clone(),
            before: self.before,
            limit: 0,
        };
        let found = find(source, filter, usize::try_from(self.limit)?).await?;
        match self.output {
            Output::Json => out(json(&found)?)?,
            Output::Text if found.items.is_empty() && self.state == Wanted(Some(ApprovalState::Pending)) => {
                out("nothing waits for approval")?;
            }
            Output::Text if found.items.is_empty() => out("no approvals")?,
            Output::Text => out(listing(&found, record::now(), is_narrow(TABLE_WIDTH)))?,
        }
        Ok(())
    }
}

/// The newest approvals, as many as wanted.
pub async fn find(source: &mut Source, mut filter: ApprovalFilter, wanted: usize) -> anyhow::Result<ApprovalPage> {
    let (items, next) = pages(wanted, filter.before, async |before, limit| {
        (filter.before, filter.limit) = (before, limit);
        let ApprovalPage { items, next } = source.approvals(&filter).await?;
        Ok((items, next))
    })
    .await?;
    Ok(ApprovalPage { items, next })
}

fn listing(page: &ApprovalPage, now: i64, narrow: bool) -> String {
    let listing = if narrow { lines(page, now) } else { rows(page, now) };
    match page.next {
        Some(id) => format!("{listing}\nthere are older ones: `--before {id}`, or more at once with `--limit`"),
        None => listing,
    }
}

fn rows(page: &ApprovalPage, now: i64) -> String {
    let mut rows = table(&["approval", "asked", "state", "user", "target", "command", "why", "approvers"]);
    for approval in &page.items {
        rows.add_row([
            approval.id.to_string(),
            time(approval.requested_at),
            state_of(approval, now),
            printable(&approval.requester),
            printable(&approval.target),
            brief(&approval.text, MAX_TEXT),
            brief(&approval.reasons(), MAX_TEXT),
            printable(&approval.approvers()),
        ]);
    }
    rows.trim_fmt()
}

fn lines(page: &ApprovalPage, now: i64) -> String {
    let told = page.items.iter().map(|approval| {
        let who = format!("{} on {}, {}", approval.requester, approval.target, time(approval.requested_at));
        let (who, approvers) = (printable(&who), printable(&approval.approvers()));
        let (id, state) = (approval.id, state_of(approval, now));
        let text = brief(&approval.text, MAX_TEXT);
        let why = brief(&approval.reasons(), MAX_TEXT);
        format!("{BOLD}{id}{BOLD:#}  {state}\n    {who}\n    {text}\n    {why}\n    approvers: {approvers}")
    });
    told.collect::<Vec<_>>().join("\n")
}

fn state_of(approval: &Approval, now: i64) -> String {
    match approval.state {
        ApprovalState::Pending => format!("{} left", duration(approval.expires_at - now)),
        state => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::approvals::sample;

    #[test]
    fn a_listing_shows_who_wants_what_and_where_it_goes_on() {
        let mut ended = sample();
        ended.state = ApprovalState::Expired;
        ended.text = "DROP\u{1b}[2J".to_owned();
        let next = Some(ended.id);
        let page = ApprovalPage { items: vec![sample(), ended], next };
        for text in [false, true].map(|narrow| anstream::adapter::strip_str(&listing(&page, 0, narrow)).to_string()) {
            for part in [
                "1 h 0 min left",
                "alice",
                "DELETE FROM orders⏎ WHERE id = $1",
                "hold-for-approval: a DELETE needs a second pair of eyes",
                "2 of group:dba",
                "expired",
                "DROP\\u{1b}[2J",
                "--before",
            ] {
                assert!(text.contains(part), "{part:?} is missing:\n{text}");
            }
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }
}
