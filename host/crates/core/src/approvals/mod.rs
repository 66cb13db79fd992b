//! The approvals that are waited for now. A held session opens one and waits on it; approvers answer
//! it (`answer.rs`), and what they answer ends its wait (`hold.rs`). An answer is in the record before
//! it counts, and an approval that has ended stays ended.

mod answer;
mod hold;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sluicegate_metrics::HoldMetrics;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::answer::AnswerError;
pub(crate) use self::hold::Hold;
use self::{answer::Votes, hold::Place};
use crate::{
    admission::Session,
    approval::{Approval, ApprovalId, Requirement},
    command::Command,
    digest::{self, DigestKey},
    identity::Identity,
    record::{self, Entry, Event, RecordError, Recorder},
};

/// How many approvals that cover later commands are kept; beyond that the next ones ask again.
const MAX_REMEMBERED: usize = 10_000;

/// How many may be pending, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalLimits {
    /// In all.
    pub max_pending: usize,
    /// Of one identity.
    pub max_pending_per_identity: usize,
    /// How long a request stands where its policy does not say.
    pub expires: Duration,
    /// How long it stands at most.
    pub max_expires: Duration,
}

impl Default for ApprovalLimits {
    fn default() -> Self {
        Self {
            max_pending: 1000,
            max_pending_per_identity: 10,
            expires: Duration::from_secs(3600),
            max_expires: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Tells people about approvals. Implemented by what sends webhooks.
pub trait Announcer: Send + Sync {
    /// An approval is waited for from now on. Quick and without blocking.
    fn pending(&self, approval: &Approval);
}

/// Why no approval can be asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0} commands of yours wait for approval already, and no more may; have some answered or cancel them")]
    Identity(usize),
    #[error("{0} commands wait for approval at this gateway, and no more may; try again later")]
    Full(usize),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The approvals that are waited for. One serves every session.
pub struct Approvals {
    limits: ApprovalLimits,
    digest_key: DigestKey,
    recorder: Arc<dyn Recorder>,
    announcer: Option<Arc<dyn Announcer>>,
    live: Mutex<Live>,
    metrics: Arc<HoldMetrics>,
}

#[derive(Default)]
struct Live {
    pending: HashMap<ApprovalId, Arc<Waiting>>,
    by_identity: HashMap<String, usize>,
    remembered: HashMap<String, Remembered>,
}

struct Remembered {
    approval: ApprovalId,
    requirements: Vec<Requirement>,
    until: Instant,
}

/// One approval that is waited for.
struct Waiting {
    /// Held while an answer is being recorded and while the end is decided, so that no answer comes
    /// after the end.
    turn: tokio::sync::Mutex<Votes>,
    state: watch::Sender<Approval>,
}

impl Approvals {
    /// No approvals yet.
    pub fn new(
        limits: ApprovalLimits,
        recorder: Arc<dyn Recorder>,
        announcer: Option<Arc<dyn Announcer>>,
        digest_key: DigestKey,
    ) -> Arc<Self> {
        let (live, metrics) = (Mutex::default(), Arc::default());
        Arc::new(Self { limits, digest_key, recorder, announcer, live, metrics })
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<HoldMetrics> {
        &self.metrics
    }

    /// How many are waited for, and since when the oldest is, in milliseconds since the Unix epoch.
    pub fn waiting(&self) -> (usize, Option<i64>) {
        let live = self.live();
        // Ids sort by time.
        let oldest = live.pending.keys().min().and_then(|id| live.pending.get(id)).map(Arc::clone);
        let count = live.pending.len();
        drop(live);
        (count, oldest.map(|waiting| waiting.state.borrow().requested_at))
    }

    /// What an approval of this command covers; none where it cannot be told from others.
    pub(crate) fn digest(&self, session: &Session, command: &Command) -> Option<String> {
        digest::of(&self.digest_key, session, command)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_waiting(&self, id: ApprovalId) -> Option<Arc<Waiting>> {
        self.live().pending.get(&id).map(Arc::clone)
    }

    /// Every approval that is waited for, oldest first.
    pub fn pending(&self) -> Vec<Approval> {
        let all: Vec<_> = self.live().pending.values().map(Arc::clone).collect();
        let mut pending: Vec<_> = all.iter().map(|waiting| waiting.state.borrow().clone()).collect();
        pending.sort_by_key(|approval| approval.id);
        pending
    }

    /// One that is waited for.
    pub fn find(&self, id: ApprovalId) -> Option<Approval> {
        self.find_waiting(id).map(|waiting| waiting.state.borrow().clone())
    }

    /// The approval that covers this command already, for the same requirements.
    pub(crate) fn covers(&self, digest: &str, requirements: &[Requirement]) -> Option<ApprovalId> {
        let mut live = self.live();
        let now = Instant::now();
        live.remembered.retain(|_, remembered| remembered.until > now);
        let remembered = live.remembered.get(digest)?;
        all_same(&remembered.requirements, requirements).then_some(remembered.approval)
    }

    /// Whether something is remembered of a command with this digest.
    pub(crate) fn remembers(&self, digest: impl FnOnce() -> Option<String>) -> bool {
        if self.live().remembered.is_empty() {
            return false;
        }
        digest().is_some_and(|digest| self.live().remembered.contains_key(&digest))
    }

    fn remember(&self, approval: &Approval) {
        let seconds = approval.requirements.iter().map(|r| r.remember.unwrap_or(0)).min().unwrap_or(0);
        let mut live = self.live();
        if seconds == 0 || live.remembered.len() >= MAX_REMEMBERED {
            return;
        }
        let until = Instant::now() + Duration::from_secs(seconds.into());
        let (approval, requirements, digest) = (approval.id, approval.requirements.clone(), approval.digest.clone());
        live.remembered.insert(digest, Remembered { approval, requirements, until });
    }

    /// Whether one more may be asked for by this identity, for now.
    pub(crate) fn room_for(self: &Arc<Self>, requester: &Identity) -> Result<(), OpenError> {
        Place::take(self, whose(requester)).map(drop)
    }

    /// Asks for an approval: on disk before it is announced. `request` has everything but its id and times.
    pub(crate) async fn open(self: &Arc<Self>, mut request: Approval, requester: &Identity) -> Result<Hold, OpenError> {
        request.id = ApprovalId(Uuid::now_v7());
        request.requested_at = record::now();
        let asked = request.requirements.iter().filter_map(|r| r.expires_in).min();
        let stands = asked.map_or(self.limits.expires, |seconds| Duration::from_secs(seconds.into()));
        let stands = stands.min(self.limits.max_expires);
        request.expires_at = request.requested_at + i64::try_from(stands.as_millis()).unwrap_or(i64::MAX / 2);
        let place = Place::take(self, whose(requester))?;
        let held = Event::Held(Box::new(request.clone()));
        self.recorder.append(Entry { session: request.session, at: request.requested_at, event: held }).await?;
        self.recorder.flush().await?;
        let votes = Votes::new(&request, requester);
        let (state, changes) = watch::channel(request);
        let approval = changes.borrow().clone();
        let waiting = Arc::new(Waiting { turn: tokio::sync::Mutex::new(votes), state });
        self.live().pending.insert(approval.id, Arc::clone(&waiting));
        self.metrics.opened(&approval.target);
        tracing::info!(approval = %approval.id, session = %approval.session, sequence = approval.sequence, "command held");
        if let Some(announcer) = &self.announcer {
            announcer.pending(&approval);
        }
        Ok(Hold {
            approvals: Arc::clone(self),
            waiting,
            changes,
            id: approval.id,
            told: 0,
            deadline: tokio::time::Instant::now() + stands,
            place: Some(place),
        })
    }
}

/// Under what name an identity's places are counted: an agent takes none of the person's for whom it acts.
fn whose(identity: &Identity) -> String {
    match &identity.actor {
        Some(actor) => format!("{}\n{actor}", identity.user),
        None => identity.user.clone(),
    }
}

/// Whether both lists ask for the same.
pub(crate) fn all_same(some: &[Requirement], others: &[Requirement]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.same(other))
}
