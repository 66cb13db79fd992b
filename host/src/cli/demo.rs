//! `sluicegate demo`: a first look. Everything it needs is temporary.

use std::{path::PathBuf, process::ExitCode};

use anstream::println;
use anstyle::{AnsiColor, Style};
use tokio::{sync::mpsc, task::block_in_place};

use crate::{
    config::{self, Loaded},
    demo::{postgres::Server, random_word, stage::Stage, tour},
    logging::{self, Format},
    serve::gateway::Gateway,
};

const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const COMMAND: Style = Style::new().bold();

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
    logging::start(Format::Text, &args.log_level)?;
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
        explain(&stage);
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

fn explain(stage: &Stage) {
    let config = stage.config();
    let config = config.display();
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sluicegate"));
    let program = program.display();
    let line = |user: &str| format!("PGPASSWORD={user} psql -h 127.0.0.1 -p {} -U {user} shop", stage.port());
    println!(
        "
{TITLE}Sluicegate stands between you and a small shop's database.{TITLE:#}
Three policies decide about every statement and every row: pii-mask hides personal data from everybody
but the group admin, sql-guard refuses DROP, TRUNCATE, and DELETE or UPDATE without a WHERE, and
hold-for-approval has every other DELETE wait until somebody of the group admin agrees.

Connect from another terminal, as alice the engineer or as the dba:

  {COMMAND}{}{COMMAND:#}
  {COMMAND}{}{COMMAND:#}

Try as alice:
  SELECT * FROM customers;                         masked, also inside the notes
  SELECT name, tax_number FROM customer_overview;  a view and an alias do not help
  DELETE FROM orders;                              refused, with the reason
  BEGIN; DROP TABLE orders;                        refused as PostgreSQL itself would refuse
  DELETE FROM orders WHERE id = 7;                 waits; approve it as dba from another terminal:
  {COMMAND}SLUICEGATE_SECRET=dba {program} -c {config} approvals approve ID --as dba{COMMAND:#}

While psql stays open:
  change style = \"partial\" to \"hash\" in {COMMAND}{config}{COMMAND:#}
  and ask again. Break something in that file: the old rules stay in force, and the log here says why.

See what was recorded, and how the policies stand:
  {COMMAND}{program} -c {config} sessions list{COMMAND:#}
  {COMMAND}{program} -c {config} policy status{COMMAND:#}

Ctrl-C stops everything and removes it.",
        line("alice"),
        line("dba"),
    );
}
