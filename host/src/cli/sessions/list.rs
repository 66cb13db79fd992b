//! `sluicegate sessions list`: the newest sessions, as far back as is asked for.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sluicegate_core::{
    SessionId,
    sessions::{SessionFilter, SessionPage, SessionSummary, SessionVerdict},
};

use super::show::in_all;
use crate::cli::{
    Output,
    print::{BOLD, duration, is_narrow, json, out, printable, table, time},
    source::{Source, pages},
    when,
};

/// The columns that the table needs.
const TABLE_WIDTH: u16 = 140;
/// How many of the newest sessions are looked through where no number is asked for.
const MAX_LOOKED_THROUGH: usize = 2000;

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only this user's
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those to this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only those of which this came: the session refused, something in it denied, held or masked, or
    /// none of these
    #[arg(long, value_name = "VERDICT", value_parser = verdict())]
    verdict: Option<SessionVerdict>,
    /// Only those that named this table, with or without its schema
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only those that opened then or later: `2h` ago, a local date or time, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    since: Option<i64>,
    /// Only those that opened before that time
    #[arg(long, value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    until: Option<i64>,
    /// Only those older than this session: the next page
    #[arg(long, value_name = "ID")]
    before: Option<SessionId>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to print them
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

fn verdict() -> impl TypedValueParser<Value = SessionVerdict> {
    PossibleValuesParser::new(SessionVerdict::ALL.map(SessionVerdict::word))
        .try_map(|word| SessionVerdict::ALL.into_iter().find(|verdict| verdict.word() == word).ok_or("no such verdict"))
}

impl List {
    /// Prints the sessions.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        let filter = SessionFilter {
            user: self.user.clone(),
            target: self.target.clone(),
            verdict: self.verdict,
            table: self.table.clone(),
            since: self.since,
            until: self.until,
            before: self.before,
            limit: 0,
        };
        let found = find(source, filter, usize::try_from(self.limit)?).await?;
        match self.output {
            Output::Json => out(json(&found)?)?,
            Output::Text if found.items.is_empty() => out("no sessions")?,
            Output::Text => out(listing(&found, is_narrow(TABLE_WIDTH)))?,
        }
        Ok(())
    }
}

/// The newest sessions, as many as wanted.
async fn find(source: &mut Source, mut filter: SessionFilter, wanted: usize) -> anyhow::Result<SessionPage> {
    let (items, next) = pages(wanted, filter.before, async |before, limit| {
        (filter.before, filter.limit) = (before, limit);
        let SessionPage { items, next } = source.sessions(&filter).await?;
        Ok((items, next))
    })
    .await?;
    Ok(SessionPage { items, next })
}

/// The newest sessions, newest first, of those that opened then or later.
pub async fn newest(source: &mut Source, since: Option<i64>) -> anyhow::Result<Vec<SessionSummary>> {
    let filter = SessionFilter { since, ..SessionFilter::default() };
    Ok(find(source, filter, MAX_LOOKED_THROUGH).await?.items)
}

fn listing(page: &SessionPage, narrow: bool) -> String {
    let listing = if narrow { lines(page) } else { rows(page) };
    match page.next {
        Some(id) => format!("{listing}\nthere are older ones: `--before {id}`, or more at once with `--limit`"),
        None => listing,
    }
}

fn rows(page: &SessionPage) -> String {
    let headers = ["session", "opened", "lasted", "user", "target", "commands", "denied", "held", "rows", "masked"];
    let mut rows = table(&headers);
    for session in &page.items {
        rows.add_row([
            session.id.to_string(),
            time(session.opened_at),
            lasted(session),
            printable(&session.user),
            printable(&session.target),
            session.commands.to_string(),
            session.denied.to_string(),
            session.held.to_string(),
            session.rows.to_string(),
            session.masked.to_string(),
        ]);
    }
    rows.trim_fmt()
}

fn lines(page: &SessionPage) -> String {
    let told = page.items.iter().map(|session| {
        let who = printable(&format!("{} on {}", session.user, session.target));
        let opened = format!("{}, {}", time(session.opened_at), lasted(session));
        format!("{BOLD}{}{BOLD:#}  {who}\n    {opened}: {}", session.id, in_all(session))
    });
    told.collect::<Vec<_>>().join("\n")
}

fn lasted(session: &SessionSummary) -> String {
    match (&session.refused, session.closed_at) {
        (Some(_), _) => "refused".to_owned(),
        (None, Some(at)) => duration(at - session.opened_at),
        (None, None) => "open".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_listing_says_whose_sessions_they_are_and_where_it_goes_on() {
        let id = SessionId(Uuid::nil());
        let mut open = SessionSummary::new(id, 0);
        (open.user, open.target, open.denied) = ("ev\u{1b}e".to_owned(), "orders".to_owned(), 3);
        let refused = SessionSummary { refused: Some("no".to_owned()), ..open.clone() };
        let page = SessionPage { items: vec![open, refused], next: Some(id) };
        for text in [false, true].map(|narrow| anstream::adapter::strip_str(&listing(&page, narrow)).to_string()) {
            for part in ["ev\\u{1b}e", "orders", "open", "refused", "3", "--before 00000000-"] {
                assert!(text.contains(part), "{part:?} is missing:\n{text}");
            }
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }
}
