//! Why a connection ends before or during its session, with what its client may read about it.

use std::{io, time::Duration};

use humantime::format_duration;
use sluicegate_core::{Refusal, access::Lost};

use crate::{
    codec::{frame::FrameError, startup::StartupError},
    machine::MachineError,
    upstream::DialError,
};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The client did not finish its start-up in time.
    #[error("the client did not finish its start-up in time")]
    Timeout,
    /// The client's socket failed or closed.
    #[error("the client's connection failed")]
    Client(#[source] io::Error),
    /// The target's socket failed.
    #[error("the target's connection failed")]
    Target(#[source] io::Error),
    /// The target closed its connection.
    #[error("the target closed the connection")]
    TargetClosed,
    /// The start-up packet was not understood.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// The TLS handshake failed.
    #[error("the TLS handshake with the client failed")]
    Tls(#[from] sluicegate_net::TlsError),
    /// The client may not do without TLS.
    #[error("the client came without TLS from another machine")]
    Plaintext,
    /// The client asks for something that the gate does not offer.
    #[error("{0}")]
    Unsupported(String),
    /// The gate did not let the client in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A setting that the client starts with was denied.
    #[error("a start-up setting was denied: {0}")]
    Setting(sluicegate_core::Denial),
    /// The target could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The client broke the protocol.
    #[error("the client broke the protocol: {0}")]
    ClientFrame(FrameError),
    /// The target broke the protocol.
    #[error("the target broke the protocol: {0}")]
    TargetFrame(FrameError),
    /// One of the others, where the client cannot be told: it is gone, does not read, or is in the middle of
    /// a message.
    #[error(transparent)]
    Untold(Box<SessionError>),
    /// Somebody broke the protocol, or the record failed.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
    /// The gateway is stopping, and does not wait for approvals.
    #[error("the gateway is stopping")]
    StoppingOnHold,
    /// It waited for its client for as long as its target allows.
    #[error("the session was idle for {}, which its target's `idle_timeout` ends", format_duration(*after))]
    Idle {
        /// That long.
        after: Duration,
        /// Whether a transaction was open.
        in_transaction: bool,
    },
    /// Whoever it is may not use the target any more.
    #[error("access to the target has ended: {lost}")]
    Lost {
        /// Why.
        lost: Lost,
        /// Whether a command waited for people.
        on_hold: bool,
    },
    /// It lasted for as long as its target allows.
    #[error("the session has lasted {}, which its target's `max_session` ends", format_duration(*after))]
    Longest {
        /// That long.
        after: Duration,
        /// Whether a command waited for people.
        on_hold: bool,
    },
    /// The role that it had at the target was lent, and is about to be taken back, or was.
    #[error("the credentials that were lent for the session at the target are about to expire, or were revoked")]
    LeaseOver {
        /// Whether a command waited for people.
        on_hold: bool,
    },
}

impl SessionError {
    /// Whether it is the target's doing.
    pub fn is_targets_doing(&self) -> bool {
        match self {
            Self::Untold(error) => error.is_targets_doing(),
            Self::Target(_) | Self::TargetClosed | Self::TargetFrame(_) => true,
            Self::Machine(error) => {
                matches!(error, MachineError::Server(_) | MachineError::ServerTag(_) | MachineError::Large(_))
            }
            _ => false,
        }
    }

    /// What it is counted as.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Untold(error) => error.kind(),
            Self::TargetFrame(_) => "target-protocol",
            Self::Timeout => "login-timeout",
            Self::Client(_) => "client-lost",
            Self::Target(_) | Self::TargetClosed => "target-lost",
            Self::Startup(_) | Self::Machine(MachineError::Client(_) | MachineError::ClientTag(_)) => "client-protocol",
            Self::Tls(_) => "client-tls",
            Self::Plaintext => "plaintext",
            Self::Unsupported(_) => "unsupported",
            Self::Refused(_) | Self::Setting(_) => "refused",
            Self::Dial(_) => "dial",
            Self::ClientFrame(_) => "client-protocol",
            Self::Machine(MachineError::Record(_)) => "record",
            Self::Machine(MachineError::Moved) => "moved",
            Self::Machine(MachineError::Server(_) | MachineError::ServerTag(_) | MachineError::Large(_)) => {
                "target-protocol"
            }
            Self::Stopping | Self::StoppingOnHold => "stopping",
            Self::Lost { .. } => "access-ended",
            Self::Idle { .. } => "idle",
            Self::Longest { .. } => "longest",
            Self::LeaseOver { .. } => "lease-over",
        }
    }

    /// SQLSTATE and text for the client; none where there is nobody to read it. Only fixed texts and
    /// what the client said itself.
    pub fn client_message(&self) -> Option<(&'static str, String)> {
        let fixed = |code: &'static str, text: &str| Some((code, text.to_owned()));
        match self {
            Self::Client(_) | Self::Tls(_) | Self::Untold(_) => None,
            Self::Timeout => fixed("08P01", "the start-up took too long; connect again"),
            Self::Target(_) | Self::TargetClosed => fixed("08006", "the target closed the connection; connect again"),
            Self::Startup(error @ StartupError::Version(..)) => Some(("0A000", error.to_string())),
            Self::Startup(error) => Some(("08P01", error.to_string())),
            Self::Plaintext => fixed("28000", "this gateway requires TLS; connect with sslmode=require or stricter"),
            Self::Unsupported(text) => Some(("0A000", text.clone())),
            Self::Refused(Refusal::Secret) => Some(("28P01", Refusal::Secret.to_string())),
            Self::Refused(Refusal::Ticket) => Some(("28000", Refusal::Ticket.to_string())),
            Self::Refused(Refusal::Busy) => Some(("53300", Refusal::Busy.to_string())),
            Self::Refused(refusal @ Refusal::Throttled(_)) => Some(("28000", refusal.to_string())),
            Self::Refused(refusal @ Refusal::Target(_)) => Some(("3D000", refusal.to_string())),
            Self::Refused(refusal @ Refusal::Policy(_)) => Some(("42501", refusal.to_string())),
            Self::Refused(Refusal::Record) => Some(("58030", Refusal::Record.to_string())),
            Self::Setting(denial) => Some(("42501", denial.to_string())),
            Self::Dial(error) => Some((error.sqlstate(), error.client_message().to_owned())),
            Self::Machine(MachineError::Record(_)) => {
                fixed("58030", "the gateway cannot record this session, so it ends it; try again later")
            }
            Self::Machine(error @ MachineError::Moved) => Some(("40001", error.to_string())),
            Self::ClientFrame(_) | Self::Machine(MachineError::Client(_) | MachineError::ClientTag(_)) => {
                fixed("08P01", "the client broke the PostgreSQL protocol; the connection was closed")
            }
            Self::TargetFrame(_) | Self::Machine(_) => {
                fixed("08P01", "the target sent what the gateway cannot decide on; the connection was closed")
            }
            Self::StoppingOnHold => fixed(
                "57P01",
                "the gateway is shutting down; the command that waited for approval did not run, ask again in a moment",
            ),
            Self::Idle { in_transaction: false, .. } => Some(("57P05", format!("{self}; connect again"))),
            Self::Idle { in_transaction: true, .. } => {
                Some(("25P03", format!("{self}, and its open transaction with it; connect again")))
            }
            Self::Lost { on_hold: false, .. } => Some(("28000", self.to_string())),
            Self::Lost { on_hold: true, .. } => {
                Some(("28000", format!("{self}; the command that waited for approval did not run")))
            }
            Self::LeaseOver { on_hold: false } => Some(("57P01", format!("{self}; connect again"))),
            Self::LeaseOver { on_hold: true } => {
                Some(("57P01", format!("{self}; the command that waited for approval did not run, connect again")))
            }
            Self::Longest { on_hold: false, .. } => Some(("57P01", format!("{self}; connect again"))),
            Self::Longest { on_hold: true, .. } => {
                Some(("57P01", format!("{self}; the command that waited for approval did not run, connect again")))
            }
            Self::Stopping => fixed("57P01", "the gateway is shutting down; connect again in a moment"),
        }
    }
}
