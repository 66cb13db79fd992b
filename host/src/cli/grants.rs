//! `sluicegate access`: roles for a time.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use sluicegate_admin::RoleBody;
use sluicegate_core::{ApprovalId, ApprovalState, access::Grant};

use super::{
    Output,
    access::{Asking, ConfigPath, Purpose},
    print::{GOOD, WAITS, json, moment, out, printable, table},
    source::Source,
};

/// How often it is asked whether a request was answered.
const LOOK: Duration = Duration::from_secs(1);
/// How many tenths of that it may take until what was approved is in force.
const GRANTING: u32 = 100;

/// Asks for roles on targets for a time, and shows and ends what was granted
///
/// Approvers see a request among the approvals, and answer it with `sluicegate approvals approve`. A role counts for
/// sessions that open after it was granted, and they end with it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the roles that you may ask for, and the grants that are in force
    List(Asking<List>),
    /// Asks for a role on a target, and waits until it is answered
    Request(Asking<Request>),
    /// Ends a grant, and the sessions that rest on it
    Revoke(Asking<Revoke>),
}

#[derive(Debug, clap::Args)]
struct List {
    /// How to print them
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Request {
    /// The role
    role: String,
    /// The target
    target: String,
    /// How long it is valid, from 1m to what the role allows [default: 1h, or what the role allows]
    #[arg(long = "valid", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Why; approvers see it, and it is recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Does not wait for an answer
    #[arg(long)]
    no_wait: bool,
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// The grant's id, as `sluicegate access list` shows it
    #[arg(value_parser = grant_id)]
    id: ApprovalId,
}

/// Does what is asked.
pub fn run(args: &Args, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        match &args.command {
            Command::List(Asking { what, access }) => list(what, &mut access.open(config, Purpose::Ask).await?).await,
            Command::Request(Asking { what, access }) => {
                request(what, &mut access.open(config, Purpose::Answer).await?).await
            }
            Command::Revoke(Asking { what, access }) => {
                access.open(config, Purpose::Answer).await?.client()?.revoke_grant(what.id).await?;
                Ok(out(format!("{GOOD}ended{GOOD:#}: {}", what.id))?)
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(what: &List, source: &mut Source) -> anyhow::Result<()> {
    let client = source.client()?;
    let (roles, grants) = (client.roles().await?.items, client.grants().await?.items);
    if what.output == Output::Json {
        return Ok(out(json(&serde_json::json!({ "roles": roles, "grants": grants }))?)?);
    }
    if roles.is_empty() && grants.is_empty() {
        return Ok(out("there is no role that you may ask for, and nothing is granted")?);
    }
    if !roles.is_empty() {
        let mut shown = table(&["ROLE", "TARGET", "AT MOST", "ASK"]);
        for offer in &roles {
            let most = humantime::format_duration(Duration::from_secs(offer.max_seconds)).to_string();
            let approvers = if offer.approvers.is_empty() { "admins".to_owned() } else { offer.approvers.join(" or ") };
            shown.add_row([printable(&offer.role), printable(&offer.target), most, printable(&approvers)]);
        }
        out(shown)?;
    }
    if !roles.is_empty() && !grants.is_empty() {
        out("")?;
    }
    if !grants.is_empty() {
        let mut shown = table(&["GRANT", "ROLE", "TARGET", "WHO", "UNTIL", "GRANTED BY"]);
        for grant in &grants {
            let names = [&grant.role, &grant.target, &grant.user].map(|name| printable(name));
            let [role, target, user] = names;
            let by = printable(&grant.granted_by.join(" and "));
            shown.add_row([grant.id.to_string(), role, target, user, moment(grant.expires_at), by]);
        }
        out(shown)?;
    }
    Ok(())
}

fn grant_id(text: &str) -> Result<ApprovalId, &'static str> {
    text.parse().map_err(|_| "this is not a grant's id: take the whole of one from `sluicegate access list`")
}

/// What is approved is recorded first, and only then in force.
async fn wait_for_grant(source: &mut Source, id: ApprovalId) -> anyhow::Result<Grant> {
    for _ in 0..GRANTING {
        if let Some(grant) = source.client()?.grants().await?.items.into_iter().find(|grant| grant.id == id) {
            return Ok(grant);
        }
        tokio::time::sleep(LOOK / 10).await;
    }
    bail!("the role was approved, but is not granted: see the gateway's log")
}

async fn request(what: &Request, source: &mut Source) -> anyhow::Result<()> {
    let Request { role, target, duration, reason, no_wait, output } = what;
    let (role, target, reason) = (role.clone(), target.clone(), reason.clone());
    let body = RoleBody { role, target, seconds: duration.map(|time| time.as_secs()), reason };
    let mut approval = source.client()?.request_role(&body).await?;
    if !no_wait {
        let who = printable(&approval.approvers());
        anstream::eprintln!(
            "{WAITS}waiting{WAITS:#} until {} for {who} to answer by `sluicegate approvals approve {}`; Ctrl-C stops waiting, not \
             the request",
            moment(approval.expires_at),
            approval.id
        );
        while approval.state == ApprovalState::Pending {
            tokio::time::sleep(LOOK).await;
            let Some(now) = source.approval(approval.id).await? else { bail!("the request {} is gone", approval.id) };
            approval = now;
        }
    }
    if *output == Output::Json {
        out(json(&approval)?)?;
    }
    match approval.state {
        ApprovalState::Pending | ApprovalState::Approved if *output == Output::Json => Ok(()),
        ApprovalState::Pending => Ok(out(format!("{WAITS}asked{WAITS:#}: {}", approval.id))?),
        ApprovalState::Approved => {
            let until = moment(wait_for_grant(source, approval.id).await?.expires_at);
            let what = printable(&format!("role {} on {}", what.role, what.target));
            Ok(out(format!("{GOOD}granted{GOOD:#}: {what} until {until}, for sessions that open from now on"))?)
        }
        state => {
            let notes: Vec<_> = approval.answers.iter().filter(|answer| !answer.note.is_empty()).collect();
            let notes: String = notes.iter().map(|answer| format!("; {}: {}", answer.approver, answer.note)).collect();
            bail!("the role was not granted ({state}): {}", printable(&format!("{}{notes}", approval.ended)))
        }
    }
}
