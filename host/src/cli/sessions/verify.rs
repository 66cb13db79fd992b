//! `sluicegate sessions verify`: proves an export with the gateway's public key alone. Needs no
//! gateway, no data folder and, with `--key`, no configuration.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use serde::Serialize;
use sluicegate_recorder::{
    PUBLIC_KEY_FILE,
    proof::{Fault, Opening, PublicKey, Report, verify},
};

use crate::cli::{
    Output,
    print::{BAD, GOOD, WAITS, fields_text, json, moment, out, printable},
    print_error,
};

/// The exit code where nothing could be looked at, as for other wrong usage.
const UNREAD: u8 = 2;
/// The exit code where all is proven that is there, and it is not the whole session.
const INCOMPLETE: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 0 if the whole session is proven, with 3 if it is proven up to a point and was open then, \
                  with 1 if it is not proven, and with 2 if the export or the key cannot be read."
)]
pub struct Verify {
    /// The export, or `-` for standard input
    file: PathBuf,
    /// The gateway's public key [default: record.pub in the configuration's `data_dir`]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How to print what is proven
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Serialize)]
struct Proven<'a> {
    proven: bool,
    #[serde(flatten)]
    report: &'a Report,
}

#[derive(Serialize)]
struct Broken {
    proven: bool,
    fault: String,
    entry: Option<u64>,
    line: Option<u64>,
}

impl Verify {
    /// Verifies. Blocking.
    pub fn run(&self, config: &Path) -> anyhow::Result<ExitCode> {
        match self.verified(config) {
            Ok(Ok(report)) => self.proven(&report),
            Ok(Err(fault)) => self.broken(&fault),
            // Nothing is said about the export, so it must not look like one that is not proven.
            Err(error) => {
                print_error(&error);
                Ok(ExitCode::from(UNREAD))
            }
        }
    }

    /// What is proven, or why nothing is; an error where that cannot be known.
    fn verified(&self, config: &Path) -> anyhow::Result<Result<Report, Fault>> {
        let key = self.key(config)?;
        let unread = || format!("the export `{}` cannot be read", self.file.display());
        let input: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&self.file).with_context(unread)?)
        };
        match verify(BufReader::with_capacity(64 * 1024, input), &key) {
            Err(Fault::Io(error)) => Err(error).with_context(unread),
            verified => Ok(verified),
        }
    }

    fn key(&self, config: &Path) -> anyhow::Result<PublicKey> {
        let path = match &self.key {
            Some(path) => path.clone(),
            None => {
                let data_dir = crate::config::data_dir(config).context("name the gateway's public key with `--key`")?;
                data_dir.join(PUBLIC_KEY_FILE)
            }
        };
        let refused = || format!("the public key `{}` cannot be used", path.display());
        let file = File::open(&path).with_context(refused)?;
        PublicKey::read(file).with_context(refused)
    }

    fn proven(&self, report: &Report) -> anyhow::Result<ExitCode> {
        match self.output {
            Output::Json => out(json(&Proven { proven: true, report })?)?,
            Output::Text => out(proven_text(report))?,
        }
        Ok(if report.complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
    }

    fn broken(&self, fault: &Fault) -> anyhow::Result<ExitCode> {
        match self.output {
            Output::Json => {
                let (fault, entry, line) = (fault.to_string(), fault.entry(), fault.line());
                out(json(&Broken { proven: false, fault, entry, line })?)?;
            }
            Output::Text => {
                out(format!("{BAD}not proven{BAD:#}: {}", printable(&fault.to_string())))?;
                out("Nothing in this file is proven; compare it with another export of the session.")?;
            }
        }
        Ok(ExitCode::FAILURE)
    }
}

fn proven_text(report: &Report) -> String {
    let whose = |part: fn(&Opening) -> String| report.opening.as_ref().map(part).unwrap_or_default();
    let last = report.entries.saturating_sub(1);
    let verdict = if report.complete {
        format!("{GOOD}proven{GOOD:#}: the whole session, unchanged, in order and signed")
    } else {
        format!(
            "{WAITS}proven up to entry {last}{WAITS:#}: the session was open when that was signed, or the end is cut off; \
             what came later is not in this file"
        )
    };
    let fields = [
        ("session", report.session.to_string()),
        ("user", whose(|opening| opening.user.clone())),
        ("target", whose(|opening| opening.target.clone())),
        ("client", whose(|opening| opening.client.clone())),
        ("opened", whose(|opening| moment(opening.opened_at))),
        (
            "entries",
            match report.entries {
                1 => "1 entry, number 0".to_owned(),
                entries => format!("{entries} entries, 0 to {last}"),
            },
        ),
        ("signed", moment(report.signed_at)),
        ("key", report.key.clone()),
    ];
    format!("{verdict}\n{}", fields_text(&fields)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_session_is_not_called_whole() {
        let session = sluicegate_core::SessionId(uuid::Uuid::nil());
        let mut report =
            Report { session, key: "ab".to_owned(), entries: 1, complete: false, signed_at: 0, opening: None };
        let plain = |report: &Report| anstream::adapter::strip_str(&proven_text(report)).to_string();
        assert!(!plain(&report).contains("user"), "nobody knows whose it is");
        let [user, target, client] = ["e\u{1b}ve", "orders", "::1:5"].map(str::to_owned);
        report.opening = Some(Opening { user, target, client, opened_at: 0 });
        let open = plain(&report);
        assert!(
            open.starts_with("proven up to entry 0: the session was open") && open.contains("1 entry, number 0"),
            "{open}"
        );
        assert!(open.contains("e\\u{1b}ve"), "{open}");
        (report.complete, report.entries) = (true, 3);
        let whole = plain(&report);
        assert!(whole.starts_with("proven: the whole session") && whole.contains("3 entries, 0 to 2"), "{whole}");
    }
}
