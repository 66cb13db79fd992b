//! `sluicegate sessions`: what the record holds. A running gateway is asked; where none runs, its
//! store is opened.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstyle::Style;
use anyhow::{Context, bail};
use serde::Serialize;
use sluicegate_admin::{AdminClient, ClientError};
use sluicegate_core::{
    SessionId,
    record::Entry,
    sessions::{SessionFilter, SessionPage, SessionReader, SessionSummary},
};
use sluicegate_recorder::Store;

use super::{
    Output,
    entries::EntryTable,
    print::{duration, out, printable, table, time},
};

const BOLD: Style = Style::new().bold();
/// Sessions asked for at once.
const PAGE: usize = 200;

/// Shows recorded sessions
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists sessions, the newest first
    List(List),
    /// Shows one session: its commands, what was decided and what came of it
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only this user's
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those to this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to print them
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The session's id, as `sessions list` prints it
    id: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Serialize)]
struct Whole {
    summary: SessionSummary,
    entries: Vec<Entry>,
}

/// Lists or shows.
pub fn run(args: &Args, config: &Path) -> anyhow::Result<ExitCode> {
    let data_dir = crate::config::data_dir(config)?;
    super::runtime()?.block_on(async {
        let mut record = Record::open(data_dir).await?;
        match &args.command {
            Command::List(list) => list.print(&mut record).await,
            Command::Show(show) => show.print(&mut record).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

impl List {
    async fn print(&self, record: &mut Record) -> anyhow::Result<()> {
        let wanted = usize::try_from(self.limit)?;
        let mut filter =
            SessionFilter { user: self.user.clone(), target: self.target.clone(), before: None, limit: PAGE };
        let mut found = SessionPage { items: Vec::new(), next: None };
        while found.items.len() < wanted {
            filter.limit = PAGE.min(wanted - found.items.len());
            let page = record.list(&filter).await?;
            found.items.extend(page.items);
            found.next = page.next;
            filter.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        match self.output {
            Output::Json => out(serde_json::to_string_pretty(&found)?)?,
            Output::Text if found.items.is_empty() => out("no sessions")?,
            Output::Text => out(sessions(&found))?,
        }
        Ok(())
    }
}

fn sessions(page: &SessionPage) -> String {
    let mut rows = table(&["session", "opened", "lasted", "user", "target", "commands", "denied", "rows", "masked"]);
    for session in &page.items {
        let lasted = match (&session.refused, session.closed_at) {
            (Some(_), _) => "refused".to_owned(),
            (None, Some(at)) => duration(at - session.opened_at),
            (None, None) => "open".to_owned(),
        };
        rows.add_row([
            session.id.to_string(),
            time(session.opened_at),
            lasted,
            printable(&session.user),
            printable(&session.target),
            session.commands.to_string(),
            session.denied.to_string(),
            session.rows.to_string(),
            session.masked.to_string(),
        ]);
    }
    let more = if page.next.is_some() { "\nthere are older ones; see more with `--limit`" } else { "" };
    rows.trim_fmt() + more
}

impl Show {
    async fn print(&self, record: &mut Record) -> anyhow::Result<()> {
        let id: SessionId = self.id.parse()?;
        let Some((summary, entries, mut next)) = record.page(id, 0).await? else {
            bail!("there is no session {id}; `sluicegate sessions list` shows those there are");
        };
        let mut whole = Whole { summary, entries };
        while let Some(from) = next {
            let Some((_, entries, after)) = record.page(id, from).await? else { break };
            whole.entries.extend(entries);
            next = after;
        }
        match self.output {
            Output::Json => out(serde_json::to_string_pretty(&whole)?)?,
            Output::Text => out(session(&whole))?,
        }
        Ok(())
    }
}

fn session(Whole { summary, entries }: &Whole) -> String {
    let (commands, denied) = (summary.commands, summary.denied);
    let fields = [
        ("session", summary.id.to_string()),
        ("user", summary.user.clone()),
        ("target", format!("{} ({})", summary.target, summary.protocol)),
        ("client", summary.client.clone()),
        ("application", summary.application.clone()),
        ("opened", time(summary.opened_at)),
        ("closed", summary.closed_at.map_or_else(|| "still open".to_owned(), time)),
        ("refused", summary.refused.clone().unwrap_or_default()),
        (
            "in all",
            format!("{commands} commands, {denied} denied, {} rows, {} values masked", summary.rows, summary.masked),
        ),
    ];
    let mut shown = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        shown.push_str(&format!("{BOLD}{name:>12}{BOLD:#}  {}\n", printable(value)));
    }
    format!("{shown}\n{}", EntryTable(entries))
}

/// Where the record is read.
enum Record {
    Gateway(AdminClient),
    Store(Store),
}

type Page = (SessionSummary, Vec<Entry>, Option<u64>);

impl Record {
    async fn open(data_dir: PathBuf) -> anyhow::Result<Self> {
        match AdminClient::connect(&data_dir).await {
            Ok(client) => Ok(Self::Gateway(client)),
            Err(ClientError::NotRunning(_)) => {
                let store = tokio::task::spawn_blocking(move || Store::open_existing(&data_dir)).await?;
                Ok(Self::Store(store?))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn list(&mut self, filter: &SessionFilter) -> anyhow::Result<SessionPage> {
        match self {
            Self::Gateway(client) => Ok(client.sessions(filter).await?),
            Self::Store(store) => Ok(tokio::task::block_in_place(|| store.list(filter))?),
        }
    }

    async fn page(&mut self, id: SessionId, from: u64) -> anyhow::Result<Option<Page>> {
        match self {
            Self::Gateway(client) => {
                let view = client.session(id, from).await?;
                Ok(view.map(|view| (view.summary, view.entries, view.next)))
            }
            Self::Store(store) => tokio::task::block_in_place(|| {
                let Some(summary) = store.summary(id)? else { return Ok(None) };
                let page = store.entries(id, from).context("the session cannot be read")?;
                Ok(Some((summary, page.entries, page.next)))
            }),
        }
    }
}
