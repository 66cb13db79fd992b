//! What approvers answer: who may, what an answer has to say, and when there are enough of them.

use super::Approvals;
use crate::{
    approval::{Answer, Approval, ApprovalId, ApprovalState, MAX_NOTE_BYTES, Requirement},
    identity::{Identity, Kind, Principal},
    record::{self, Answered, Entry, Event, RecordError},
};

/// Why an answer does not count.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AnswerError {
    /// There is no such pending approval.
    #[error("no approval {0} is pending: it has ended, or there never was one")]
    NotPending(ApprovalId),
    /// Who asked cannot answer.
    #[error("nobody can answer what they asked for themselves; somebody else has to")]
    Requester,
    /// An agent cannot agree to anything.
    #[error("an agent answers for nobody: a person has to")]
    Agent,
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

impl Approvals {
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
        let waiting = self.find_waiting(id).ok_or(AnswerError::NotPending(id))?;
        let mut votes = waiting.turn.lock().await;
        let before = waiting.state.borrow().clone();
        votes.may_answer(&before, approver, admins, note)?;
        let at = record::now();
        let answer = Answer { approver: approver.user.clone(), approved, note: note.to_owned(), at };
        let event = Event::Answered(Answered { approval: id, sequence: before.sequence, answer });
        self.recorder.append(Entry { session: before.session, at, event: event.clone() }).await?;
        self.recorder.flush().await?;
        votes.answered.push(approver.clone());
        let enough = approved && votes.add(&before, approver, admins);
        tracing::info!(approval = %id, session = %before.session, approver = approver.user, approved, "approval answered");
        waiting.state.send_modify(|approval| {
            approval.note(&event, at);
            // Its session may have vanished while the answer went to the disk. What is approved ends when
            // its command runs, and is void when that does not.
            if enough && approval.state == ApprovalState::Pending {
                let names: Vec<_> = approval.answers.iter().map(|answer| answer.approver.as_str()).collect();
                let names = names.join(" and ");
                (approval.state, approval.ended) = (ApprovalState::Approved, format!("approved by {names}"));
            }
        });
        Ok(waiting.state.borrow().clone())
    }
}

/// Who asked, who answered, and how many approvals each requirement has.
pub(super) struct Votes {
    requester: Identity,
    answered: Vec<Identity>,
    counts: Vec<u32>,
}

impl Votes {
    /// None yet.
    pub(super) fn new(approval: &Approval, requester: &Identity) -> Self {
        let counts = vec![0; approval.requirements.len()];
        Self { requester: requester.clone(), answered: Vec::new(), counts }
    }

    /// Nobody answers their own request, nor twice, under whatever names.
    fn may_answer(
        &self,
        approval: &Approval,
        approver: &Identity,
        admins: &[Principal],
        note: &str,
    ) -> Result<(), AnswerError> {
        if approval.state != ApprovalState::Pending || approval.expires_at <= record::now() {
            return Err(AnswerError::NotPending(approval.id));
        }
        if approver.is_same_person(&self.requester) {
            return Err(AnswerError::Requester);
        }
        if approver.kind == Kind::Agent {
            return Err(AnswerError::Agent);
        }
        if !approval.may_answer(approver, admins) {
            return Err(AnswerError::NotAsked(approval.approvers()));
        }
        if self.answered.iter().any(|other| approver.is_same_person(other)) {
            return Err(AnswerError::Already);
        }
        let answers_for = |r: &&Requirement| r.may_answer(approver, admins);
        if note.trim().is_empty() && approval.requirements.iter().filter(answers_for).any(|r| r.reason_required) {
            return Err(AnswerError::NoteRequired);
        }
        if note.chars().any(record::rearranges) {
            return Err(AnswerError::NoteText);
        }
        if note.len() > MAX_NOTE_BYTES { Err(AnswerError::NoteTooLong) } else { Ok(()) }
    }

    /// Counts one who approves, for what they may answer for, and says whether there are enough now.
    fn add(&mut self, approval: &Approval, approver: &Identity, admins: &[Principal]) -> bool {
        for (count, requirement) in self.counts.iter_mut().zip(&approval.requirements) {
            *count += u32::from(requirement.may_answer(approver, admins));
        }
        approval.requirements.iter().zip(&self.counts).all(|(r, count)| *count >= r.min_approvals.max(1))
    }
}
