//! `sluicegate completions`: prints the script that lets a shell complete our commands.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::print::out;

/// Prints a shell's completion script, for example for `source <(sluicegate completions bash)`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "sluicegate", &mut script);
    out(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
