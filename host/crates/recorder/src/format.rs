//! How the record is laid out in the store, format 1. All integers in keys are big-endian, so that
//! keys sort as they should; session ids (UUID version 7) sort by time.
//!
//! | key                              | value                                                   |
//! |----------------------------------|---------------------------------------------------------|
//! | `v`                              | the format's number, 4 bytes                            |
//! | `b`, session id, block's number  | a block: its size, 4 bytes little-endian, then LZ4 of   |
//! |                                  | entries in MessagePack, one after the other             |
//! | `s`, session id                  | the session's summary in MessagePack                    |
//! | `o`, session id                  | nothing; there while the session is open                |
//!
//! MessagePack maps carry field names: a field may be added with a default and the format stays.

use serde::{Deserialize, Serialize};
use sluicegate_core::{
    SessionId,
    record::{Entry, Event},
    sessions::SessionSummary,
};
use uuid::Uuid;

use crate::{bounds::MAX_ENTRY_BYTES, error::StoreError};

/// The number of this format.
pub(crate) const VERSION: u32 = 1;
/// Where that number is kept.
pub(crate) const VERSION_KEY: &[u8] = b"v";
/// A block that has reached this size, before compression, takes no further entry.
pub(crate) const BLOCK_BYTES: usize = 16 * 1024;
/// The most bytes that a block may claim to have: an entry of full size, encoded, on top of an
/// almost full block.
const MAX_BLOCK_BYTES: usize = BLOCK_BYTES + 2 * MAX_ENTRY_BYTES;
/// Bytes of a session's id.
const ID_BYTES: usize = 16;

#[derive(Serialize)]
struct Written<'a> {
    at: i64,
    event: &'a Event,
}

#[derive(Deserialize)]
struct Read {
    at: i64,
    event: Event,
}

/// Adds one entry to the bytes of a block.
pub(crate) fn encode(entry: &Entry, block: &mut Vec<u8>) -> Result<(), StoreError> {
    let written = Written { at: entry.at, event: &entry.event };
    rmp_serde::encode::write_named(block, &written).map_err(StoreError::Encode)
}

/// Compresses a block.
pub(crate) fn seal(block: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(block)
}

/// Reads a block's entries back, and says how many bytes they were.
pub(crate) fn open(session: SessionId, sealed: &[u8], into: &mut Vec<Entry>) -> Result<usize, StoreError> {
    let damaged = |_| StoreError::Damaged("a block does not decompress");
    let (size, body) = lz4_flex::block::uncompressed_size(sealed).map_err(damaged)?;
    if size > MAX_BLOCK_BYTES {
        return Err(StoreError::Damaged("a block claims to be larger than any"));
    }
    let block = lz4_flex::block::decompress(body, size).map_err(damaged)?;
    let mut rest = block.as_slice();
    while !rest.is_empty() {
        let Read { at, event } = rmp_serde::decode::from_read(&mut rest)
            .map_err(|_| StoreError::Damaged("a block holds something else than entries"))?;
        into.push(Entry { session, at, event });
    }
    Ok(block.len())
}

/// Writes a summary.
pub(crate) fn encode_summary(summary: &SessionSummary) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec_named(summary).map_err(StoreError::Encode)
}

/// Reads a summary back.
pub(crate) fn decode_summary(bytes: &[u8]) -> Result<SessionSummary, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|_| StoreError::Damaged("a session's summary cannot be read"))
}

/// The key of a block.
pub(crate) fn block_key(session: SessionId, number: u64) -> Vec<u8> {
    let mut key = session_key(b'b', session);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in a block's key.
pub(crate) fn block_number(key: &[u8]) -> Result<u64, StoreError> {
    key.last_chunk().copied().map(u64::from_be_bytes).ok_or(StoreError::Damaged("a block's key is too short"))
}

/// The key of a summary.
pub(crate) fn summary_key(session: SessionId) -> Vec<u8> {
    session_key(b's', session)
}

/// The key that says that a session is open.
pub(crate) fn open_key(session: SessionId) -> Vec<u8> {
    session_key(b'o', session)
}

/// The session in a key.
pub(crate) fn session_of(key: &[u8]) -> Result<SessionId, StoreError> {
    key.get(1..)
        .and_then(|rest| rest.first_chunk::<ID_BYTES>())
        .map(|id| SessionId(Uuid::from_bytes(*id)))
        .ok_or(StoreError::Damaged("a key is too short"))
}

fn session_key(kind: u8, session: SessionId) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + ID_BYTES + size_of::<u64>());
    key.push(kind);
    key.extend_from_slice(session.0.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use sluicegate_core::{
        Denial,
        policy::{Mode, Opinion},
        record::{Closed, CommandEntry, Governed, Opened, Outcome, Refused},
    };

    use super::*;

    fn one_of_each() -> Vec<Event> {
        let text = || "größe".to_owned();
        let opinion = Opinion {
            policy: text(),
            digest: text(),
            mode: Mode::Monitor,
            said: "block".to_owned(),
            reason: text(),
            rule: None,
            micros: 5,
        };
        vec![
            Event::Opened(Opened {
                user: text(),
                groups: vec![text()],
                target: text(),
                protocol: text(),
                client: text(),
                authentication: text(),
                application: text(),
                policies: vec![(text(), text())],
                opinions: vec![opinion.clone()],
            }),
            Event::Refused(Refused {
                user: text(),
                target: text(),
                protocol: text(),
                client: text(),
                reason: text(),
                opinions: Vec::new(),
            }),
            Event::Governed(Governed { policies: vec![(text(), text())] }),
            Event::Command(CommandEntry {
                sequence: u64::MAX,
                verb: text(),
                text: "x".repeat(20_000),
                cut: true,
                resources: vec![text()],
                parameters: 2,
                values: vec![None, Some(text())],
                denial: Some(Denial::gate("no")),
                approval: None,
                opinions: vec![opinion.clone()],
            }),
            Event::Outcome(Outcome {
                sequence: 1,
                rows: 2,
                bytes: 3,
                masked: 4,
                status: text(),
                failed: true,
                denial: None,
                opinions: vec![opinion],
                forwarded_at: Some(1),
                micros: 2,
                output: Vec::new(),
            }),
            Event::Closed(Closed { commands: 1, reason: text() }),
        ]
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let session = SessionId(Uuid::now_v7());
        let entries: Vec<_> =
            one_of_each().into_iter().zip(-1..).map(|(event, at)| Entry { session, at, event }).collect();
        let mut block = Vec::new();
        for entry in &entries {
            encode(entry, &mut block).unwrap();
        }
        let mut back = Vec::new();
        assert_eq!(open(session, &seal(&block), &mut back).unwrap(), block.len());
        assert_eq!(back, entries);
    }

    #[test]
    fn damage_is_noticed() {
        let session = SessionId(Uuid::now_v7());
        let mut into = Vec::new();
        let mut claims_much = seal(b"x");
        claims_much[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        for bytes in [&b""[..], b"\x01", &claims_much, &seal(b"\xff\xff\xff")] {
            assert!(matches!(open(session, bytes, &mut into), Err(StoreError::Damaged(_))), "{bytes:?}");
        }
    }

    #[test]
    fn keys_name_their_session_and_sort_by_block() {
        let session = SessionId(Uuid::now_v7());
        assert_eq!(session_of(&open_key(session)).unwrap(), session);
        assert_eq!(block_number(&block_key(session, 300)).unwrap(), 300);
        assert!(block_key(session, 255) < block_key(session, 256));
        assert!(session_of(b"o").is_err());
    }
}
