//! A session's export from the store, page by page: the lines that [`crate::proof`] verifies, up to the
//! last signed head. A running gateway signs a fresh one for a session that is open.

use std::iter::Peekable;

use sled::IVec;
use sluicegate_core::{SessionId, sessions::ExportPage};

use crate::{
    block::Block,
    error::StoreError,
    proof::{
        Fingerprint, SignedHead,
        export::{entry, head, header},
    },
    store::Store,
};

/// A page is full at this many bytes of lines.
const PAGE_BYTES: usize = 1024 * 1024;

/// A page of the export, which begins with entry `from`, or with the first line where that is 0.
pub(crate) fn page(store: &Store, session: SessionId, from: u64) -> Result<ExportPage, StoreError> {
    let mut page = ExportPage { lines: Vec::new(), next: None };
    let Some(summary) = store.find(session)? else {
        return if from == 0 { Ok(page) } else { Err(StoreError::Gone) };
    };
    if from == 0 && summary.closed_at.is_none() {
        store.ask_for_head(session);
    }
    let last = store.last_head(session)?.ok_or(StoreError::Unsigned)?;
    if from == 0 {
        page.lines.push(header(session, last.key));
    }
    let covered = covered_before(store, session, from, last.key)?;
    let heads = store.heads(session, from..=last.head.number).peekable();
    let mut lines = Lines { heads, key: last.key, covered, page };
    lines.add(store.blocks(session, from)?, from, last.head.number)?;
    Ok(lines.page)
}

/// How many entries before `from` have a head by this key.
fn covered_before(store: &Store, session: SessionId, from: u64, key: Fingerprint) -> Result<u64, StoreError> {
    let Some(before) = from.checked_sub(1) else { return Ok(0) };
    for found in store.heads(session, 0..=before).rev() {
        let signed = found?;
        if signed.key == key {
            return Ok(signed.head.number.saturating_add(1));
        }
    }
    Ok(0)
}

struct Lines<I: Iterator> {
    /// The heads that are still to come.
    heads: Peekable<I>,
    key: Fingerprint,
    /// How many entries have a head among the lines.
    covered: u64,
    page: ExportPage,
}

impl<I: Iterator<Item = Result<SignedHead, StoreError>>> Lines<I> {
    /// Adds entries and heads until the page is full or the last head is there.
    fn add(
        &mut self,
        blocks: impl Iterator<Item = Result<(u64, IVec), StoreError>>,
        from: u64,
        last: u64,
    ) -> Result<(), StoreError> {
        let (mut bytes, mut next) = (0, from);
        for found in blocks {
            let (first, sealed) = found?;
            if first > last {
                break;
            }
            if bytes >= PAGE_BYTES {
                self.page.next = Some(next);
                return Ok(());
            }
            // A block that is damaged is left out: whoever verifies is told which entries are missing.
            let Ok(opened) = Block::open(first, &sealed) else { continue };
            let entries = opened.entries();
            for packed in entries.filter(|packed| (from..=last).contains(&packed.number)) {
                self.add_heads(packed.number)?;
                let line = entry(packed.number, packed.bytes, packed.hash);
                bytes += line.len();
                self.page.lines.push(line);
                next = packed.number + 1;
                self.add_heads(next)?;
            }
        }
        self.add_heads(u64::MAX)
    }

    /// Adds the heads over entries before this one. Those by another key are left out: nobody could verify
    /// them with this one.
    fn add_heads(&mut self, before: u64) -> Result<(), StoreError> {
        let is_due = |head: &Result<SignedHead, StoreError>| head.as_ref().map_or(true, |h| h.head.number < before);
        while let Some(found) = self.heads.next_if(is_due) {
            let signed = found?;
            if signed.key == self.key {
                self.page.lines.push(head(self.covered, &signed));
                self.covered = signed.head.number.saturating_add(1);
            }
        }
        Ok(())
    }
}
