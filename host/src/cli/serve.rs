//! `sluicegate serve`: runs the gateway until it is told to stop.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    config::{self, report::Report},
    logging::{self, Format, Log},
    serve::gateway::Gateway,
};

/// Signals closer together than this are one.
const TOGETHER: Duration = Duration::from_millis(500);

/// Runs the gateway until SIGTERM or Ctrl-C
///
/// The configuration is read again when its file changes, and on SIGHUP.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How log lines look, on standard error, whatever `[log]` says [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log: Option<Format>,
    /// How much is logged: error, warn, info, debug, trace, or directives such as `info,policy=debug`,
    /// whatever RUST_LOG or `[log]` say [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Serves until a signal says stop.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let (config, mut report) = super::load(path)?;
    let flags = Log { format: args.log, level: args.log_level.clone() };
    logging::start(flags.or(Log::from_environment()).or(config.log.clone()))?;
    // What stops the start is told before anything is made in the data folder.
    let mut needed = Report::new(path, config.text.clone());
    config::check_needed(&config, &mut needed);
    if needed.errors() > 0 {
        return Err(super::refused(&needed));
    }
    config::check_files(&config, &mut report);
    if !report.is_empty() {
        tracing::warn!("the configuration is taken with these problems\n{}", report.plain());
    }
    super::runtime()?.block_on(async {
        let stop = stop_signals()?;
        Gateway::start(config).await?.run(stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Says something for each SIGTERM and SIGINT. Two that come together, as when a terminal and a parent
/// process both pass them on, count once.
pub fn stop_signals() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if last.is_none_or(|at| at.elapsed() > TOGETHER) && sender.send(()).await.is_err() {
                return;
            }
            last = Some(Instant::now());
        }
    });
    Ok(receiver)
}
