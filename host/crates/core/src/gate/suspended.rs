//! A command that people have to agree to. The protocol keeps the client's bytes; the gate keeps what
//! was decided about them. When the hold is over the same bytes are decided again, so that what runs
//! is what was approved, under the policies and names of that moment.

use std::{sync::Arc, time::Duration};

use super::{ForwardPermit, GatedSession, InFlight, ResultSummary};
use crate::{
    approval::{Approval, ApprovalId, ApprovalState, Requirement},
    approvals::{Hold, OpenError, all_same},
    command::Command,
    denial::{Denial, DenialKind},
    policy::Flight,
    record::RecordError,
};

/// How often a held session looks whether its policies are others now.
const LOOK: Duration = Duration::from_secs(1);

/// Why a command may not go on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// It is refused.
    Denied(Denial),
    /// People have to agree to it. Once the client can be told so, call [`GatedSession::hold`].
    Suspended,
}

impl From<Denial> for Halt {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

pub(super) struct Suspended {
    command: Arc<Command>,
    digest: String,
    sequence: u64,
    requirements: Vec<Requirement>,
    flight: Box<dyn Flight>,
    hold: Option<Hold>,
    /// Why it will not run.
    refused: Option<Denial>,
    /// The approval that it waited for before, and why that no longer counts.
    replaces: Option<(ApprovalId, &'static str)>,
}

impl Suspended {
    pub(super) fn new(
        command: Arc<Command>,
        digest: String,
        sequence: u64,
        requirements: Vec<Requirement>,
        flight: Box<dyn Flight>,
    ) -> Self {
        Self { command, digest, sequence, requirements, flight, hold: None, refused: None, replaces: None }
    }
}

impl GatedSession {
    /// Whether a command waits for people, or is about to. Nothing but that command may be handed to
    /// [`GatedSession::decide`].
    pub fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Asks for the approval of the suspended command; with one that is asked for already it does
    /// nothing. Returns what the client is to be told; none where there is nothing new, or where the
    /// command is refused: then [`GatedSession::hold_over`] is ready. Not cancel-safe.
    pub async fn hold(&mut self, in_transaction: bool) -> Option<Approval> {
        let suspended = self.suspended.as_ref()?;
        if suspended.hold.is_some() || suspended.refused.is_some() {
            return None;
        }
        let request = self.request(suspended, in_transaction);
        let opened = self.approvals.open(request, &self.log.session.identity).await;
        let opened = opened.map_err(|error| match error {
            OpenError::Record(error) => self.unrecorded(error),
            full => Denial::of(DenialKind::Gate, full.to_string()),
        });
        let suspended = self.suspended.as_mut()?;
        match opened {
            Ok(hold) => {
                let approval = hold.approval();
                suspended.hold = Some(hold);
                Some(approval)
            }
            Err(denial) => {
                suspended.refused = Some(denial);
                None
            }
        }
    }

    /// The approval that the suspended command waited for before, if it was decided anew, and why that
    /// no longer counts.
    pub fn replaced(&self) -> Option<(ApprovalId, &'static str)> {
        self.suspended.as_ref()?.replaces
    }

    /// The approval by which a command was permitted that was suspended; told once.
    pub fn take_granted(&mut self) -> Option<Approval> {
        self.granted.take()
    }

    /// Waits until the suspended command can be decided again: it was approved, denied or has
    /// expired, was ended, or its policies are others now. Cancel-safe.
    pub async fn hold_over(&mut self) {
        while self.hold_progress().await.is_some() {}
    }

    /// The same, and returns what it waits for each time when that has one more answer and needs others
    /// still; none when the wait is over. Cancel-safe.
    pub async fn hold_progress(&mut self) -> Option<Approval> {
        let Some(suspended) = &mut self.suspended else { return std::future::pending().await };
        if suspended.refused.is_some() {
            return None;
        }
        let Some(hold) = &mut suspended.hold else { return std::future::pending().await };
        loop {
            tokio::select! {
                answered = hold.answered() => return answered,
                () = tokio::time::sleep(LOOK) => {
                    if self.policies.is_outdated() {
                        return None;
                    }
                }
            }
        }
    }

    /// Ends the hold without an answer: the suspended command will be denied so when it is handed in
    /// again. The first reason counts.
    pub fn end_hold(&mut self, why: Denial) {
        if let Some(suspended) = &mut self.suspended {
            suspended.refused.get_or_insert(why);
        }
    }

    /// Gives up the suspended command, if there is one: it will not be handed in again. Records the end
    /// of its hold and its own, which are due to `why` unless the hold was ended before. Not cancel-safe.
    pub async fn give_up(&mut self, why: Denial) -> Result<(), RecordError> {
        let Some(mut suspended) = self.suspended.take() else { return Ok(()) };
        let denial = suspended.refused.take().unwrap_or(why);
        self.end_suspended(suspended, ApprovalState::Abandoned, denial).await
    }

