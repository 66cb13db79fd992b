//! `sluicegate demo`: a first look. Everything it needs is temporary.

use std::{path::PathBuf, process::ExitCode};

use anstream::println;
use tokio::{sync::mpsc, task::block_in_place};

use crate::{
    config::{self, Loaded},
    demo::{guide, postgres::Server, random_word, stage::Stage, tour},
    logging::{self, Format, Log},
    serve::gateway::Gateway,
};

/// Starts a temporary PostgreSQL, a gateway before it and the shipped policies, for a first look
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Plays what there is to see by itself, and fails if something did not happen
    #[arg(long)]
    tour: bool,
    /// The folder with the built policies [default: target/policies]
    #[arg(long, value_name = "FOLDER")]
    policies: Option<PathBuf>,
    /// How much of the gateway's log is shown: error, warn, info, debug or trace
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log_level: String,
}

/// Shows everything until Ctrl-C, or plays the tour.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    logging::start(Log { format: Some(Format::Text), level: Some(args.log_level.clone()) })?;
    // On this very thread, because the server ends with the thread that started it.
    let failed = super::runtime()?.block_on(show(args))?;
    println!("Stopped; nothing is left behind.");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns how many things of the tour did not happen.
async fn show(args: &Args) -> anyhow::Result<usize> {
    let mut stop = super::serve::stop_signals()?;
    let password = random_word()?;
    println!("Starting a temporary PostgreSQL and the gateway ...");
    let server = block_in_place(|| Server::start(&password))?;
    let stage = block_in_place(|| Stage::prepare(server.port(), &password, args.policies.as_deref()))?;
    let Loaded { config, report, .. } = config::load(&stage.config())?;
    let config = config.ok_or_else(|| anyhow::anyhow!("the demo's configuration is refused\n{}", report.plain()))?;
    let gateway = Gateway::start(config).await?;
    if !args.tour {
        println!("{}", guide::text(&stage));
        gateway.run(stop).await?;
        return Ok(0);
    }
    let (playing, played) = mpsc::channel(1);
    let serving = tokio::spawn(gateway.run(played));
    let failed = tokio::select! {
        failed = tour::play(&stage) => failed,
        _ = stop.recv() => Err(anyhow::anyhow!("the tour was interrupted")),
    };
    drop(playing);
    serving.await??;
    failed
}
