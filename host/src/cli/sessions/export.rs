//! `sluicegate sessions export`: a session with its proof, as JSON lines for `sessions verify` and for
//! programs. Its bytes are part of the proof, so they pass untouched.

use std::{
    fs::Permissions,
    io::{self, BufWriter, ErrorKind, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anstream::{eprint, eprintln};
use anyhow::{Context, bail};
use sluicegate_core::SessionId;
use tempfile::NamedTempFile;

use crate::cli::{pick::Meant, source::Source};

/// How often progress is shown, and after how long first.
const PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Export {
    /// The session's id, or at least the last 4 characters of a recent one's
    id: Meant<SessionId>,
    /// The file to write, for its owner alone; without one the lines go to standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Export {
    /// Writes the export. A file is there whole or not at all.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        let Some(path) = &self.out else {
            if io::stdout().is_terminal() {
                bail!("an export is bytes to keep: name a file with `-o`, or pass it on with a pipe");
            }
            let mut output = Counted::new(io::stdout().lock());
            let id = self.id.find(source).await?;
            let written = source.export(id, &mut output).await;
            output.done();
            return match written.and_then(|()| Ok(output.flush()?)) {
                Err(error) if is_broken_pipe(&error) => Ok(()),
                written => written,
            };
        };
        let id = self.id.find(source).await?;
        let refused = || format!("the export `{}` cannot be written", path.display());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Readable by its owner alone from the beginning, and gone if anything fails.
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .with_context(refused)?;
        let written = write(id, source, &mut file).await;
        let lines = written.map_err(|error| if error.is::<io::Error>() { error.context(refused()) } else { error })?;
        file.as_file().sync_all().with_context(refused)?;
        file.persist(path).with_context(refused)?;
        eprintln!("wrote {lines} lines to {}", path.display());
        Ok(())
    }
}

async fn write(id: SessionId, source: &mut Source, file: &mut NamedTempFile) -> anyhow::Result<u64> {
    let mut output = Counted::new(BufWriter::new(file));
    let written = source.export(id, &mut output).await;
    output.done();
    written?;
    output.flush()?;
    Ok(output.lines)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe))
}

/// Counts the lines that pass, and shows the number on a terminal where it takes a while.
struct Counted<W> {
    output: W,
    lines: u64,
    /// When it was shown last; none where nobody would see it.
    shown: Option<Instant>,
    any_shown: bool,
}

impl<W: Write> Counted<W> {
    fn new(output: W) -> Self {
        let shown = io::stderr().is_terminal().then(Instant::now);
        Self { output, lines: 0, shown, any_shown: false }
    }

    /// Clears the line where progress was shown.
    fn done(&mut self) {
        if self.any_shown {
            eprint!("\r\x1b[K");
        }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.output.write(bytes)?;
        let lines = bytes.iter().take(size).filter(|byte| **byte == b'\n').count();
        self.lines = self.lines.saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
        if self.shown.is_some_and(|at| at.elapsed() >= PERIOD) {
            (self.shown, self.any_shown) = (Some(Instant::now()), true);
            eprint!("\r{} lines ...", self.lines);
        }
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_they_pass() {
        let mut output = Counted::new(Vec::new());
        output.write_all(b"{}\n{").unwrap();
        output.write_all(b"}\n").unwrap();
        assert_eq!((output.lines, output.output.as_slice()), (2, &b"{}\n{}\n"[..]));
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        let broken = anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe)).context("more");
        assert!(is_broken_pipe(&broken) && !is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
