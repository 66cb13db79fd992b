//! Approvals in words: what a policy asks for, what an approver sees, what was answered and how it
//! ended. The live ones are in [`crate::approvals`]; all of them are in the record.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    admission::SessionId,
    identity::{Identity, Principal},
    record::{Answered, Event, HoldEnded},
};

/// The most bytes of an answer's note.
pub const MAX_NOTE_BYTES: usize = 1000;

/// An approval's id: UUID version 7, so ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct ApprovalId(pub Uuid);

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not an approval's id.
#[derive(Debug, thiserror::Error)]
#[error("this is not an approval's id: take one from `sluicegate approvals list`")]
pub struct ApprovalIdError;

impl std::str::FromStr for ApprovalId {
    type Err = ApprovalIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| ApprovalIdError)
    }
}

/// What one policy asks for before a command may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requirement {
    /// The policy's module name.
    pub policy: String,
    /// The module's SHA-256, in hexadecimal.
    pub module: String,
    /// The rule that it names.
    pub rule: Option<String>,
    /// Why, for the approver and the client.
    pub reason: String,
    /// Who may approve; nobody listed means the gateway's admins.
    #[schema(value_type = Vec<String>)]
    pub approvers: Vec<Principal>,
    /// How many of them must; at least 1.
    pub min_approvals: u32,
    /// Whether each answer needs a note.
    pub reason_required: bool,
    /// How long the request stands, in seconds; none for the gateway's default.
    pub expires_in: Option<u32>,
    /// For how many seconds an approval also covers the same command of the same identity.
    pub remember: Option<u32>,
}

impl Requirement {
    /// Whether both ask for the same, whichever version of the policy asks.
    pub fn same(&self, other: &Self) -> bool {
        let Self { policy, module: _, rule, reason, approvers, min_approvals, reason_required, expires_in, remember } =
            self;
        (policy, rule, reason, approvers) == (&other.policy, &other.rule, &other.reason, &other.approvers)
            && (min_approvals, reason_required) == (&other.min_approvals, &other.reason_required)
            && (expires_in, remember) == (&other.expires_in, &other.remember)
    }

    /// Who may answer for it, in words: `group:dba or user:bob`.
    pub fn approver_names(&self) -> String {
        if self.approvers.is_empty() {
            return "an admin of this gateway".to_owned();
        }
        let names: Vec<_> = self.approvers.iter().map(ToString::to_string).collect();
        names.join(" or ")
    }

    /// Whether this identity may answer for it. `admins` stand in where nobody is listed.
    pub fn may_answer(&self, identity: &Identity, admins: &[Principal]) -> bool {
        let approvers = if self.approvers.is_empty() { admins } else { &self.approvers };
        approvers.iter().any(|principal| principal.covers(identity))
    }
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// Not answered by enough approvers yet.
    Pending,
    /// Enough approved; the command may run, once.
    Approved,
    /// An approver denied it.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// What asked for it went away: cancelled, disconnected, timed out, or the gateway stopped.
    Abandoned,
    /// Policies or the command's meaning changed, and it was decided anew.
    Superseded,
}

impl ApprovalState {
    /// Every state, in the order in which people read them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Denied, Self::Expired, Self::Abandoned, Self::Superseded];

    /// Its word in the API, the record and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Abandoned => "abandoned",
            Self::Superseded => "superseded",
        }
    }
}

impl fmt::Display for ApprovalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One approver's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// Who answered.
    pub approver: String,
    /// Whether they approved.
    pub approved: bool,
    /// Their note or reason, at most [`MAX_NOTE_BYTES`]; may be empty.
    pub note: String,
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
}

