//! `sluicegate policy status`: how each bound policy stands in the running gateway.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use sluicegate_core::policy::Mode;
use sluicegate_policy_engine::{BindingStatus, PolicyState, PolicyStatus};

use super::{
    Output,
    access::{Asking, ConfigPath, Purpose},
    print::{out, printable, table, time},
};

const BAD: Style = AnsiColor::Red.on_default().bold();

/// Looks after policies
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows which policies the running gateway has in force, and which files it refused
    Status(Asking<Status>),
}

#[derive(Debug, clap::Args)]
struct Status {
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

/// Asks the gateway.
pub fn run(args: &Args, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    let Command::Status(Asking { what: Status { output }, access }) = &args.command;
    let items = super::runtime()?.block_on(async {
        let mut source = access.open(config, Purpose::Ask).await?;
        let items = source.policies().await;
        source.leave().await;
        items
    })?;
    if *output == Output::Json {
        out(serde_json::to_string_pretty(&serde_json::json!({ "items": items, "next": null }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let read = items.into_iter().map(serde_json::from_value).collect::<Result<Vec<PolicyStatus>, _>>();
    let policies = read.context("the gateway's answer is not understood; it may run another version")?;
    out(listing(&policies))?;
    Ok(ExitCode::SUCCESS)
}

fn listing(policies: &[PolicyStatus]) -> String {
    if policies.is_empty() {
        return "no target binds a policy".to_owned();
    }
    let mut rows = table(&["module", "state", "version", "digest", "in force since", "targets"]);
    for policy in policies {
        let since = if policy.loaded_at == 0 { "never".to_owned() } else { time(policy.loaded_at) };
        rows.add_row([
            policy.module.clone(),
            state(&policy.state),
            printable(&policy.version),
            policy.digest.get(..12).unwrap_or("none").to_owned(),
            since,
            policy.bindings.iter().map(binding).collect::<Vec<_>>().join(", "),
        ]);
    }
    std::iter::once(rows.trim_fmt()).chain(policies.iter().filter_map(trouble)).collect::<Vec<_>>().join("\n")
}

/// What is wrong with a policy, and what holds meanwhile.
fn trouble(policy: &PolicyStatus) -> Option<String> {
    let module = &policy.module;
    let meanwhile = match policy.digest.is_empty() {
        true => "its targets' commands are blocked until it is there",
        false => "the version in the table stays in force",
    };
    let what = match (&policy.rejected, &policy.state) {
        (Some(file), _) => {
            let digest = file.digest.get(..12).unwrap_or("unreadable");
            let reason = printable(&file.reason);
            format!("the file of {} ({digest}) was rejected, and {meanwhile}: {reason}", time(file.at))
        }
        (None, PolicyState::Rejected { reason }) => format!("rejected, and {meanwhile}: {}", printable(reason)),
        (None, PolicyState::Missing) => format!("there is no {module}.wasm, and {meanwhile}"),
        _ => return None,
    };
    Some(format!("{BAD}{module}{BAD:#}: {what}"))
}

fn state(state: &PolicyState) -> String {
    match state {
        PolicyState::Active => "active".to_owned(),
        PolicyState::Rejected { .. } => "rejected".to_owned(),
        PolicyState::Missing => "missing".to_owned(),
        PolicyState::Quarantined { until } => format!("quarantined until {}", time(*until)),
    }
}

fn binding(binding: &BindingStatus) -> String {
    let mode = if binding.mode == Mode::Monitor { " (monitor)" } else { "" };
    let blocked = if binding.broken.is_some() { " (blocked)" } else { "" };
    format!("{}{mode}{blocked}", binding.target)
}
