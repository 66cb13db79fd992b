//! A session's wait for one approval, and the place that it takes among those that may wait.

use std::sync::{Arc, Weak};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Approvals, OpenError, Waiting};
use crate::{
    approval::{Approval, ApprovalId, ApprovalState},
    record::{self, Entry, Event, RecordError},
};

/// A session's wait for one approval. Dropped without an end, nobody can answer it any more.
pub(crate) struct Hold {
    pub(super) approvals: Arc<Approvals>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) changes: watch::Receiver<Approval>,
    pub(super) id: ApprovalId,
    /// How many answers were told.
    pub(super) told: usize,
    pub(super) deadline: Instant,
    pub(super) place: Option<Place>,
}

impl Hold {
    /// Which approval it waits for, as it stands.
    pub(crate) fn approval(&self) -> Approval {
        self.waiting.state.borrow().clone()
    }

    /// How it stands now.
    pub(crate) fn stands(&self) -> ApprovalState {
        let state = self.waiting.state.borrow().state;
        let overdue = state == ApprovalState::Pending && Instant::now() >= self.deadline;
        if overdue { ApprovalState::Expired } else { state }
    }

    /// Waits until it was approved, denied or has expired, or until it has another answer and needs more:
    /// then that is returned. Cancel-safe.
    pub(crate) async fn answered(&mut self) -> Option<Approval> {
        loop {
            {
                let approval = self.changes.borrow_and_update();
                if approval.state != ApprovalState::Pending {
                    return None;
                }
                if approval.answers.len() > self.told {
                    self.told = approval.answers.len();
                    return Some(approval.clone());
                }
            }
            tokio::select! {
                _ = self.changes.changed() => {}
                () = sleep_until(self.deadline) => return None,
            }
        }
    }

    /// Ends it, on disk too, and says how. An answer that came first may have made it `Denied`; what was
    /// approved and does not run becomes what `state` says.
    pub(crate) async fn end(mut self, state: ApprovalState, why: &str) -> Result<Approval, RecordError> {
        let turn = self.waiting.turn.lock().await;
        let (event, at) = (Event::HoldEnded(self.approval().hold_ended(state, why)), record::now());
        self.waiting.state.send_modify(|approval| approval.note(&event, at));
        let approval = self.approval();
        drop(turn);
        drop(self.place.take());
        tracing::info!(approval = %self.id, session = %approval.session, state = %approval.state, "hold ended");
        self.approvals.recorder.append(Entry { session: approval.session, at, event }).await?;
        self.approvals.recorder.flush().await?;
        // Only what was used covers more: an approval whose command was given up is void.
        if approval.state == ApprovalState::Approved {
            self.approvals.remember(&approval);
        }
        Ok(approval)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.waiting.state.send_if_modified(|approval| {
            let pending = approval.state == ApprovalState::Pending;
            if pending {
                (approval.state, approval.ended) = (ApprovalState::Abandoned, "its session went away".to_owned());
            }
            pending
        });
        self.approvals.live().pending.remove(&self.id);
        let approval = self.waiting.state.borrow();
        self.approvals.metrics.ended(&approval.target, approval.state.word());
    }
}

/// One of the places for pending approvals; given back when dropped.
pub(super) struct Place {
    approvals: Weak<Approvals>,
    identity: String,
}

impl Place {
    pub(super) fn take(approvals: &Arc<Approvals>, identity: String) -> Result<Self, OpenError> {
        let mut live = approvals.live();
        let (all, limits) = (live.by_identity.values().sum::<usize>(), &approvals.limits);
        if all >= limits.max_pending {
            return Err(OpenError::Full(all));
        }
        let count = live.by_identity.entry(identity.clone()).or_default();
        if *count >= limits.max_pending_per_identity {
            return Err(OpenError::Identity(*count));
        }
        *count += 1;
        Ok(Self { approvals: Arc::downgrade(approvals), identity })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(approvals) = self.approvals.upgrade() else { return };
        let mut live = approvals.live();
        if let Some(count) = live.by_identity.get_mut(&self.identity) {
            *count -= 1;
            if *count == 0 {
                live.by_identity.remove(&self.identity);
            }
        }
    }
}
