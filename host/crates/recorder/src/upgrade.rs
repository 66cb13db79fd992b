//! Brings a store of format 1 up to date. There, blocks were numbered, lay under `b`, and held entries
//! without hashes. Each session is chained and signed as it is found, from the very bytes that were
//! stored. What was there before the upgrade is thereby proven from the upgrade on.
//!
//! A session's old blocks are removed in the same write that completes the new ones, so that an upgrade that
//! is cut off is taken up where it stopped.

use std::time::{Duration, Instant};

use serde::{Deserialize, de::IgnoredAny};
use sled::Batch;
use sluicegate_core::{SessionId, record};

use crate::{
    block,
    error::StoreError,
    format::{self, VERSION, VERSION_KEY},
    live::Live,
    proof::SigningKey,
    retention::Sizes,
    store::Store,
};

/// What the key of a block began with in format 1.
const OLD_BLOCK: u8 = b'b';
/// How often the log hears of the progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Upgrades the store. May take minutes where it is large.
pub(crate) fn run(store: &Store, key: &SigningKey) -> Result<(), StoreError> {
    let sessions = store.scan(b"s").count();
    tracing::info!(sessions, "bringing the record up to date: every session is chained and signed");
    let mut sizes = Sizes::load(store)?;
    let (mut done, mut said) = (0_usize, Instant::now());
    while let Some(found) = store.scan(&[OLD_BLOCK]).next() {
        upgrade(store, format::session_of(&found?.0)?, key, &mut sizes)?;
        done += 1;
        if said.elapsed() >= PROGRESS {
            tracing::info!(done, sessions, "bringing the record up to date");
            said = Instant::now();
        }
    }
    store.sync()?;
    let mut batch = Batch::default();
    batch.insert(VERSION_KEY, &VERSION.to_be_bytes());
    store.write(batch)?;
    store.sync()?;
    tracing::info!(done, "the record is up to date");
    Ok(())
}

fn upgrade(store: &Store, session: SessionId, key: &SigningKey, sizes: &mut Sizes) -> Result<(), StoreError> {
    let mut live = Live::new(session, 0);
    let (mut batch, mut old, mut damage) = (Batch::default(), Batch::default(), None);
    for found in store.scan(&format::session_key(OLD_BLOCK, session)) {
        let (block_key, sealed) = found?;
        match chain_on(&mut live, session, &sealed, &mut batch) {
            Ok(()) => {}
            Err(StoreError::Damaged(why)) => damage = Some(why),
            Err(other) => return Err(other),
        }
        store.write(std::mem::take(&mut batch))?;
        old.remove(block_key);
    }
    if let Some(why) = damage {
        tracing::error!(%session, why, "the record of this session was damaged; what can be read of it is kept");
        live.summary.closed_at.get_or_insert_with(record::now);
        live.summary.ended = Some("damaged".to_owned());
    }
    live.put(key, true, sizes, &mut old)?;
    sizes.put(&mut old);
    store.write(old)
}

/// Chains the entries of an old block: MessagePack, one after the other.
fn chain_on(live: &mut Live, session: SessionId, sealed: &[u8], batch: &mut Batch) -> Result<(), StoreError> {
    let damaged = || StoreError::Damaged("a block holds something else than entries");
    let opened = block::decompress(sealed)?;
    let mut rest = opened.as_slice();
    while !rest.is_empty() {
        let from = rest;
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        IgnoredAny::deserialize(&mut reader).map_err(|_| damaged())?;
        let packed = from.get(..from.len() - rest.len()).ok_or_else(damaged)?;
        let entry = block::unpack(session, packed)?;
        if live.summary.entries == 0 {
            live.summary.opened_at = entry.at;
        }
        live.summary.note(&entry);
        live.chain_on(packed, batch)?;
    }
    Ok(())
}
