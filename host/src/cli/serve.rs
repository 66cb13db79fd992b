//! `sluicegate serve`: runs the gateway until it is told to stop.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config,
    logging::{self, Format},
    serve::gateway::Gateway,
};

/// Runs the gateway until SIGTERM or Ctrl-C
///
/// The configuration is read again when its file changes, and on SIGHUP.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How log lines look, on standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log: Format,
    /// How much is logged: error, warn, info, debug, trace, or directives such as `info,policy=debug`
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
}

/// Serves until a signal says stop.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    logging::start(args.log, &args.log_level)?;
    let (config, mut report) = super::load(path)?;
    config::check_files(&config, &mut report);
    if !report.is_empty() {
        tracing::warn!("the configuration is taken with these problems\n{}", report.plain());
    }
    super::runtime()?.block_on(async {
        let told = told_to_stop()?;
        Gateway::start(config).await?.run(told).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Ends at the first SIGTERM or SIGINT; a second one ends the process at once.
pub fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("told to stop a second time: ending at once");
            std::process::exit(1);
        });
    })
}
