//! What may be decided about commands and clients, in the words of labels: closed lists, so that the series
//! are bounded.

/// What was decided about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was forwarded.
    Allowed,
    /// A policy said no.
    Blocked,
    /// A policy failed.
    PolicyFailure,
    /// The gate itself refused it.
    Refused,
    /// It could not be recorded.
    Unrecorded,
    /// It waits for people.
    Held,
    /// People said no, or nobody said anything in time.
    Unapproved,
    /// It waited for people, and its client gave it up.
    Cancelled,
}

impl Verdict {
    pub(crate) const ALL: [Self; 8] = [
        Self::Allowed,
        Self::Blocked,
        Self::PolicyFailure,
        Self::Refused,
        Self::Unrecorded,
        Self::Held,
        Self::Unapproved,
        Self::Cancelled,
    ];
    /// Those that may be said when a command comes; the others end a wait.
    pub(crate) const AT_FIRST: usize = 6;

    /// Its word in metrics and traces.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::PolicyFailure => "policy-failure",
            Self::Refused => "refused",
            Self::Unrecorded => "unrecorded",
            Self::Held => "held",
            Self::Unapproved => "unapproved",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a client was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Unknown user or wrong secret.
    Secret,
    /// Too many wrong secrets came before: it was not looked at.
    Throttled,
    /// Too many other secrets were being verified.
    Busy,
    /// There is no such target, or it speaks another protocol.
    NoTarget,
    /// No `allow` rule names the user.
    NotAllowed,
    /// A policy refused the session.
    Policy,
    /// The session could not be recorded.
    Unrecorded,
}

impl Refused {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::NoTarget => "no-target",
            Self::NotAllowed => "not-allowed",
            Self::Policy => "policy",
            Self::Unrecorded => "unrecorded",
        }
    }
}