/// One command that waits, or waited, for people. It shows of the command what the record shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The session that asked.
    pub session: SessionId,
    /// The command's number in it.
    pub sequence: u64,
    /// Who asked; never an approver of it.
    pub requester: String,
    /// The target.
    pub target: String,
    /// The protocol.
    pub protocol: String,
    /// The client's address.
    pub client: String,
    /// SHA-256, in hexadecimal, of identity, target, exact text, parameters, context and facts.
    pub digest: String,
    /// What the protocol does with the command.
    pub verb: String,
    /// Its text, with literals replaced where a mask could have hidden them.
    pub text: String,
    /// Whether the text was cut.
    pub cut: bool,
    /// Whether literals and parameters are left out, because a mask could have hidden them.
    pub hidden: bool,
    /// What the command depends on beside its text.
    pub context: String,
    /// What it names.
    pub resources: Vec<String>,
    /// How many parameters were bound.
    pub parameters: u32,
    /// Their values, where no mask could have hidden them.
    pub values: Vec<Option<String>>,
    /// The statements' kinds.
    pub kinds: Vec<String>,
    /// Whether a transaction is open, which keeps its locks meanwhile.
    pub in_transaction: bool,
    /// What policies ask for; all of it must be met.
    pub requirements: Vec<Requirement>,
    /// When it was asked for, in milliseconds since the Unix epoch.
    pub requested_at: i64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at: i64,
    /// Where it stands.
    pub state: ApprovalState,
    /// What was answered, in order.
    pub answers: Vec<Answer>,
    /// When it ended, in milliseconds since the Unix epoch: denied when it was, anything else when its
    /// command stopped waiting. None before.
    pub ended_at: Option<i64>,
    /// Why it stands so, in a few words; empty while it is pending.
    pub ended: String,
}

impl Approval {
    /// Takes in what happened in its session at this time, in milliseconds since the Unix epoch. What has
    /// ended stays as it ended.
    pub fn note(&mut self, event: &Event, at: i64) {
        match event {
            Event::Answered(Answered { approval, answer, .. }) if *approval == self.id => {
                if !answer.approved {
                    self.end(ApprovalState::Denied, format!("denied by {}", answer.approver), at);
                }
                self.answers.push(answer.clone());
            }
            Event::HoldEnded(ended) if ended.approval == self.id => self.end(ended.state, ended.reason.clone(), at),
            Event::Closed(_) => self.end(ApprovalState::Abandoned, "its session ended".to_owned(), at),
            _ => {}
        }
    }

    fn end(&mut self, state: ApprovalState, why: String, at: i64) {
        if self.ended_at.is_none() {
            (self.state, self.ended, self.ended_at) = (state, why, Some(at));
        }
    }

    /// The end of its hold, as it is to be recorded where its command stops waiting for this reason. What
    /// was denied stays so, and what is approved says by whom.
    pub fn hold_ended(&self, state: ApprovalState, why: &str) -> HoldEnded {
        let answered = self.state == ApprovalState::Denied || self.state == state;
        let (state, reason) = if answered { (self.state, self.ended.clone()) } else { (state, why.to_owned()) };
        HoldEnded { approval: self.id, sequence: self.sequence, state, reason }
    }

    /// Whether this identity may answer, at all.
    pub fn may_answer(&self, identity: &Identity, admins: &[Principal]) -> bool {
        identity.user != self.requester && self.requirements.iter().any(|r| r.may_answer(identity, admins))
    }

    /// Who may approve, in words: `2 of group:dba or user:bob`.
    pub fn approvers(&self) -> String {
        let of = |requirement: &Requirement| {
            let names = requirement.approver_names();
            match requirement.min_approvals {
                0 | 1 => names,
                count => format!("{count} of {names}"),
            }
        };
        let mut all: Vec<String> = Vec::new();
        for words in self.requirements.iter().map(of) {
            if !all.contains(&words) {
                all.push(words);
            }
        }
        all.join(", and ")
    }

    /// Why approval is asked for: every policy's reason.
    pub fn reasons(&self) -> String {
        let reasons: Vec<_> = self.requirements.iter().map(|r| format!("{}: {}", r.policy, r.reason)).collect();
        reasons.join("; ")
    }
}
