//! The lines of an export. Each has exactly one form, so that a changed byte is always a fault:
//!
//! ```text
//! {"format":"sluicegate export 1","session":"<id>","key":"<fingerprint>"}
//! {"number":0,"entry":{"at":<ms>,"event":{..}},"packed":"<base64>","hash":"<hexadecimal>"}
//! {"head":{"from":0,"number":0,"hash":"<hexadecimal>","at":<ms>,"end":false},"signature":"<base64>"}
//! ```
//!
//! The first line names the session and the key. Entries follow in order; `packed` is what is hashed, and
//! `entry` the same for people. A head stands behind the last entry that it covers; `from` is the number
//! of the first entry since the head before. An export ends with a head, and each line with a line feed.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::IgnoredAny};
use sluicegate_core::SessionId;

use super::{
    chain::Hash,
    head::{Head, SignedHead},
    key::{Fingerprint, SIGNATURE_BYTES},
    readable,
};

const FORMAT: &str = "sluicegate export 1";
const HEAD: &[u8] = b"{\"head\":";

/// The first line.
pub fn header(session: SessionId, key: Fingerprint) -> String {
    format!(r#"{{"format":"{FORMAT}","session":"{session}","key":"{key}"}}"#)
}

/// The line of an entry.
pub fn entry(number: u64, packed: &[u8], hash: Hash) -> String {
    let readable = readable::json(packed);
    let packed = BASE64_STANDARD.encode(packed);
    format!(r#"{{"number":{number},"entry":{readable},"packed":"{packed}","hash":"{hash}"}}"#)
}

/// The line of a head that covers the entries from `from` on.
pub fn head(from: u64, signed: &SignedHead) -> String {
    let Head { session: _, number, hash, at, end } = &signed.head;
    let signature = BASE64_STANDARD.encode(signed.signature);
    format!(
        r#"{{"head":{{"from":{from},"number":{number},"hash":"{hash}","at":{at},"end":{end}}},"signature":"{signature}"}}"#
    )
}

/// What a first line says. Whether it has its one form is for the caller to compare.
#[derive(Deserialize)]
pub(super) struct HeaderLine {
    pub(super) format: String,
    pub(super) session: SessionId,
    pub(super) key: String,
}

impl HeaderLine {
    pub(super) fn is_known(&self) -> bool {
        self.format == FORMAT
    }
}

/// What an entry's line says.
#[derive(Deserialize)]
struct WrittenEntry {
    number: u64,
    #[serde(rename = "entry")]
    _entry: IgnoredAny,
    packed: String,
    hash: String,
}

#[derive(Deserialize)]
struct WrittenHead {
    head: WrittenChain,
    signature: String,
}

#[derive(Deserialize)]
struct WrittenChain {
    from: u64,
    number: u64,
    hash: String,
    at: i64,
    end: bool,
}

/// A line behind the first one.
pub(super) enum Line {
    Entry { number: u64, packed: Vec<u8>, hash: Hash },
    Head { from: u64, signed: SignedHead },
}

/// Reads a line that has its one form; none where it has not.
pub(super) fn read(line: &[u8], session: SessionId, key: Fingerprint) -> Option<Line> {
    let (line_read, written) = if line.starts_with(HEAD) {
        let WrittenHead { head: chain, signature } = serde_json::from_slice(line).ok()?;
        let WrittenChain { from, number, hash, at, end } = chain;
        let signature: [u8; SIGNATURE_BYTES] = BASE64_STANDARD.decode(signature).ok()?.try_into().ok()?;
        let signed =
            SignedHead { head: Head { session, number, hash: Hash::from_hex(&hash)?, at, end }, signature, key };
        let written = head(from, &signed);
        (Line::Head { from, signed }, written)
    } else {
        let read: WrittenEntry = serde_json::from_slice(line).ok()?;
        let (packed, hash) = (BASE64_STANDARD.decode(read.packed).ok()?, Hash::from_hex(&read.hash)?);
        let written = entry(read.number, &packed, hash);
        (Line::Entry { number: read.number, packed, hash }, written)
    };
    (written.as_bytes() == line).then_some(line_read)
}

/// The number that a line gives itself, whatever else is wrong with it; none for anything but an entry.
pub(super) fn number(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        number: u64,
    }
    serde_json::from_slice(line).ok().map(|Numbered { number }| number)
}
