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
            Event::Answered(Answered { approval: id, answer, .. }) => {
                let Some(mut approval) = self.take(store, *id)? else { return Ok(()) };
                if !answer.approved {
                    end(&mut approval, ApprovalState::Denied, format!("denied by {}", answer.approver), answer.at);
                }
                approval.answers.push(answer.clone());
                batch.insert(format::approval_key(*id), format::pack(&approval)?);
                self.waiting.insert(*id, approval);
            }
            Event::HoldEnded(HoldEnded { approval: id, state, reason, .. }) => {
                let Some(mut approval) = self.take(store, *id)? else { return Ok(()) };
                end(&mut approval, *state, reason.clone(), entry.at);
                batch.insert(format::approval_key(*id), format::pack(&approval)?);
                batch.insert(format::asked_key(entry.session, *id), ENDED);
            }
            Event::Closed(_) => return self.end_all_of(entry.session, entry.at, batch),
            _ => {}
        }
        Ok(())
    }

    /// Ends what a session still waits for when it closes: nobody can answer it any more. There is none
    /// where every hold was ended as it should be.
    fn end_all_of(&mut self, session: SessionId, at: i64, batch: &mut Batch) -> Result<(), StoreError> {
        for (id, mut approval) in self.waiting.extract_if(|_, approval| approval.session == session) {
            end(&mut approval, ApprovalState::Abandoned, "its session ended".to_owned(), at);
            batch.insert(format::approval_key(id), format::pack(&approval)?);
            batch.insert(format::asked_key(session, id), ENDED);
        }
        Ok(())
    }

    fn take(&mut self, store: &Store, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        if let Some(approval) = self.waiting.remove(&id) {
            return Ok(Some(approval));
        }
        let found = store.find_approval(id)?;
        if found.is_none() {
            tracing::warn!(approval = %id, "the record has an answer or an end of an approval that it does not know");
        }
        Ok(found)
    }
}

fn end(approval: &mut Approval, state: ApprovalState, why: String, at: i64) {
    approval.state = state;
    approval.ended = why;
    approval.ended_at.get_or_insert(at);
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
        // A denial counted when it was given.
        let (state, reason) = match approval.state {
            ApprovalState::Denied => (ApprovalState::Denied, approval.ended),
            _ => (ApprovalState::Abandoned, "the gateway stopped".to_owned()),
        };
        ended.push(HoldEnded { approval: id, sequence: approval.sequence, state, reason });
    }
    Ok(ended)
}

/// Ends an approval in the index alone, where its session's record takes no more entries.
pub(crate) fn end_unrecorded(
    store: &Store,
    session: SessionId,
    ended: &HoldEnded,
    at: i64,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    if let Some(mut approval) = store.find_approval(ended.approval)? {
        end(&mut approval, ended.state, ended.reason.clone(), at);
        batch.insert(format::approval_key(ended.approval), format::pack(&approval)?);
        batch.insert(format::asked_key(session, ended.approval), ENDED);
    }
    Ok(())
}
