//! The approvals that are waited for now. A held session opens one and waits on it; approvers answer
//! it. An answer is in the record before it counts, and an approval that has ended stays ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    approval::{Answer, Approval, ApprovalId, ApprovalState, MAX_NOTE_BYTES, Requirement},
    identity::{Identity, Principal},
    record::{self, Answered, Entry, Event, HoldEnded, RecordError, Recorder},
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

/// Why an answer does not count.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AnswerError {
    /// There is no such pending approval.
    #[error("no approval {0} is pending: it has ended, or there never was one")]
    NotPending(ApprovalId),
    /// Who asked cannot answer.
    #[error("nobody can answer what they asked for themselves; somebody else has to")]
    Requester,
    /// They are not asked.
    #[error("this approval is not yours to answer: it needs {0}")]
    NotAsked(String),
    /// They have answered already.
    #[error("you have answered this approval already; another approver has to")]
    Already,
    /// A note is needed.
    #[error("this approval needs a note that says why you answer so")]
    NoteRequired,
    /// The note is no plain text: it would reach the client's terminal.
    #[error("the note has control characters; write it as plain text")]
    NoteText,
    /// The note is too long.
    #[error("the note is longer than {MAX_NOTE_BYTES} bytes")]
    NoteTooLong,
    /// It could not be recorded, so it does not count.
    #[error(transparent)]
    Record(#[from] RecordError),
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
    recorder: Arc<dyn Recorder>,
    announcer: Option<Arc<dyn Announcer>>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    pending: HashMap<ApprovalId, Arc<Ticket>>,
    by_identity: HashMap<String, usize>,
    remembered: HashMap<String, Remembered>,
}

struct Remembered {
    approval: ApprovalId,
    requirements: Vec<Requirement>,
    until: Instant,
}

/// One approval that is waited for.
struct Ticket {
    /// Held while an answer or the end is being recorded, so that these never cross.
    turn: tokio::sync::Mutex<Votes>,
    state: watch::Sender<Approval>,
}

/// How many approvals each requirement has.
struct Votes(Vec<u32>);

