//! Blocks: some entries of one session, each as its size (4 bytes), its hash in the chain and its
//! MessagePack bytes, compressed together. Those bytes are what is hashed, and are kept as they are.

use serde::{Deserialize, Serialize};
use sluicegate_core::{
    SessionId,
    record::{Entry, Event},
};

use crate::{
    bounds::MAX_ENTRY_BYTES,
    error::StoreError,
    proof::{Chain, Hash},
};

/// A block that has reached this size, before compression, takes no further entry.
pub(crate) const BLOCK_BYTES: usize = 16 * 1024;
/// The most bytes that a block may claim to have: an entry of full size, encoded, on top of an
/// almost full block.
const MAX_BLOCK_BYTES: usize = BLOCK_BYTES + 2 * MAX_ENTRY_BYTES;

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

/// Packs an entry into an emptied buffer. Ids are written as text, so that the bytes say the same as the
/// JSON of an export.
pub(crate) fn pack(entry: &Entry, into: &mut Vec<u8>) -> Result<(), StoreError> {
    into.clear();
    let written = Written { at: entry.at, event: &entry.event };
    let mut serializer = rmp_serde::Serializer::new(into).with_struct_map().with_human_readable();
    written.serialize(&mut serializer).map_err(StoreError::Encode)
}

/// Reads an entry back.
pub(crate) fn unpack(session: SessionId, packed: &[u8]) -> Result<Entry, StoreError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(packed).with_human_readable();
    let Read { at, event } =
        Read::deserialize(&mut reader).map_err(|_| StoreError::Damaged("an entry cannot be read"))?;
    Ok(Entry { session, at, event })
}

/// Adds an entry to the bytes of a block.
pub(crate) fn push(block: &mut Vec<u8>, packed: &[u8], hash: Hash) -> Result<(), StoreError> {
    let size = u32::try_from(packed.len()).map_err(|_| StoreError::Damaged("an entry is too large"))?;
    block.extend_from_slice(&size.to_be_bytes());
    block.extend_from_slice(&hash.0);
    block.extend_from_slice(packed);
    Ok(())
}

/// Compresses a block.
pub(crate) fn seal(block: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(block)
}

/// Decompresses a block, of this format or of format 1.
pub(crate) fn unseal(sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = |_| StoreError::Damaged("a block does not decompress");
    let (size, body) = lz4_flex::block::uncompressed_size(sealed).map_err(damaged)?;
    if size > MAX_BLOCK_BYTES {
        return Err(StoreError::Damaged("a block claims to be larger than any"));
    }
    lz4_flex::block::decompress(body, size).map_err(damaged)
}

/// One entry as a block has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed<'a> {
    pub(crate) number: u64,
    pub(crate) hash: Hash,
    pub(crate) bytes: &'a [u8],
}

/// The entries of a decompressed block whose first entry has this number.
pub(crate) fn entries(first: u64, block: &[u8]) -> impl Iterator<Item = Result<Packed<'_>, StoreError>> {
    let mut rest = block;
    (first..).map_while(move |number| {
        if rest.is_empty() {
            return None;
        }
        let next = split(rest);
        rest = next.map_or(&[], |(_, _, rest)| rest);
        let damaged = StoreError::Damaged("a block holds something else than entries");
        Some(next.map(|(hash, bytes, _)| Packed { number, hash, bytes }).ok_or(damaged))
    })
}

fn split(block: &[u8]) -> Option<(Hash, &[u8], &[u8])> {
    let (size, rest) = block.split_first_chunk()?;
    let (hash, rest) = rest.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
    Some((Hash(*hash), bytes, rest))
}

