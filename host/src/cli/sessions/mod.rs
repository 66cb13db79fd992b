//! `sluicegate sessions`: what the record holds. A running gateway is asked; where none runs, its
//! store is opened.

mod events;
mod export;
mod follow;
mod key;
mod list;
mod replay;
mod results;
mod show;
mod transcript;
mod verify;

pub use list::newest;

use std::process::ExitCode;

use anyhow::bail;

use super::{
    access::{Asking, ConfigPath, Purpose},
    source::Source,
    until_interrupted,
};

/// Shows recorded sessions, and proves what is recorded
///
/// The gateway that runs on the configuration's `data_dir` is asked, or the one at `--url`. Where none
/// runs, the record is read from the data folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists sessions, the newest first
    List(Asking<list::List>),
    /// Shows all that the record has of one session, in order
    Show(Asking<show::Show>),
    /// Plays one session as it happened, with its pauses
    Replay(Asking<replay::Replay>),
    /// Writes one session with its proof, as JSON lines
    Export(Asking<export::Export>),
    /// Proves that an export is what the gateway recorded; needs its public key and nothing else
    Verify(verify::Verify),
    /// Prints the public key with which exports are verified
    Key(Asking<key::Key>),
    /// Prints what happens from now on, in one session or in all that are open
    Follow(Asking<follow::Follow>),
}

/// Reads the record, or verifies what was read from it.
pub fn run(args: &Args, config: &ConfigPath) -> anyhow::Result<ExitCode> {
    let (access, purpose) = match &args.command {
        Command::Verify(verify) => return verify.run(&config.path),
        Command::List(list) => (&list.access, Purpose::Read),
        Command::Show(show) => (&show.access, Purpose::Read),
        Command::Replay(replay) => {
            replay.what.check();
            (&replay.access, Purpose::Read)
        }
        Command::Export(export) => (&export.access, Purpose::Read),
        Command::Key(key) => (&key.access, Purpose::Read),
        Command::Follow(follow) => (&follow.access, Purpose::ReadOn),
    };
    super::runtime()?.block_on(async {
        let mut source = access.open(config, purpose).await?;
        let done = args.command.run(&mut source).await;
        source.leave().await;
        done
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Command {
    async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        match self {
            Self::Verify(_) => Ok(()),
            Self::List(list) => list.what.run(source).await,
            Self::Show(show) => show.what.run(source).await,
            Self::Key(key) => key.what.run(source).await,
            Self::Replay(replay) => until_interrupted(replay.what.run(source)).await,
            Self::Follow(follow) => until_interrupted(follow.what.run(source)).await,
            // Dropped, so that no half of a file stays behind.
            Self::Export(export) => tokio::select! {
                done = export.what.run(source) => done,
                _ = tokio::signal::ctrl_c() => bail!("interrupted, so there is no export"),
            },
        }
    }
}
