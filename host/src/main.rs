//! The `sluicegate` binary: the command line, the configuration, and the one place that puts the
//! crates together.

mod cli;
mod config;
mod demo;
mod logging;
mod serve;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
