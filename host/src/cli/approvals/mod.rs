//! `sluicegate approvals`: commands that wait for people, and their answers.

mod answer;
mod list;
mod show;
mod watch;

use std::process::ExitCode;

use super::{
    access::{Access, Asking, ConfigPath, Purpose},
    source::Source,
    until_interrupted,
};

pub use list::find;
pub use show::ending;
#[cfg(test)]
pub use show::tests::sample;

/// Shows and answers commands that wait for approval
///
/// The gateway that runs on the configuration's `data_dir` is asked, or the one at `--url`. An answer
/// always needs your credentials; only reading through the data folder does not.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists approvals, the newest first
    List(Asking<list::List>),
    /// Shows one approval with all that an approver needs to know
    Show(Asking<show::Show>),
    /// Approves a command that waits; if enough have, it runs
    Approve(Asking<answer::Approve>),
    /// Denies a command that waits
    Deny(Asking<answer::Answer>),
    /// Prints approvals as they are asked for, answered and ended
    Watch(Asking<watch::Watch>),
}

/// Does what is asked.
pub fn run(args: &Args, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let purpose = match &args.command {
            Command::Approve(_) | Command::Deny(_) => Purpose::Answer,
            Command::Watch(_) => Purpose::ReadOn,
            Command::List(_) | Command::Show(_) => Purpose::Read,
        };
        let mut source = args.command.access().open(config, purpose).await?;
        let done = args.command.run(&mut source).await;
        source.leave().await;
        done
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Command {
    async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.what.run(source).await,
            Self::Show(show) => show.what.run(source).await,
            Self::Approve(approve) => approve.what.run(source).await,
            Self::Deny(answer) => answer.what.deny(source).await,
            Self::Watch(watch) => until_interrupted(watch.what.run(source)).await,
        }
    }

    fn access(&self) -> &Access {
        match self {
            Self::List(list) => &list.access,
            Self::Show(show) => &show.access,
            Self::Approve(approve) => &approve.access,
            Self::Deny(answer) => &answer.access,
            Self::Watch(watch) => &watch.access,
        }
    }
}
