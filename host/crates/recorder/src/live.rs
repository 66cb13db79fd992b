//! A session that goes on: what its next entry needs, and how its entries become blocks and heads.

use sled::Batch;
use sluicegate_core::{
    SessionId,
    record::{self, Entry},
    sessions::SessionSummary,
};

use crate::{
    block::{self, Block},
    error::StoreError,
    format::{self, BLOCK, HEAD},
    proof::{Chain, Head, SigningKey},
    retention::Sizes,
    store::Store,
};

/// A head is signed when this many entries have none.
const UNSIGNED_ENTRIES: u64 = 1000;

pub(crate) struct Live {
    pub(crate) summary: SessionSummary,
    chain: Chain,
    /// The block that is being filled.
    block: Block,
    /// The bytes of the session's blocks, and how many of them the target's size has not got yet.
    bytes: u64,
    uncounted: u64,
    /// How many entries a head covers.
    signed: u64,
    /// Whether something of it is to be written.
    pub(crate) dirty: bool,
}

impl Live {
    /// A session of which nothing is stored.
    pub(crate) fn new(id: SessionId, at: i64) -> Self {
        Self {
            summary: SessionSummary::new(id, at),
            chain: Chain::new(id),
            block: Block::new(0),
            bytes: 0,
            uncounted: 0,
            signed: 0,
            dirty: false,
        }
    }

    /// The session from the store, if it was there before; none where it has ended.
    pub(crate) fn find(store: &Store, id: SessionId, at: i64) -> Result<Option<Self>, StoreError> {
        let mut live = Self::new(id, at);
        let Some(summary) = store.find(id)? else { return Ok(Some(live)) };
        if summary.closed_at.is_some() {
            return Ok(None);
        }
        if let Some((first, sealed)) = store.blocks(id, u64::MAX)?.next().transpose()? {
            let opened = Block::open(first, &sealed)?;
            let last = opened.last()?;
            live.chain = Chain::resume(last.number.saturating_add(1), last.hash);
        }
        live.signed = store.last_head(id)?.map_or(0, |signed| signed.head.number.saturating_add(1));
        live.bytes = store.bytes_of(&summary)?;
        live.block = Block::new(live.chain.next());
        live.summary = summary;
        Ok(Some(live))
    }

    /// Takes the next entry. `packed` is room to work in.
    pub(crate) fn add(&mut self, entry: &Entry, packed: &mut Vec<u8>, batch: &mut Batch) -> Result<(), StoreError> {
        self.summary.note(entry);
        block::pack(entry, packed)?;
        self.chain_on(packed, batch)
    }

    /// Takes the bytes of the next entry, which the summary has noted.
    pub(crate) fn chain_on(&mut self, packed: &[u8], batch: &mut Batch) -> Result<(), StoreError> {
        let hash = self.chain.push(packed);
        self.block.push(packed, hash)?;
        if self.block.is_full() {
            self.cut_block(batch);
        }
        Ok(())
    }

    /// Whether entries are there that no head covers.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.signed < self.chain.next()
    }

    /// Writes what was gathered. A head is signed if the session has ended, if `sign` says so, or if many
    /// entries have none.
    pub(crate) fn put(
        &mut self,
        key: &SigningKey,
        sign: bool,
        sizes: &mut Sizes,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        self.dirty = false;
        self.cut_block(batch);
        let id = self.summary.id;
        let ended = self.summary.closed_at;
        let many = self.chain.next().saturating_sub(self.signed) >= UNSIGNED_ENTRIES;
        if self.is_unsigned() && (sign || many || ended.is_some()) {
            self.sign(key, batch);
        }
        batch.insert(format::session_key(b's', id), format::pack(&self.summary)?);
        let target = target_of(&self.summary);
        sizes.grow(target, std::mem::take(&mut self.uncounted));
        let bytes = self.bytes.to_be_bytes();
        match ended {
            Some(at) => {
                batch.remove(format::session_key(b'o', id));
                batch.insert(format::ended_key(target, id), [bytes, at.to_be_bytes()].concat());
            }
            None => batch.insert(format::session_key(b'o', id), &bytes),
        }
        Ok(())
    }

    fn sign(&mut self, key: &SigningKey, batch: &mut Batch) {
        let Some(number) = self.chain.next().checked_sub(1) else { return };
        let (session, end) = (self.summary.id, self.summary.closed_at.is_some());
        let head = Head { session, number, hash: self.chain.tip(), at: record::now(), end };
        batch.insert(format::numbered_key(HEAD, session, number), format::encode_head(&head.sign(key)));
        self.signed = self.chain.next();
    }

    fn cut_block(&mut self, batch: &mut Batch) {
        if self.block.is_empty() {
            return;
        }
        let sealed = self.block.seal();
        let size = sealed.len() as u64;
        (self.bytes, self.uncounted) = (self.bytes + size, self.uncounted + size);
        batch.insert(format::numbered_key(BLOCK, self.summary.id, self.block.first()), sealed);
        // A new one: the buffers are large, and most sessions are silent most of the time.
        self.block = Block::new(self.chain.next());
    }
}

/// The target that a session counts for. Whoever is not let in may name any, so these count for none.
pub(crate) fn target_of(summary: &SessionSummary) -> &str {
    if summary.refused.is_some() { "" } else { &summary.target }
}
