//! `sluicegate serve`: runs the gateway until it is told to stop.
use std::{path::Path, process::ExitCode};

/// Runs the gateway until SIGTERM or Ctrl-C
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    super::load(path)?;
    Ok(ExitCode::SUCCESS)
}
