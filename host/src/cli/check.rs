//! `sluicegate check`: everything that is wrong with a configuration, at once, without starting it.

use std::{path::Path, process::ExitCode};

use anstream::{eprint, eprintln};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Output, print::out};
use crate::config::{
    self,
    report::{Finding, Problem, Report},
};

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
    /// Whether the text was good enough to look at what it points to.
    complete: bool,
    errors: usize,
    warnings: usize,
    items: Vec<Finding<'a>>,
}

/// Checks the file's text and what it points to.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let (read, mut report) = match config::load(path) {
        Ok(config::Loaded { config, refused, report }) => (config.or(refused), report),
        Err(error) if args.output == Output::Json => {
            let mut report = Report::new(path, String::new());
            report.push(Problem::error(error.to_string()));
            (None, report)
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(config) = &read {
        config::check_files(config, &mut report);
        if let Err(error) = config::check_policies(config, &mut report) {
            report.push(Problem::error(format!("the policies cannot be tried: {error:#}")));
        }
    }
    let (complete, errors, warnings) = (read.is_some(), report.errors(), report.warnings());
    match args.output {
        Output::Json => {
            let findings = Findings { ok: errors == 0, complete, errors, warnings, items: report.findings() };
            out(serde_json::to_string_pretty(&findings)?)?;
        }
        Output::Text => {
            eprint!("{}", report.render());
            let path = path.display();
            match read {
                Some(config) if errors == 0 => out(format!(
                    "{GREEN}ok{GREEN:#}: {path} is in order: {}, {}, {}",
                    count(config.targets.len(), "target"),
                    count(config.users.len(), "user"),
                    count(warnings, "warning"),
                ))?,
                Some(_) => eprintln!("{path}: {}, {}", count(errors, "error"), count(warnings, "warning")),
                None => eprintln!(
                    "{path}: {}; certificates, secrets and policies are looked at once that is mended",
                    count(errors, "error"),
                ),
            }
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
