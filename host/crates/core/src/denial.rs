//! Why something did not pass, in words that may be shown to the client and kept in the record.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluicegate_metrics::Verdict;
use utoipa::ToSchema;

use crate::record::RecordError;

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DenialKind {
    /// A policy said no.
    Policy,
    /// A policy failed: it trapped, timed out, is missing or answered nonsense.
    PolicyFailure,
    /// The gate itself: a mask that cannot be applied, a limit, a protocol rule.
    Gate,
    /// The record could not be written, so nothing may pass.
    Record,
    /// It waited for an approval that was denied or has expired.
    Approval,
    /// It waited for an approval, and its client cancelled it or gave it no more time.
    Cancelled,
}

impl DenialKind {
    /// What it is counted as.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Policy => Verdict::Blocked,
            Self::PolicyFailure => Verdict::PolicyFailure,
            Self::Gate => Verdict::Refused,
            Self::Record => Verdict::Unrecorded,
            Self::Approval => Verdict::Unapproved,
            Self::Cancelled => Verdict::Cancelled,
        }
    }
}

/// A refusal. Protocols turn it into their own error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Denial {
    /// Who refused.
    pub kind: DenialKind,
    /// The policy's module name, where one spoke.
    pub policy: Option<String>,
    /// One sentence for a person.
    pub reason: String,
}

impl Denial {
    /// A denial in which no policy spoke.
    pub fn of(kind: DenialKind, reason: impl Into<String>) -> Self {
        Self { kind, policy: None, reason: reason.into() }
    }

    /// A denial by the gate itself.
    pub fn gate(reason: impl Into<String>) -> Self {
        Self::of(DenialKind::Gate, reason)
    }

    /// The next step, for protocols whose errors have room for a hint.
    pub fn hint(&self) -> &'static str {
        match self.kind {
            DenialKind::Policy => "Ask whoever runs this gateway if you need this; the refusal is recorded.",
            DenialKind::PolicyFailure => {
                "A policy could not decide, so nothing passes; see `sluicegate policy status`."
            }
            DenialKind::Gate => "The gateway could not let this pass safely; the refusal is recorded.",
            DenialKind::Approval => "Talk to the approvers before you ask again; the refusal is recorded.",
            DenialKind::Cancelled => "It did not run; the approval that it waited for is void.",
            DenialKind::Record => "Nothing passes while the record cannot be written; see the gateway's log.",
        }
    }
}

impl From<RecordError> for Denial {
    fn from(error: RecordError) -> Self {
        Self::of(DenialKind::Record, error.to_string())
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.policy {
            _ if matches!(self.kind, DenialKind::Cancelled | DenialKind::Approval) => f.write_str(&self.reason),
            Some(policy) => write!(f, "blocked by policy {policy}: {}", self.reason),
            None => write!(f, "blocked by the gateway: {}", self.reason),
        }
    }
}