/// Follows the chain through a block, and fails at the first entry that is not part of it.
pub(crate) fn follow(chain: &mut Chain, block: &[u8]) -> Result<(), StoreError> {
    for entry in entries(chain.next(), block) {
        let entry = entry?;
        if chain.push(entry.bytes) != entry.hash {
            return Err(StoreError::Damaged("an entry does not follow from those before it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sluicegate_core::{
        ApprovalState, Denial,
        approval::{Answer, ApprovalId},
        policy::{Mode, Opinion},
        record::{Answered, Closed, CommandEntry, Governed, HoldEnded, Opened, Outcome, Output, Refused},
    };
    use uuid::Uuid;

    use super::*;

    fn text() -> String {
        "größe".to_owned()
    }

    fn opinion() -> Opinion {
        Opinion {
            policy: text().into(),
            digest: text().into(),
            mode: Mode::Monitor,
            said: "block".to_owned(),
            reason: text(),
            rule: Some(text()),
            micros: 5,
        }
    }

    fn session_events() -> Vec<Event> {
        let opened = Opened {
            user: text(),
            groups: vec![text()],
            target: text(),
            protocol: text(),
            client: text(),
            authentication: text(),
            application: text(),
            policies: vec![(text(), text())],
            opinions: vec![opinion()],
        };
        let refused = Refused {
            user: text(),
            target: text(),
            protocol: text(),
            client: text(),
            reason: text(),
            opinions: Vec::new(),
        };
        let governed = Governed { policies: vec![(text(), text())] };
        let closed = Closed { commands: 1, reason: text() };
        vec![Event::Opened(opened), Event::Refused(refused), Event::Governed(governed), Event::Closed(closed)]
    }

    fn command_events() -> Vec<Event> {
        let approval = ApprovalId(Uuid::now_v7());
        let command = CommandEntry {
            sequence: u64::MAX,
            verb: text(),
            text: "x".repeat(20_000),
            cut: true,
            resources: vec![text()],
            parameters: 2,
            values: vec![None, Some(text())],
            denial: Some(Denial::gate("no")),
            approval: Some(approval),
            opinions: vec![opinion()],
        };
        let output = Output { columns: vec![text()], rows: vec![vec![None], vec![Some(text())]], cut: true };
        let outcome = Outcome {
            sequence: 1,
            rows: 2,
            bytes: 3,
            masked: 4,
            status: text(),
            failed: true,
            denial: None,
            opinions: vec![opinion()],
            forwarded_at: Some(-1),
            micros: 2,
            output: vec![output],
        };
        let answer = Answer { approver: text(), approved: true, note: text(), at: 1 };
        let answered = Answered { approval, sequence: 1, answer };
        let ended = HoldEnded { approval, sequence: 1, state: ApprovalState::Superseded, reason: text() };
        vec![Event::Command(command), Event::Outcome(outcome), Event::Answered(answered), Event::HoldEnded(ended)]
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let session = SessionId(Uuid::now_v7());
        let events = session_events().into_iter().chain(command_events());
        let said: Vec<_> = events.zip(-1..).map(|(event, at)| Entry { session, at, event }).collect();
        let (mut bytes, mut packed, mut chain) = (Vec::new(), Vec::new(), Chain::new(session));
        for entry in &said {
            pack(entry, &mut packed).unwrap();
            push(&mut bytes, &packed, chain.push(&packed)).unwrap();
        }
        let opened = unseal(&seal(&bytes)).unwrap();
        let kept: Vec<_> = entries(7, &opened).map(Result::unwrap).collect();
        assert_eq!((kept[0].number, kept.last().unwrap().number), (7, 14));
        let back: Vec<_> = kept.iter().map(|kept| unpack(session, kept.bytes).unwrap()).collect();
        assert_eq!(back, said);
        let mut followed = Chain::new(session);
        follow(&mut followed, &opened).unwrap();
        assert_eq!(followed, chain);
    }

    #[test]
    fn damage_is_noticed() {
        let mut claims_much = seal(b"x");
        claims_much[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        for sealed in [&b""[..], b"\x01", &claims_much] {
            assert!(matches!(unseal(sealed), Err(StoreError::Damaged(_))), "{sealed:?}");
        }
        let session = SessionId(Uuid::now_v7());
        let mut block = Vec::new();
        push(&mut block, b"\xc0", Chain::new(session).push(b"\xc0")).unwrap();
        assert!(unpack(session, b"\xc0").is_err());
        for at in 0..block.len() {
            let mut wrong = block.clone();
            wrong[at] ^= 1;
            assert!(follow(&mut Chain::new(session), &wrong).is_err(), "{at}");
        }
    }
}