impl Approvals {
    /// No approvals yet.
    pub fn new(
        limits: ApprovalLimits,
        recorder: Arc<dyn Recorder>,
        announcer: Option<Arc<dyn Announcer>>,
    ) -> Arc<Self> {
        Arc::new(Self { limits, recorder, announcer, live: Mutex::default() })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(&self, id: ApprovalId) -> Option<Arc<Ticket>> {
        self.live().pending.get(&id).map(Arc::clone)
    }

    /// Every approval that is waited for, oldest first.
    pub fn pending(&self) -> Vec<Approval> {
        let tickets: Vec<_> = self.live().pending.values().map(Arc::clone).collect();
        let mut pending: Vec<_> = tickets.iter().map(|ticket| ticket.state.borrow().clone()).collect();
        pending.sort_by_key(|approval| approval.id);
        pending
    }

    /// One that is waited for.
    pub fn find(&self, id: ApprovalId) -> Option<Approval> {
        self.ticket(id).map(|ticket| ticket.state.borrow().clone())
    }

    /// Takes an approver's answer. It is on disk when this returns. Not cancel-safe: what calls it for
    /// a client that may go away does so in a task of its own.
    pub async fn answer(
        &self,
        id: ApprovalId,
        approver: &Identity,
        admins: &[Principal],
        approved: bool,
        note: &str,
    ) -> Result<Approval, AnswerError> {
        let ticket = self.ticket(id).ok_or(AnswerError::NotPending(id))?;
        let mut votes = ticket.turn.lock().await;
        let before = ticket.state.borrow().clone();
        may_answer(&before, approver, admins, note)?;
        let answer = Answer { approver: approver.user.clone(), approved, note: note.to_owned(), at: record::now() };
        let event = Event::Answered(Answered { approval: id, sequence: before.sequence, answer: answer.clone() });
        self.recorder.append(Entry { session: before.session, at: answer.at, event }).await?;
        self.recorder.flush().await?;
        if approved {
            for (count, requirement) in votes.0.iter_mut().zip(&before.requirements) {
                *count += u32::from(requirement.may_answer(approver, admins));
            }
        }
        let met = before.requirements.iter().zip(&votes.0).all(|(r, count)| *count >= r.min_approvals.max(1));
        tracing::info!(approval = %id, session = %before.session, approver = approver.user, approved, "approval answered");
        ticket.state.send_modify(|approval| {
            // Its session may have vanished while the answer went to the disk.
            let waits = approval.state == ApprovalState::Pending;
            if waits && !approved {
                end(approval, ApprovalState::Denied, format!("denied by {}", answer.approver));
            } else if waits && met {
                end(approval, ApprovalState::Approved, "approved".to_owned());
            }
            approval.answers.push(answer);
        });
        Ok(ticket.state.borrow().clone())
    }

    /// The approval that covers this command already, for the same requirements.
    pub(crate) fn covers(&self, digest: &str, requirements: &[Requirement]) -> Option<ApprovalId> {
        let mut live = self.live();
        let now = Instant::now();
        live.remembered.retain(|_, remembered| remembered.until > now);
        let remembered = live.remembered.get(digest)?;
        all_same(&remembered.requirements, requirements).then_some(remembered.approval)
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

    /// Asks for an approval: on disk before it is announced. `request` has everything but its id and times.
    pub(crate) async fn open(self: &Arc<Self>, mut request: Approval) -> Result<Hold, OpenError> {
        request.id = ApprovalId(Uuid::now_v7());
        request.requested_at = record::now();
        let asked = request.requirements.iter().filter_map(|r| r.expires_in).min();
        let stands = asked.map_or(self.limits.expires, |seconds| Duration::from_secs(seconds.into()));
        let stands = stands.min(self.limits.max_expires);
        request.expires_at = request.requested_at + i64::try_from(stands.as_millis()).unwrap_or(i64::MAX / 2);
        let place = Place::take(self, &request.requester)?;
        let held = Event::Held(Box::new(request.clone()));
        self.recorder.append(Entry { session: request.session, at: request.requested_at, event: held }).await?;
        self.recorder.flush().await?;
        let votes = Votes(vec![0; request.requirements.len()]);
        let (state, changes) = watch::channel(request);
        let approval = changes.borrow().clone();
        let ticket = Arc::new(Ticket { turn: tokio::sync::Mutex::new(votes), state });
        self.live().pending.insert(approval.id, Arc::clone(&ticket));
        tracing::info!(approval = %approval.id, session = %approval.session, sequence = approval.sequence, "command held");
        if let Some(announcer) = &self.announcer {
            announcer.pending(&approval);
        }
        Ok(Hold {
            approvals: Arc::clone(self),
            ticket,
            changes,
            id: approval.id,
            deadline: tokio::time::Instant::now() + stands,
            place: Some(place),
        })
    }
}

fn may_answer(approval: &Approval, approver: &Identity, admins: &[Principal], note: &str) -> Result<(), AnswerError> {
    if approval.state != ApprovalState::Pending || approval.expires_at <= record::now() {
        return Err(AnswerError::NotPending(approval.id));
    }
    if approver.user == approval.requester {
        return Err(AnswerError::Requester);
    }
    if !approval.may_answer(approver, admins) {
        return Err(AnswerError::NotAsked(approval.approvers()));
    }
    if approval.answers.iter().any(|answer| answer.approver == approver.user) {
        return Err(AnswerError::Already);
    }
    let answers_for = |r: &&Requirement| r.may_answer(approver, admins);
    if note.trim().is_empty() && approval.requirements.iter().filter(answers_for).any(|r| r.reason_required) {
        return Err(AnswerError::NoteRequired);
    }
    if note.chars().any(char::is_control) {
        return Err(AnswerError::NoteText);
    }
    if note.len() > MAX_NOTE_BYTES { Err(AnswerError::NoteTooLong) } else { Ok(()) }
}

fn end(approval: &mut Approval, state: ApprovalState, why: String) {
    approval.state = state;
    approval.ended_at = Some(record::now());
    approval.ended = why;
}

/// Whether both lists ask for the same.
pub(crate) fn all_same(some: &[Requirement], others: &[Requirement]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.same(other))
}

/// One of the places for pending approvals; given back when dropped.
struct Place {
    approvals: Weak<Approvals>,
    identity: String,
}

impl Place {
    fn take(approvals: &Arc<Approvals>, identity: &str) -> Result<Self, OpenError> {
        let mut live = approvals.live();
        let (all, limits) = (live.by_identity.values().sum::<usize>(), &approvals.limits);
        if all >= limits.max_pending {
            return Err(OpenError::Full(all));
        }
        let count = live.by_identity.entry(identity.to_owned()).or_default();
        if *count >= limits.max_pending_per_identity {
            return Err(OpenError::Identity(*count));
        }
        *count += 1;
        Ok(Self { approvals: Arc::downgrade(approvals), identity: identity.to_owned() })
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

/// A session's wait for one approval. Dropped without an end, nobody can answer it any more.
pub(crate) struct Hold {
    approvals: Arc<Approvals>,
    ticket: Arc<Ticket>,
    changes: watch::Receiver<Approval>,
    id: ApprovalId,
    deadline: tokio::time::Instant,
    place: Option<Place>,
}

impl Hold {
    /// Which approval it waits for, as it stands.
    pub(crate) fn approval(&self) -> Approval {
        self.ticket.state.borrow().clone()
    }

    /// How it stands now.
    pub(crate) fn stands(&self) -> ApprovalState {
        let state = self.ticket.state.borrow().state;
        let overdue = state == ApprovalState::Pending && tokio::time::Instant::now() >= self.deadline;
        if overdue { ApprovalState::Expired } else { state }
    }

    /// Waits until it was approved, denied or has expired. Cancel-safe.
    pub(crate) async fn answered(&mut self) -> ApprovalState {
        loop {
            let state = self.changes.borrow_and_update().state;
            if state != ApprovalState::Pending {
                return state;
            }
            tokio::select! {
                _ = self.changes.changed() => {}
                () = tokio::time::sleep_until(self.deadline) => return ApprovalState::Expired,
            }
        }
    }

    /// Ends it, on disk too, and says how it stands: an answer that came first may have made
    /// it something else than `state`, but an approval that nobody uses is not `Approved`.
    pub(crate) async fn end(mut self, state: ApprovalState, why: &str) -> Result<Approval, RecordError> {
        let turn = self.ticket.turn.lock().await;
        let answered = self.ticket.state.borrow().state;
        let keep = match answered {
            ApprovalState::Pending => false,
            ApprovalState::Approved => state == ApprovalState::Approved,
            _ => true,
        };
        if !keep {
            self.ticket.state.send_modify(|approval| end(approval, state, why.to_owned()));
        }
        let approval = self.ticket.state.borrow().clone();
        drop(turn);
        drop(self.place.take());
        let ended = HoldEnded {
            approval: self.id,
            sequence: approval.sequence,
            state: approval.state,
            reason: approval.ended.clone(),
        };
        tracing::info!(approval = %self.id, session = %approval.session, state = %approval.state, "hold ended");
        let entry = Entry { session: approval.session, at: record::now(), event: Event::HoldEnded(ended) };
        self.approvals.recorder.append(entry).await?;
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
        self.ticket.state.send_if_modified(|approval| {
            let pending = approval.state == ApprovalState::Pending;
            if pending {
                end(approval, ApprovalState::Abandoned, "its session went away".to_owned());
            }
            pending
        });
        self.approvals.live().pending.remove(&self.id);
    }
}
