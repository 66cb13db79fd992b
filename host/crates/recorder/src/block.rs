//! Blocks: some entries of one session. A stored block is the number of its entries (4 bytes), their hashes
//! in the chain, which do not compress, and then, compressed together, each entry's size (4 bytes) and its
//! MessagePack bytes. Those bytes are what is hashed, and are kept as they are.

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

/// One entry as a block has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed<'a> {
    pub(crate) number: u64,
    pub(crate) hash: Hash,
    pub(crate) bytes: &'a [u8],
}

/// Some entries that follow one another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The number of the first entry.
    first: u64,
    hashes: Vec<u8>,
    /// The entries, each behind its size.
    packed: Vec<u8>,
}

impl Block {
    /// A block that has no entries yet.
    pub(crate) fn new(first: u64) -> Self {
        Self { first, hashes: Vec::new(), packed: Vec::new() }
    }

    /// The number of the first entry.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Whether it takes no further entry.
    pub(crate) fn is_full(&self) -> bool {
        self.packed.len() >= BLOCK_BYTES
    }

    /// The bytes of its entries.
    pub(crate) fn size(&self) -> usize {
        self.packed.len()
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, packed: &[u8], hash: Hash) -> Result<(), StoreError> {
        let size = u32::try_from(packed.len()).map_err(|_| StoreError::Damaged("an entry is too large"))?;
        self.hashes.extend_from_slice(&hash.0);
        self.packed.extend_from_slice(&size.to_be_bytes());
        self.packed.extend_from_slice(packed);
        Ok(())
    }

    /// The block as it is stored.
    pub(crate) fn seal(&self) -> Vec<u8> {
        let hashes = (self.hashes.len() / Hash::BYTES) as u32;
        let compressed = lz4_flex::block::compress_prepend_size(&self.packed);
        [hashes.to_be_bytes().as_slice(), &self.hashes, &compressed].concat()
    }

    /// Reads a stored block. It has as many hashes as entries.
    pub(crate) fn open(first: u64, sealed: &[u8]) -> Result<Self, StoreError> {
        let damaged = StoreError::Damaged("a block holds something else than entries");
        let split = sealed
            .split_first_chunk()
            .and_then(|(hashes, rest)| rest.split_at_checked(u32::from_be_bytes(*hashes) as usize * Hash::BYTES));
        let Some((hashes, compressed)) = split else { return Err(damaged) };
        let block = Self { first, hashes: hashes.to_vec(), packed: decompress(compressed)? };
        let bytes: usize = block.entries().map(|entry| size_of::<u32>() + entry.bytes.len()).sum();
        let whole = block.entries().count() * Hash::BYTES == block.hashes.len() && bytes == block.packed.len();
        if whole { Ok(block) } else { Err(damaged) }
    }

    /// Its entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Packed<'_>> {
        let mut rest = self.packed.as_slice();
        let (hashes, _) = self.hashes.as_chunks::<{ Hash::BYTES }>();
        (self.first..).zip(hashes).map_while(move |(number, hash)| {
            let (size, following) = rest.split_first_chunk()?;
            let (bytes, following) = following.split_at_checked(u32::from_be_bytes(*size) as usize)?;
            rest = following;
            Some(Packed { number, hash: Hash(*hash), bytes })
        })
    }

    /// Its last entry.
    pub(crate) fn last(&self) -> Result<Packed<'_>, StoreError> {
        self.entries().last().ok_or(StoreError::Damaged("a block has no entries"))
    }

    /// Follows the chain through the block, and fails at the first entry that is not part of it.
    pub(crate) fn follow(&self, chain: &mut Chain) -> Result<(), StoreError> {
        for entry in self.entries() {
            if chain.push(entry.bytes) != entry.hash {
                return Err(StoreError::Damaged("an entry does not follow from those before it"));
            }
        }
        Ok(())
    }
}

/// Decompresses the entries of a block, of this format or of format 1.
pub(crate) fn decompress(compressed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = |_| StoreError::Damaged("a block does not decompress");
    let (size, body) = lz4_flex::block::uncompressed_size(compressed).map_err(damaged)?;
    if size > MAX_BLOCK_BYTES {
        return Err(StoreError::Damaged("a block claims to be larger than any"));
    }
    let block = lz4_flex::block::decompress(body, size).map_err(damaged)?;
    if block.len() == size { Ok(block) } else { Err(StoreError::Damaged("a block is not of the size it claims")) }
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
            said: "block".into(),
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
            ..Opened::default()
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
        let (mut block, mut packed, mut chain) = (Block::new(7), Vec::new(), Chain::new(session));
        for entry in &said {
            pack(entry, &mut packed).unwrap();
            block.push(&packed, chain.push(&packed)).unwrap();
        }
        let opened = Block::open(7, &block.seal()).unwrap();
        assert_eq!(opened, block);
        let kept: Vec<_> = opened.entries().collect();
        assert_eq!((kept[0].number, opened.last().unwrap().number), (7, 14));
        let back: Vec<_> = kept.iter().map(|kept| unpack(session, kept.bytes).unwrap()).collect();
        assert_eq!(back, said);
        let mut followed = Chain::new(session);
        opened.follow(&mut followed).unwrap();
        assert_eq!(followed, chain);
    }

    #[test]
    fn damage_is_noticed() {
        let session = SessionId(Uuid::now_v7());
        let mut block = Block::new(0);
        assert!(block.last().is_err());
        block.push(b"\xc0", Chain::new(session).push(b"\xc0")).unwrap();
        assert!(unpack(session, b"\xc0").is_err());
        let sealed = block.seal();
        let found = |sealed: &[u8]| Block::open(0, sealed).and_then(|block| block.follow(&mut Chain::new(session)));
        assert!(found(&sealed).is_ok());
        for at in 0..sealed.len() {
            let mut wrong = sealed.clone();
            wrong[at] ^= 0x81;
            assert!(matches!(found(&wrong), Err(StoreError::Damaged(_))), "{at}");
            assert!(matches!(found(&sealed[..at]), Err(StoreError::Damaged(_))), "{at}");
        }
        let mut claims_much = sealed;
        claims_much[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(found(&claims_much), Err(StoreError::Damaged(_))));
    }
}
