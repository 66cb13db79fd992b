//! What a crash leaves, put right when the store opens: holds that nobody waits in any more end, and the
//! sessions that were cut off are closed. Before anything is added to a session, what is stored of it since
//! its last signed head is checked.

use sled::Batch;
use sluicegate_core::{
    SessionId,
    record::{self, Closed, Entry, Event},
    sessions::SessionSummary,
};

use crate::{
    approvals,
    block::Block,
    error::StoreError,
    format, live,
    proof::{Chain, SigningKey},
    store::Store,
    writer::Writer,
};

/// How a session ended that the gateway did not live to see.
const INTERRUPTED: &str = "interrupted";
/// How a session ended of which not everything is there that was signed.
const DAMAGED: &str = "damaged";
/// So many sessions are put right in one write.
const PER_WRITE: usize = 256;

/// Puts right every session that is marked as open.
pub(crate) fn run(writer: &mut Writer) -> Result<(), StoreError> {
    for (done, session) in writer.store.open_sessions()?.into_iter().enumerate() {
        match check(&writer.store, session, writer.key()) {
            Ok(summary) => close(writer, session, summary.commands)?,
            Err(StoreError::Damaged(why)) => set_aside(writer, session, why)?,
            Err(other) => return Err(other),
        }
        if (done + 1).is_multiple_of(PER_WRITE) {
            writer.write()?;
        }
    }
    writer.sync()
}

fn close(writer: &mut Writer, session: SessionId, commands: u64) -> Result<(), StoreError> {
    tracing::warn!(%session, commands, "the gateway stopped before this session ended; it is closed as interrupted");
    let at = record::now();
    for ended in approvals::cut_off(&writer.store, session)? {
        writer.gather(&Entry { session, at, event: Event::HoldEnded(ended) })?;
    }
    let event = Event::Closed(Closed { commands, reason: INTERRUPTED.to_owned() });
    writer.gather(&Entry { session, at, event })
}

/// Ends a damaged session in its summary alone: nothing is added to its chain, so that verifying it
/// shows what is wrong.
fn set_aside(writer: &mut Writer, session: SessionId, why: &'static str) -> Result<(), StoreError> {
    tracing::error!(%session, why, "the record of this session is damaged; export and verify it to see where");
    let store = writer.store.clone();
    let at = record::now();
    let mut summary = match store.find(session) {
        Ok(Some(summary)) => summary,
        Ok(None) | Err(StoreError::Damaged(_)) => SessionSummary::new(session, at),
        Err(other) => return Err(other),
    };
    let bytes = store.bytes_of(&summary)?;
    summary.closed_at = Some(at);
    summary.ended = Some(DAMAGED.to_owned());
    let mut batch = Batch::default();
    batch.insert(format::session_key(b's', session), format::pack(&summary)?);
    batch.remove(format::session_key(b'o', session));
    let kept = [bytes.to_be_bytes(), at.to_be_bytes()].concat();
    batch.insert(format::ended_key(live::target_of(&summary), session), kept);
    for ended in approvals::cut_off(&store, session)? {
        approvals::end_unrecorded(&store, session, ended, at, &mut batch)?;
    }
    store.write(batch)
}

/// Checks the session's chain from the block of its last head to its end, and the head itself.
fn check(store: &Store, session: SessionId, key: &SigningKey) -> Result<SessionSummary, StoreError> {
    let summary = store.find(session)?.ok_or(StoreError::Damaged("it has no summary"))?;
    let head = store.last_head(session)?;
    let by_another = head.is_some_and(|signed| signed.key == key.fingerprint() && !signed.is_by(key.public()));
    if by_another {
        return Err(StoreError::Damaged("its last head is not signed by the gateway"));
    }
    let mut chain = Chain::new(session);
    for (place, found) in store.blocks(session, head.map_or(0, |signed| signed.head.number))?.enumerate() {
        let (first, sealed) = found?;
        if place == 0 && first > 0 {
            chain = before(store, session, first)?;
        }
        if first != chain.next() {
            return Err(StoreError::Damaged("entries of it are missing"));
        }
        let opened = Block::open(first, &sealed)?;
        opened.follow(&mut chain)?;
        let mut signed_here = opened.entries();
        if let Some(signed) = head
            && signed_here.any(|entry| entry.number == signed.head.number && entry.hash != signed.head.hash)
        {
            return Err(StoreError::Damaged("its entries are not those that were signed"));
        }
    }
    let signed = head.map_or(0, |signed| signed.head.number.saturating_add(1));
    if chain.next() != summary.entries || chain.next() < signed {
        return Err(StoreError::Damaged("its last entries are missing"));
    }
    Ok(summary)
}

/// Where the chain stands before the block that begins with entry `first`, by the block before.
fn before(store: &Store, session: SessionId, first: u64) -> Result<Chain, StoreError> {
    let missing = StoreError::Damaged("entries of it are missing");
    let Some(found) = store.blocks(session, first - 1)?.next() else { return Err(missing) };
    let (start, sealed) = found?;
    let opened = Block::open(start, &sealed)?;
    let last = opened.last()?;
    if last.number + 1 == first { Ok(Chain::resume(first, last.hash)) } else { Err(missing) }
}
