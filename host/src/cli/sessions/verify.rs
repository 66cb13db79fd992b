//! `sluicegate sessions verify`: proves an export with the gateway's public key alone. Needs no
//! gateway, no data folder and, with `--key`, no configuration.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sluicegate_core::record::{Entry, Event};
use sluicegate_recorder::proof::{Fault, PublicKey, Report, verify};

use super::fields_text;
use crate::cli::{
    Output,
    print::{BAD, GOOD, WAITS, json, moment, out, printable},
};

/// The public key's name within the data folder.
const KEY_FILE: &str = "record.pub";
/// The most bytes that a key's file may have.
const MAX_KEY_BYTES: u64 = 4096;
/// The most bytes of an export's second line that are kept to say whose session it is.
const MAX_OPENING_BYTES: usize = 1024 * 1024;
/// The exit code where all is proven that is there, and it is not the whole session.
const INCOMPLETE: u8 = 3;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 0 if the whole session is proven, with 3 if it is proven up to a point and was open then, \
                        and with 1 if it is not proven."
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

/// Whose session it is, as its first entry says.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Whose {
    user: String,
    target: String,
    client: String,
    opened_at: i64,
}

#[derive(Serialize)]
struct Proven<'a> {
    proven: bool,
    #[serde(flatten)]
    report: &'a Report,
    #[serde(flatten)]
    whose: &'a Whose,
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
        let key = self.key(config)?;
        let path = self.file.display();
        let input: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&self.file).with_context(|| format!("the export `{path}` cannot be read"))?)
        };
        let mut opening = Vec::new();
        let reader = BufReader::with_capacity(64 * 1024, Tee { input, opening: &mut opening, line: 1 });
        match verify(reader, &key) {
            Ok(report) => self.proven(&report, &whose(&opening)),
            Err(Fault::Io(error)) => Err(error).with_context(|| format!("the export `{path}` cannot be read")),
            Err(fault) => self.broken(&fault),
        }
    }

    fn key(&self, config: &Path) -> anyhow::Result<PublicKey> {
        let path = match &self.key {
            Some(path) => path.clone(),
            None => {
                crate::config::data_dir(config).context("name the gateway's public key with `--key`")?.join(KEY_FILE)
            }
        };
        let refused = || format!("the public key `{}` cannot be used", path.display());
        let mut pem = String::new();
        let file = File::open(&path).with_context(refused)?;
        file.take(MAX_KEY_BYTES).read_to_string(&mut pem).with_context(refused)?;
        PublicKey::from_pem(&pem).with_context(refused)
    }

    fn proven(&self, report: &Report, whose: &Whose) -> anyhow::Result<ExitCode> {
        match self.output {
            Output::Json => out(json(&Proven { proven: true, report, whose })?)?,
            Output::Text => out(proven_text(report, whose))?,
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

fn proven_text(report: &Report, whose: &Whose) -> String {
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
        ("user", whose.user.clone()),
        ("target", whose.target.clone()),
        ("client", whose.client.clone()),
        ("opened", moment(whose.opened_at)),
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

/// Reads whose session it is from the export's second line, which was proven before.
fn whose(line: &[u8]) -> Whose {
    #[derive(Deserialize)]
    struct Line {
        entry: serde_json::Value,
    }
    let Ok(Line { mut entry }) = serde_json::from_slice(line) else { return Whose::default() };
    if let Some(fields) = entry.as_object_mut() {
        fields.insert("session".to_owned(), serde_json::json!(uuid::Uuid::nil()));
    }
    let Ok(Entry { at, event, .. }) = serde_json::from_value(entry) else { return Whose::default() };
    let (user, target, client) = match event {
        Event::Opened(event) => (event.user, event.target, event.client),
        Event::Refused(event) => (event.user, event.target, event.client),
        _ => return Whose::default(),
    };
    Whose { user, target, client, opened_at: at }
}

/// Reads on and keeps the second line.
struct Tee<'a, R> {
    input: R,
    opening: &'a mut Vec<u8>,
    line: u8,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.input.read(buffer)?;
        for byte in buffer.iter().take(size) {
            if self.line > 2 {
                break;
            }
            match byte {
                b'\n' => self.line += 1,
                _ if self.line == 2 && self.opening.len() < MAX_OPENING_BYTES => self.opening.push(*byte),
                _ => {}
            }
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_session_it_is_stands_in_the_second_line() {
        let opened = r#"{"user":"alice","groups":[],"target":"orders","protocol":"postgres","client":"::1:5",
            "authentication":"secret","application":"psql","policies":[],"opinions":[]}"#
            .replace('\n', "");
        let second =
            format!(r#"{{"number":0,"entry":{{"at":7,"event":{{"opened":{opened}}}}},"packed":"","hash":""}}"#);
        let text = format!("{{\"first\":1}}\n{second}\n{{\"third\":3}}\n");
        let mut opening = Vec::new();
        // One byte at a time, as a pipe may.
        let tee = Tee { input: text.as_bytes(), opening: &mut opening, line: 1 };
        let passed: Vec<u8> = BufReader::with_capacity(1, tee).bytes().collect::<Result<_, _>>().unwrap();
        assert_eq!(passed, text.as_bytes());
        assert_eq!(opening, second.as_bytes());
        let whose = whose(&opening);
        assert_eq!((whose.user.as_str(), whose.target.as_str(), whose.opened_at), ("alice", "orders", 7));
        assert_eq!(super::whose(b"nonsense"), Whose::default());
    }

    #[test]
    fn an_open_session_is_not_called_whole() {
        let session = sluicegate_core::SessionId(uuid::Uuid::nil());
        let mut report = Report { session, key: "ab".to_owned(), entries: 1, complete: false, signed_at: 0 };
        let whose = Whose { user: "e\u{1b}ve".to_owned(), ..Whose::default() };
        let plain = |report: &Report| anstream::adapter::strip_str(&proven_text(report, &whose)).to_string();
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
