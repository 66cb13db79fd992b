//! Verifies an export from its lines and the public key alone.

use std::io::{BufRead, Read};

use serde::Serialize;
use sluicegate_core::{
    SessionId,
    record::{Entry, Event},
};

use super::{
    chain::{Chain, Hash},
    export::{self, HeaderLine, Line},
    fault::Fault,
    head::SignedHead,
    key::{Fingerprint, PublicKey},
};
use crate::block;

/// The most bytes of a line. The largest entry, every character of it escaped, stays far below.
pub const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// What a verified export proves: that these are the session's entries from the first one on, in order
/// and unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The session.
    pub session: SessionId,
    /// The key that signed, as its fingerprint in hexadecimal.
    pub key: String,
    /// How many entries are proven.
    pub entries: u64,
    /// Whether that is the whole session. Otherwise it was open at `signed_at`, or the export was cut off
    /// behind a head: what came later is not in it.
    pub complete: bool,
    /// When the last head was signed, in milliseconds since the Unix epoch.
    pub signed_at: i64,
    /// Whose session it is; none where its first entry is of a kind that this version does not know. In JSON its
    /// fields stand beside the others.
    #[serde(flatten)]
    pub opening: Option<Opening>,
}

/// Whose session it is, as its first entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// Who; for a session that was refused, the name as claimed.
    pub user: String,
    /// Where to; for a session that was refused, the target as asked for.
    pub target: String,
    /// The client's address.
    pub client: String,
    /// When it opened or was refused, in milliseconds since the Unix epoch.
    pub opened_at: i64,
}

impl Opening {
    fn of(session: SessionId, packed: &[u8]) -> Option<Self> {
        let Entry { at: opened_at, event, .. } = block::unpack(session, packed).ok()?;
        let (user, target, client) = match event {
            Event::Opened(event) => (event.user, event.target, event.client),
            Event::Refused(event) => (event.user, event.target, event.client),
            _ => return None,
        };
        Some(Self { user, target, client, opened_at })
    }
}

/// Verifies an export: that each line is as the gateway writes it, that entries follow one another without
/// a gap, that what people read is what was hashed, that the hashes form the session's chain, that `key`
/// signed the heads, and that the last line is one. Blocks on the reader; needs the memory of a few lines.
pub fn verify(reader: impl BufRead, key: &PublicKey) -> Result<Report, Fault> {
    let mut lines = Lines { reader, line: Vec::new(), number: 0 };
    let mut verifier = Verifier::start(&mut lines, key)?;
    while lines.advance()? {
        verifier.take(&mut lines)?;
    }
    verifier.finish(&lines)
}

struct Lines<R> {
    reader: R,
    /// The line, without its end.
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Goes to the next line; false at the end.
    fn advance(&mut self) -> Result<bool, Fault> {
        self.line.clear();
        let most = MAX_LINE_BYTES as u64 + 1;
        if self.reader.by_ref().take(most).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        match self.line.pop() {
            Some(b'\n') => Ok(true),
            _ if self.line.len() >= MAX_LINE_BYTES => Err(Fault::TooLong { line: self.number }),
            _ => Err(Fault::Unended { line: self.number }),
        }
    }
}

struct Verifier<'a> {
    session: SessionId,
    key: &'a PublicKey,
    fingerprint: Fingerprint,
    chain: Chain,
    /// The number of the first entry that no head covers.
    uncovered: u64,
    opening: Option<Opening>,
    /// The last head, if the line before was one.
    head: Option<SignedHead>,
}

impl<'a> Verifier<'a> {
    fn start<R: BufRead>(lines: &mut Lines<R>, key: &'a PublicKey) -> Result<Self, Fault> {
        if !lines.advance()? {
            return Err(Fault::Unended { line: 0 });
        }
        let first: HeaderLine =
            serde_json::from_slice(&lines.line).map_err(|_| Fault::Header("it names no format, session and key"))?;
        if !first.is_known() {
            return Err(Fault::Header("its format is unknown; a newer version may know it"));
        }
        let fingerprint = key.fingerprint();
        if first.key != fingerprint.to_string() {
            return Err(Fault::OtherKey { named: first.key, given: fingerprint });
        }
        if export::header(first.session, fingerprint).as_bytes() != lines.line {
            return Err(Fault::Header("it is not written as the gateway writes it"));
        }
        let chain = Chain::new(first.session);
        Ok(Self { session: first.session, key, fingerprint, chain, uncovered: 0, opening: None, head: None })
    }

    fn take<R: BufRead>(&mut self, lines: &mut Lines<R>) -> Result<(), Fault> {
        match export::read(&lines.line, self.session, self.fingerprint) {
            Some(Line::Entry { number, packed, hash }) if number == self.chain.next() => {
                self.take_entry(&packed, hash, lines.number)
            }
            Some(Line::Entry { number, .. }) => Err(self.misplaced(number, lines)),
            Some(Line::Head { from, signed }) => self.take_head(from, signed, lines.number),
            None => {
                let why = "the line is not as the gateway writes it, or its readable form is not what was recorded";
                Err(Fault::Changed { number: self.chain.next(), line: lines.number, why })
            }
        }
    }

    fn take_entry(&mut self, packed: &[u8], hash: Hash, line: u64) -> Result<(), Fault> {
        let number = self.chain.next();
        if self.head.is_some_and(|signed| signed.head.end) {
            return Err(Fault::AfterEnd { number, line });
        }
        if self.chain.push(packed) != hash {
            let why =
                "its hash does not follow from it and the entries before; one may be missing or of another session";
            return Err(Fault::Changed { number, line, why });
        }
        if number == 0 {
            self.opening = Opening::of(self.session, packed);
        }
        self.head = None;
        Ok(())
    }

    fn take_head(&mut self, from: u64, signed: SignedHead, line: u64) -> Result<(), Fault> {
        let next = self.chain.next();
        let number = next.saturating_sub(1);
        let fault = |why| Err(Fault::Head { number, line, why });
        if next == self.uncovered {
            return fault("no entry stands between it and the line before");
        }
        if signed.head.number >= next {
            return Err(Fault::Missing { first: next, last: signed.head.number, line });
        }
        if signed.head.number != number {
            return fault("it covers an earlier one");
        }
        if from != self.uncovered {
            return fault("a head before it is missing");
        }
        if signed.head.hash != self.chain.tip() || !signed.is_by(self.key) {
            return fault("it is not signed by the key for these entries");
        }
        self.uncovered = next;
        self.head = Some(signed);
        Ok(())
    }

    /// Another entry stands where the next one belongs: says whether that one comes later.
    fn misplaced<R: BufRead>(&self, stands: u64, lines: &mut Lines<R>) -> Fault {
        let (expected, line) = (self.chain.next(), lines.number);
        if stands < expected {
            return Fault::Added { number: stands, line };
        }
        while let Ok(true) = lines.advance() {
            if export::number(&lines.line) == Some(expected) {
                return Fault::OutOfOrder { number: expected, line, found: lines.number };
            }
        }
        Fault::Missing { first: expected, last: stands - 1, line }
    }

    fn finish<R>(self, lines: &Lines<R>) -> Result<Report, Fault> {
        let line = lines.number;
        match (self.head, self.chain.next().checked_sub(1)) {
            (Some(SignedHead { head, .. }), _) => Ok(Report {
                session: self.session,
                key: self.fingerprint.to_string(),
                entries: self.chain.next(),
                complete: head.end,
                signed_at: head.at,
                opening: self.opening,
            }),
            (None, Some(number)) => Err(Fault::CutOff { number, line }),
            (None, None) => Err(Fault::Unended { line }),
        }
    }
}
