//! `just bench`: the gateway beside what people know, HAProxy and PgBouncer, in front of one server.
//! Whoever takes part runs in turn within each round, so that all see the same machine; what is
//! compared are ratios within a round, and their median.

mod drain;
mod memory;
mod pgbench;
mod report;
mod rivals;
mod rounds;
mod stage;
mod workloads;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sluicegate_tests::{policies, programs};

use crate::{
    report::{Machine, Report},
    stage::Stage,
};

/// Measures the gateway beside HAProxy and PgBouncer.
#[derive(Parser)]
#[command(name = "bench")]
struct Options {
    /// The gateway's binary
    #[arg(long, value_name = "FILE", default_value_os_t = beside_this_program(), hide_default_value = true)]
    gateway: PathBuf,
    /// The folder with the shipped policies
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/policies"), hide_default_value = true)]
    policies: PathBuf,
    /// How often everything runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one run takes, in seconds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only what has a name that begins so; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Also put them into host/BENCHMARKS.md, and the chart beside it
    #[arg(long)]
    write: bool,
}

/// How the numbers are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| name.starts_with(start.as_str()))
    }

    fn json(&self) -> bool {
        self.output == Output::Json
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    programs::choose_sluicegate(options.gateway.clone());
    policies::choose_folder(options.policies.clone());
    allow_many_files();
    let stage = Stage::set();
    let all = workloads::all(&stage);
    let names: Vec<_> = all.iter().map(|workload| workload.name).chain(["memory"]).collect();
    if !names.iter().any(|name| options.wants(name)) {
        eprintln!("error: nothing has a name that begins so; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let workloads: Vec<_> = all.into_iter().filter(|workload| options.wants(workload.name)).collect();
    let measured = rounds::run(&stage, &workloads, options.rounds, Duration::from_secs(options.seconds.into()));
    let report = Report {
        machine: Machine::look(),
        rounds: options.rounds,
        seconds: options.seconds,
        results: workloads.into_iter().zip(measured).collect(),
        memory: options.wants("memory").then(|| memory::measure(&stage)),
    };
    report.give(&options);
    ExitCode::SUCCESS
}

/// A proxy holds two sockets for each session, and many systems let a program have 1024 files unless it asks for more.
/// What is started here inherits the limit.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("up to the hard limit anybody may go");
}

/// Where `cargo build --release` leaves the gateway, seen from where cargo leaves this program.
fn beside_this_program() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let target = own.ancestors().nth(2).expect("cargo puts programs into <target>/<profile>");
    target.join("release/sluicegate")
}