    /// Decides a suspended command again.
    pub(super) async fn decide_again(
        &mut self,
        mut suspended: Suspended,
        command: Arc<Command>,
    ) -> Result<ForwardPermit, Halt> {
        let stands = suspended.hold.as_ref().map_or(ApprovalState::Pending, Hold::stands);
        let refused = suspended.refused.take().map(|denial| (ApprovalState::Abandoned, denial));
        if let Some((state, denial)) = refused.or_else(|| refusal(&suspended, stands)) {
            let ended = self.end_suspended(suspended, state, denial.clone()).await;
            ended.map_err(|error| self.unrecorded(error))?;
            return Err(Halt::Denied(denial));
        }
        let digest = self.digest(&command);
        let same = digest.as_ref() == Ok(&suspended.digest);
        if !same || self.policies.is_outdated() {
            let (ruling, flight) = self.policies.command(suspended.sequence, &command);
            self.note_governing().await?;
            if !same || ruling.denial.is_some() || !all_same(&ruling.requirements, &suspended.requirements) {
                let why = if same { "the policies changed" } else { "the command means something else now" };
                let before = suspended.hold.as_ref().map(|hold| hold.approval().id);
                self.supersede(suspended, why).await?;
                let decided = self.decided(command, ruling, flight).await;
                if let Some(suspended) = &mut self.suspended {
                    suspended.replaces = before.map(|id| (id, why));
                }
                return decided;
            }
            suspended.flight = flight;
        }
        if stands != ApprovalState::Approved {
            self.suspended = Some(suspended);
            return Err(Halt::Suspended);
        }
        if let Some(hold) = suspended.hold.take() {
            let ended = hold.end(ApprovalState::Approved, "approved").await;
            self.granted = Some(ended.map_err(|error| self.unrecorded(error))?);
        }
        Ok(self.permit(suspended.flight, suspended.sequence, true))
    }

    /// Ends the wait of a command that is decided anew as another one.
    pub(super) async fn supersede(&mut self, suspended: Suspended, why: &str) -> Result<(), Denial> {
        let denial = Denial::of(DenialKind::Cancelled, why);
        let ended = self.end_suspended(suspended, ApprovalState::Superseded, denial).await;
        ended.map_err(|error| self.unrecorded(error))
    }

    /// Ends the wait of a command that will not run, and records both ends.
    async fn end_suspended(
        &mut self,
        mut suspended: Suspended,
        state: ApprovalState,
        denial: Denial,
    ) -> Result<(), RecordError> {
        if let Some(hold) = suspended.hold.take() {
            hold.end(state, &denial.reason).await?;
        }
        let mut flight = InFlight::new(self.log.clone(), suspended.flight, suspended.sequence, true);
        flight.deny(denial);
        let summary = ResultSummary { status: state.word().to_owned(), failed: true, ..ResultSummary::default() };
        flight.finish(summary).await
    }

    /// What an approver is shown: what the record shows.
    fn request(&self, suspended: &Suspended, in_transaction: bool) -> Approval {
        let session = &self.log.session;
        let command = &suspended.command;
        let shown = self.entry(suspended.sequence, command);
        Approval {
            id: ApprovalId(uuid::Uuid::nil()),
            session: session.id,
            sequence: suspended.sequence,
            requester: session.identity.user.clone(),
            target: session.target.to_string(),
            protocol: session.protocol.to_owned(),
            client: session.client.to_string(),
            digest: suspended.digest.clone(),
            verb: shown.verb,
            text: shown.text,
            cut: shown.cut,
            hidden: self.hides(command),
            context: command.context.words().to_owned(),
            resources: shown.resources,
            parameters: shown.parameters,
            values: shown.values,
            kinds: command.sql.as_ref().map_or_else(Vec::new, |sql| sql.kinds.clone()),
            in_transaction,
            requirements: suspended.requirements.clone(),
            requested_at: 0,
            expires_at: 0,
            state: ApprovalState::Pending,
            answers: Vec::new(),
            ended_at: None,
            ended: String::new(),
        }
    }
}

/// Why a command whose approval stands so will not run.
fn refusal(suspended: &Suspended, stands: ApprovalState) -> Option<(ApprovalState, Denial)> {
    let approval = suspended.hold.as_ref().map(Hold::approval)?;
    let denied = approval.answers.iter().find(|answer| !answer.approved);
    let reason = match (stands, denied) {
        (ApprovalState::Pending | ApprovalState::Approved, _) => return None,
        (ApprovalState::Denied, Some(answer)) if !answer.note.is_empty() => {
            format!("{} denied approval {}: {}", answer.approver, approval.id, answer.note)
        }
        (ApprovalState::Denied, Some(answer)) => format!("{} denied approval {}", answer.approver, approval.id),
        (ApprovalState::Expired, _) => format!("nobody answered approval {} in time", approval.id),
        _ => format!("approval {} ended: {}", approval.id, approval.ended),
    };
    Some((stands, Denial::of(DenialKind::Approval, reason)))
}
