//! What is wrong with an export, and where.

use std::io;

use super::{chain::Hash, verify::MAX_LINE_BYTES};

/// Why an export is not proven. Lines count from 1, entries from 0.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("the export cannot be read; check the file")]
    Io(#[from] io::Error),
    /// A line is longer than any that the gateway writes.
    #[error("line {line} is longer than {MAX_LINE_BYTES} bytes: the gateway did not write it")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// The first line is not as the gateway writes it.
    #[error("line 1 is changed, or this is no export of a session: {0}")]
    Header(&'static str),
    /// Another key signed it.
    #[error("it names the key {named} and you gave {given}: take the public key of the gateway that wrote it")]
    OtherKey {
        /// The key's fingerprint as the export has it.
        named: String,
        /// The fingerprint of the key that was given.
        given: Hash,
    },
    /// An entry is not what was recorded there.
    #[error("entry {number} is changed (line {line}): {why}")]
    Changed {
        /// The entry that belongs there.
        number: u64,
        /// Where.
        line: u64,
        /// How that was found.
        why: &'static str,
    },
    /// Entries are not there.
    #[error("{} missing (before line {line})", range(*first, *last))]
    Missing {
        /// The first one missing.
        first: u64,
        /// The last one missing.
        last: u64,
        /// Where the next one stands.
        line: u64,
    },
    /// An entry stands later than it belongs.
    #[error("entry {number} is out of order: it belongs on line {line} and stands on line {found}")]
    OutOfOrder {
        /// The entry.
        number: u64,
        /// Where it belongs.
        line: u64,
        /// Where it is.
        found: u64,
    },
    /// An entry stands there that was there before.
    #[error("line {line} is added: entry {number} stands there once more")]
    Added {
        /// The number that it gives itself.
        number: u64,
        /// Where.
        line: u64,
    },
    /// An entry stands behind the end of the session.
    #[error("entry {number} on line {line} is added: the session had ended before it")]
    AfterEnd {
        /// The number that it gives itself.
        number: u64,
        /// Where.
        line: u64,
    },
    /// A signed head does not prove what stands before it.
    #[error("the signed head on line {line} does not hold for entry {number} before it: {why}")]
    Head {
        /// The entry before it.
        number: u64,
        /// Where.
        line: u64,
        /// How that was found.
        why: &'static str,
    },
    /// It does not end with a head.
    #[error("it is cut off: no signed head follows entry {number} on line {line}, where it ends")]
    CutOff {
        /// The last entry.
        number: u64,
        /// The last line.
        line: u64,
    },
    /// Its last line has no end, or it has no entries.
    #[error("{}", unended(*line))]
    Unended {
        /// The last line.
        line: u64,
    },
}

impl Fault {
    /// The line that the fault is on; none where it is on no one line.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Io(_) => None,
            Self::Header(_) | Self::OtherKey { .. } => Some(1),
            Self::TooLong { line }
            | Self::Changed { line, .. }
            | Self::Missing { line, .. }
            | Self::OutOfOrder { line, .. }
            | Self::Added { line, .. }
            | Self::AfterEnd { line, .. }
            | Self::Head { line, .. }
            | Self::CutOff { line, .. }
            | Self::Unended { line } => Some(*line),
        }
    }

    /// The entry that is concerned; the first, where several are.
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Changed { number, .. }
            | Self::Missing { first: number, .. }
            | Self::OutOfOrder { number, .. }
            | Self::Added { number, .. }
            | Self::AfterEnd { number, .. }
            | Self::Head { number, .. }
            | Self::CutOff { number, .. } => Some(*number),
            Self::Io(_) | Self::TooLong { .. } | Self::Header(_) | Self::OtherKey { .. } | Self::Unended { .. } => None,
        }
    }
}

fn range(first: u64, last: u64) -> String {
    if first == last { format!("entry {first} is") } else { format!("entries {first} to {last} are") }
}

fn unended(line: u64) -> String {
    if line == 0 { "the file is empty".to_owned() } else { format!("it is cut off within or after line {line}") }
}
