//! `sluicegate check`: everything that is wrong with a configuration, at once, without starting it.

use std::{path::Path, process::ExitCode};

use anstream::{eprint, eprintln, println};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::Output;
use crate::config::{self, report::Finding};

const GREEN: Style = AnsiColor::Green.on_default().bold();

/// Explains what is wrong with the configuration; exits with 1 if there are errors
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print what was found
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Serialize)]
struct Findings<'a> {
    ok: bool,
    errors: usize,
    warnings: usize,
    items: Vec<Finding<'a>>,
}

/// Checks the file's text and what it points to.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let config::Loaded { config, mut report } = config::load(path)?;
    if let Some(config) = &config {
        config::check_files(config, &mut report);
        config::check_policies(config, &mut report)?;
    }
    let (errors, warnings) = (report.errors(), report.warnings());
    match args.output {
        Output::Json => {
            let findings = Findings { ok: errors == 0, errors, warnings, items: report.findings() };
            println!("{}", serde_json::to_string_pretty(&findings)?);
        }
        Output::Text => {
            eprint!("{}", report.render());
            let path = path.display();
            match config {
                Some(config) if errors == 0 => println!(
                    "{GREEN}ok{GREEN:#}: {path} is in order: {}, {}, {}",
                    count(config.targets.len(), "target"),
                    count(config.users.len(), "user"),
                    count(warnings, "warning"),
                ),
                _ => eprintln!("{path}: {}, {}", count(errors, "error"), count(warnings, "warning")),
            }
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
