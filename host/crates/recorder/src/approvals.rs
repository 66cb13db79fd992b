//! The index of approvals: what the entries of sessions say of each, in one place. The writer keeps it
//! in the same batches as the entries.

use std::collections::HashMap;

use sled::Batch;
use sluicegate_core::{
    Approval, ApprovalId, ApprovalState, SessionId,
    record::{Answered, Entry, Event, HoldEnded},
};

use crate::{error::StoreError, format, store::Store};

/// What an approval's place in its session holds once the hold has ended.
const ENDED: &[u8] = b"ended";

/// Keeps the index. Approvals that are waited for stay in memory.
#[derive(Default)]
pub(crate) struct Index {
    waiting: HashMap<ApprovalId, Approval>,
}

impl Index {
    /// Takes in an entry.
    pub(crate) fn note(&mut self, store: &Store, entry: &Entry, batch: &mut Batch) -> Result<(), StoreError> {
        match &entry.event {
            Event::Held(approval) => {
                batch.insert(format::approval_key(approval.id), format::pack(approval)?);
                batch.insert(format::asked_key(entry.session, approval.id), &[]);
                self.waiting.insert(approval.id, approval.as_ref().clone());
            }
            Event::Answered(Answered { approval: id, .. }) => {
                let changed = self.change(store, *id, entry, batch)?;
                self.waiting.extend(changed.map(|approval| (*id, approval)));
            }
            Event::HoldEnded(HoldEnded { approval: id, .. }) => {
                let changed = self.change(store, *id, entry, batch)?;
                if changed.is_some() {
                    batch.insert(format::asked_key(entry.session, *id), ENDED);
                }
            }
            Event::Closed(_) => return self.end_all_of(entry, batch),
            _ => {}
        }
        Ok(())
    }

    /// Ends what a session still waits for when it closes: nobody can answer it any more. There is none
    /// where every hold was ended as it should be.
    fn end_all_of(&mut self, closed: &Entry, batch: &mut Batch) -> Result<(), StoreError> {
        for (id, mut approval) in self.waiting.extract_if(|_, approval| approval.session == closed.session) {
            approval.note(&closed.event, closed.at);
            batch.insert(format::approval_key(id), format::pack(&approval)?);
            batch.insert(format::asked_key(closed.session, id), ENDED);
        }
        Ok(())
    }

    /// An approval with what an entry says of it; none where it is not known.
    fn change(
        &mut self,
        store: &Store,
        id: ApprovalId,
        entry: &Entry,
        batch: &mut Batch,
    ) -> Result<Option<Approval>, StoreError> {
        let found = match self.waiting.remove(&id) {
            Some(approval) => Some(approval),
            None => store.find_approval(id)?,
        };
        let Some(mut approval) = found else {
            tracing::warn!(approval = %id, "the record has an answer or an end of an approval that it does not know");
            return Ok(None);
        };
        approval.note(&entry.event, entry.at);
        batch.insert(format::approval_key(id), format::pack(&approval)?);
        Ok(Some(approval))
    }
}

/// How the holds of a session end that the gateway did not live to see.
pub(crate) fn cut_off(store: &Store, session: SessionId) -> Result<Vec<HoldEnded>, StoreError> {
    let mut ended = Vec::new();
    for found in store.scan(&format::session_key(b'p', session)) {
        let (key, value) = found?;
        let id = format::asked_of(&key)?;
        if value == ENDED {
            continue;
        }
        let Some(approval) = store.find_approval(id)? else { continue };
        ended.push(approval.hold_ended(ApprovalState::Abandoned, "the gateway stopped"));
    }
    Ok(ended)
}

/// Ends an approval in the index alone, where its session's record takes no more entries.
pub(crate) fn end_unrecorded(
    store: &Store,
    session: SessionId,
    ended: HoldEnded,
    at: i64,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let id = ended.approval;
    if let Some(mut approval) = store.find_approval(id)? {
        approval.note(&Event::HoldEnded(ended), at);
        batch.insert(format::approval_key(id), format::pack(&approval)?);
        batch.insert(format::asked_key(session, id), ENDED);
    }
    Ok(())
}
