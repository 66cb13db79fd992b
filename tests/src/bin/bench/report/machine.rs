//! The machine that everything ran on, and the versions of what ran.

use std::{fmt, fs, path::Path, process::Command, time::Duration};

use sluicegate_tests::programs::{postgres_program, run, sluicegate_program};

use crate::rivals::program;

/// What somebody needs to know who compares numbers.
pub struct Machine {
    /// The processor's name, and how many of them.
    pub processor: String,
    /// How many processors programs may use.
    pub cores: usize,
    /// Memory, in GiB.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The first line that each program says of its version.
    pub programs: Vec<String>,
}

impl Machine {
    /// Asks the system, and each program for its version.
    pub fn look() -> Self {
        let asked = [
            (sluicegate_program(), "--version"),
            (postgres_program("postgres"), "--version"),
            (program("haproxy"), "-v"),
            (program("pgbouncer"), "--version"),
        ];
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: field("/proc/meminfo", "MemTotal").and_then(|size| kibibytes(&size)).map_or(0, |kib| kib >> 20),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            programs: asked.iter().map(|(program, option)| version(program, option)).collect(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory, kernel, programs } = self;
        write!(f, "{processor}, {cores} processors, {memory} GiB, Linux {kernel}; {}.", programs.join("; "))
    }
}

/// The value of the first line `name : value` of a file.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

fn kibibytes(size: &str) -> Option<u64> {
    size.strip_suffix("kB")?.trim().parse().ok()
}

fn version(program: &Path, option: &str) -> String {
    let mut command = Command::new(program);
    command.arg(option);
    let said = run(command, "", Duration::from_secs(10)).ok();
    let line = said.lines().next().unwrap_or_default();
    // HAProxy adds a date and an address.
    line.split(" 20").next().unwrap_or(line).trim().to_owned()
}
