//! The chain of hashes: each entry's covers all before it, and the session that they belong to.

use std::fmt;

use ring::digest::{Context, SHA256};
use sluicegate_core::{SessionId, hex};

/// What is hashed first, so that the hash is no other thing's.
const DOMAIN: &[u8] = b"sluicegate record 1";

/// A SHA-256. Shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; Self::BYTES]);

impl Hash {
    /// Bytes of a hash.
    pub const BYTES: usize = 32;

    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; Self::BYTES];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl Hash {
    /// Reads hexadecimal; none where it is not one of 64 digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        if text.len() != 2 * Self::BYTES {
            return None;
        }
        let (digits, _) = text.as_bytes().as_chunks::<2>();
        for (byte, digits) in bytes.iter_mut().zip(digits) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a session's chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    tip: Hash,
}

impl Chain {
    /// The chain of a session that has no entries yet.
    pub fn new(session: SessionId) -> Self {
        Self { next: 0, tip: Hash::of(&[DOMAIN, session.0.as_bytes()]) }
    }

    /// A chain whose entry before `next` has this hash.
    pub fn resume(next: u64, tip: Hash) -> Self {
        Self { next, tip }
    }

    /// Adds the next entry, as packed, and returns its hash.
    pub fn push(&mut self, packed: &[u8]) -> Hash {
        self.tip = Hash::of(&[DOMAIN, &self.tip.0, packed]);
        self.next += 1;
        self.tip
    }

    /// The number of the next entry, which is how many there are.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The hash of the last entry.
    pub fn tip(&self) -> Hash {
        self.tip
    }
}
