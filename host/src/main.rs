//! The `sluicegate` binary: the command line, the configuration, and the one place that puts the
//! crates together.

mod cli;
mod config;
mod demo;
mod logging;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
