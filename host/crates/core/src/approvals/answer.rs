//! What approvers answer: who may, what an answer has to say, and when there are enough of them.

use super::Approvals;
use crate::{
    approval::{Answer, Approval, ApprovalId, ApprovalState, MAX_NOTE_BYTES, Requirement},
    identity::{Identity, Principal},
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
        let ticket = self.ticket(id).ok_or(AnswerError::NotPending(id))?;
        let mut votes = ticket.turn.lock().await;
        let before = ticket.state.borrow().clone();
        may_answer(&before, approver, admins, note)?;
        votes.may_answer(approver)?;
        let at = record::now();
        let answer = Answer { approver: approver.user.clone(), approved, note: note.to_owned(), at };
        let event = Event::Answered(Answered { approval: id, sequence: before.sequence, answer });
        self.recorder.append(Entry { session: before.session, at, event: event.clone() }).await?;
        self.recorder.flush().await?;
        votes.answered.push(approver.clone());
        let enough = approved && votes.add(&before, approver, admins);
        tracing::info!(approval = %id, session = %before.session, approver = approver.user, approved, "approval answered");
        ticket.state.send_modify(|approval| {
            approval.note(&event, at);
            // Its session may have vanished while the answer went to the disk. What is approved ends when
            // its command runs, and is void when that does not.
            if enough && approval.state == ApprovalState::Pending {
                let names: Vec<_> = approval.answers.iter().map(|answer| answer.approver.as_str()).collect();
                let names = names.join(" and ");
                (approval.state, approval.ended) = (ApprovalState::Approved, format!("approved by {names}"));
            }
        });
        Ok(ticket.state.borrow().clone())
    }
}

fn may_answer(approval: &Approval, approver: &Identity, admins: &[Principal], note: &str) -> Result<(), AnswerError> {
    if approval.state != ApprovalState::Pending || approval.expires_at <= record::now() {
        return Err(AnswerError::NotPending(approval.id));
    }
    if !approval.may_answer(approver, admins) {
        return Err(AnswerError::NotAsked(approval.approvers()));
    }
    let answers_for = |r: &&Requirement| r.may_answer(approver, admins);
    if note.trim().is_empty() && approval.requirements.iter().filter(answers_for).any(|r| r.reason_required) {
        return Err(AnswerError::NoteRequired);
    }
    if note.chars().any(rearranges) {
        return Err(AnswerError::NoteText);
    }
    if note.len() > MAX_NOTE_BYTES { Err(AnswerError::NoteTooLong) } else { Ok(()) }
}

/// Whether a character does something to the text around it: control characters, line and paragraph
/// separators, and those that turn the direction of writing.
fn rearranges(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn may_answer(&self, approver: &Identity) -> Result<(), AnswerError> {
        if approver.is_same_person(&self.requester) {
            return Err(AnswerError::Requester);
        }
        let answered = self.answered.iter().any(|other| approver.is_same_person(other));
        if answered { Err(AnswerError::Already) } else { Ok(()) }
    }

    /// Counts one who approves, for what they may answer for, and says whether there are enough now.
    fn add(&mut self, approval: &Approval, approver: &Identity, admins: &[Principal]) -> bool {
        for (count, requirement) in self.counts.iter_mut().zip(&approval.requirements) {
            *count += u32::from(requirement.may_answer(approver, admins));
        }
        approval.requirements.iter().zip(&self.counts).all(|(r, count)| *count >= r.min_approvals.max(1))
    }
}
