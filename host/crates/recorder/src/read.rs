//! The store as the reader of sessions and approvals.

use sluicegate_core::{
    Approval, ApprovalId, SessionId,
    sessions::{
        ApprovalFilter, ApprovalPage, ApprovalReader, EntryPage, ExportPage, KeptEntry, ReadError, SessionFilter,
        SessionPage, SessionReader, SessionSummary,
    },
};
use uuid::Uuid;

use crate::{
    block::{self, Block},
    error::StoreError,
    export, format,
    retention::{self, Removed},
    store::Store,
};

/// The most sessions or approvals on a page.
const MAX_PAGE: usize = 1000;
/// The most sessions or approvals that are looked at for one page.
const MAX_SCANNED: usize = 20_000;
/// A page of entries is full at this many entries,
const PAGE_ENTRIES: usize = 1000;
/// or at this many bytes of them.
const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// How much later than its id a session may open, in milliseconds: its client has to say who it is first,
/// and the clock may be set meanwhile.
const ID_SLACK: i64 = 10 * 60 * 1000;

impl Store {
    /// What retention left of a session; none where it removed no such session.
    pub fn left_of(&self, session: SessionId) -> Result<Option<Removed>, ReadError> {
        let left = self.get(&format::session_key(b'r', session))?;
        Ok(left.map(|left| retention::read_left(session, &left)).transpose()?)
    }

    fn read_list(&self, filter: &SessionFilter) -> Result<SessionPage, StoreError> {
        let limit = filter.limit.clamp(1, MAX_PAGE);
        let key = |id| format::session_key(b's', id);
        let oldest = filter.since.map_or_else(|| b"s".to_vec(), |since| key(first_id(since.saturating_sub(ID_SLACK))));
        let newest = filter.until.map_or_else(|| b"t".to_vec(), |until| key(first_id(until.saturating_add(ID_SLACK))));
        let end = filter.before.map_or_else(|| newest.clone(), |before| key(before).min(newest.clone()));
        let mut page = SessionPage { items: Vec::new(), next: None };
        let mut last = None;
        if end < oldest {
            return Ok(page);
        }
        for (scanned, found) in self.range(oldest..end).rev().enumerate() {
            if page.items.len() == limit || scanned == MAX_SCANNED {
                page.next = last;
                break;
            }
            let summary: SessionSummary = format::unpack(&found?.1)?;
            last = Some(summary.id);
            if filter.wants(&summary) {
                page.items.push(summary);
            }
        }
        Ok(page)
    }

    fn read_entries(&self, session: SessionId, from: u64) -> Result<EntryPage, StoreError> {
        let mut page = EntryPage { entries: Vec::new(), next: None };
        if self.get(&format::session_key(b's', session))?.is_none() {
            return Ok(page);
        }
        let mut bytes = 0;
        for found in self.blocks(session, from)? {
            let (first, sealed) = found?;
            if page.entries.len() >= PAGE_ENTRIES || bytes >= PAGE_BYTES {
                page.next = Some(first);
                break;
            }
            let opened = Block::open(first, &sealed)?;
            bytes += opened.size();
            for packed in opened.entries() {
                if packed.number >= from {
                    let entry = block::unpack(session, packed.bytes)?;
                    page.entries.push(KeptEntry { number: packed.number, hash: packed.hash.to_string(), entry });
                }
            }
        }
        Ok(page)
    }

    fn read_approvals(&self, filter: &ApprovalFilter) -> Result<ApprovalPage, StoreError> {
        let limit = filter.limit.clamp(1, MAX_PAGE);
        let end = filter.before.map_or_else(|| b"b".to_vec(), format::approval_key);
        let mut page = ApprovalPage { items: Vec::new(), next: None };
        let mut last = None;
        for (scanned, found) in self.range(b"a".to_vec()..end).rev().enumerate() {
            if page.items.len() == limit || scanned == MAX_SCANNED {
                page.next = last;
                break;
            }
            let approval: Approval = format::unpack(&found?.1)?;
            last = Some(approval.id);
            if filter.wants(&approval) {
                page.items.push(approval);
            }
        }
        Ok(page)
    }
}

/// The id before every one that was made at this time or later (RFC 9562, section 5.7: the first 48 bits
/// are the milliseconds since the Unix epoch).
fn first_id(at: i64) -> SessionId {
    let millis = u128::try_from(at).unwrap_or(0).min((1 << 48) - 1);
    SessionId(Uuid::from_u128(millis << 80))
}

impl SessionReader for Store {
    fn list(&self, filter: &SessionFilter) -> Result<SessionPage, ReadError> {
        Ok(self.read_list(filter)?)
    }

    fn summary(&self, session: SessionId) -> Result<Option<SessionSummary>, ReadError> {
        Ok(self.find(session)?)
    }

    fn removed(&self, session: SessionId) -> Result<Option<i64>, ReadError> {
        Ok(self.left_of(session)?.map(|left| left.at))
    }

    fn entries(&self, session: SessionId, from: u64) -> Result<EntryPage, ReadError> {
        Ok(self.read_entries(session, from)?)
    }

    fn export(&self, session: SessionId, from: u64) -> Result<ExportPage, ReadError> {
        Ok(export::page(self, session, from)?)
    }

    fn public_key(&self) -> String {
        self.key().to_pem()
    }
}

impl ApprovalReader for Store {
    fn list_approvals(&self, filter: &ApprovalFilter) -> Result<ApprovalPage, ReadError> {
        Ok(self.read_approvals(filter)?)
    }

    fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, ReadError> {
        Ok(self.find_approval(id)?)
    }
}
