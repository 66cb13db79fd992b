//! `sluicegate ticket`: short-lived secrets for one target.

use std::{process::ExitCode, time::Duration};

use secrecy::ExposeSecret;
use sluicegate_admin::TicketBody;
use sluicegate_core::access::{Ticket, TicketId};

use super::{
    Output,
    access::{Asking, ConfigPath, Purpose},
    print::{GOOD, fields_text, is_narrow, json, moment, out, printable, table},
    source::Source,
};

/// The columns that the table needs.
const TABLE_WIDTH: u16 = 140;

/// Issues, lists and revokes tickets: short-lived secrets for one target
///
/// A ticket takes the place of the password for one identity on one target. What it opened ends with it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Issues a ticket for yourself, or for a service or an agent of yours; shows its secret once
    Issue(Asking<Issue>),
    /// Lists the tickets that are valid: yours, or all for an admin
    List(Asking<List>),
    /// Revokes a ticket, and ends the sessions that it opened
    Revoke(Asking<Revoke>),
}

#[derive(Debug, clap::Args)]
struct Issue {
    /// The only target that it opens
    target: String,
    /// How long it is valid, between 1m and 12h
    #[arg(long = "valid", value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    valid: Duration,
    /// Opens one session and no more
    #[arg(long)]
    once: bool,
    /// The service or agent it is for, of which you are the `owner`
    #[arg(long = "for", value_name = "NAME")]
    holder: Option<String>,
    /// How to print it; as text the secret alone is on standard output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct List {
    /// How to print them
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// The ticket's id
    id: TicketId,
}

/// Does what is asked.
pub fn run(args: &Args, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        match &args.command {
            Command::Issue(Asking { what, access }) => {
                issue(what, &mut access.open(config, Purpose::Answer).await?).await
            }
            Command::List(Asking { what, access }) => list(what, &mut access.open(config, Purpose::Ask).await?).await,
            Command::Revoke(Asking { what, access }) => {
                access.open(config, Purpose::Answer).await?.client()?.revoke_ticket(what.id).await?;
                Ok(out(format!("{GOOD}revoked{GOOD:#}: {}", what.id))?)
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn issue(what: &Issue, source: &mut Source) -> anyhow::Result<()> {
    let Issue { target, valid, once, holder, output } = what;
    let body = TicketBody { target: target.clone(), seconds: valid.as_secs(), once: *once, holder: holder.clone() };
    let issued = source.client()?.issue_ticket(&body).await?;
    let (ticket, secret) = (&issued.ticket, issued.secret.expose_secret());
    match output {
        Output::Json => {
            let mut shown = serde_json::to_value(ticket)?;
            if let Some(fields) = shown.as_object_mut() {
                fields.insert("secret".to_owned(), secret.into());
            }
            out(json(&shown)?)?;
        }
        Output::Text => {
            let times = if ticket.once { "one session" } else { "sessions" };
            let (user, target) = (printable(&ticket.user), printable(&ticket.target));
            let until = moment(ticket.expires_at);
            anstream::eprintln!("ticket {} lets {user} open {times} to {target} until {until}; its secret:", ticket.id);
            out(secret)?;
        }
    }
    Ok(())
}

async fn list(what: &List, source: &mut Source) -> anyhow::Result<()> {
    let tickets = source.client()?.tickets().await?;
    match what.output {
        Output::Json => out(json(&tickets)?)?,
        Output::Text if tickets.items.is_empty() => out("no tickets are valid")?,
        Output::Text => {
            const HEADERS: [&str; 7] = ["ticket", "for", "target", "until", "opens", "opened", "issued by"];
            if is_narrow(TABLE_WIDTH) {
                for ticket in &tickets.items {
                    let row = row(ticket);
                    let fields: Vec<_> = HEADERS.into_iter().zip(row).collect();
                    out(fields_text(&fields))?;
                }
                return Ok(());
            }
            let mut shown = table(&HEADERS);
            for ticket in &tickets.items {
                shown.add_row(row(ticket));
            }
            out(shown)?;
        }
    }
    Ok(())
}

fn row(ticket: &Ticket) -> [String; 7] {
    [
        ticket.id.to_string(),
        printable(&ticket.user),
        printable(&ticket.target),
        moment(ticket.expires_at),
        match (ticket.once, ticket.uses) {
            (false, _) => "any",
            (true, 0) => "once",
            (true, _) => "no more",
        }
        .to_owned(),
        ticket.uses.to_string(),
        printable(&ticket.issued_by),
    ]
}
