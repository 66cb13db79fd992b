//! Why a target could not be reached. Two faces: what the client may read, from a closed list that
//! tells nothing about the target, and the whole truth for the log.

use std::{fmt::Write as _, io, time::Duration};

use sluicegate_credentials::SecretError;
use sluicegate_net::TlsError;

use crate::config::Address;

/// Why dialling or cancelling failed. `Display` is for the log: it names the target's address and
/// quotes the server, but never a secret.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The host's name has no address.
    #[error("the name in `{0}` cannot be resolved; check the target's `address`")]
    Resolve(Address, #[source] io::Error),
    /// Nobody answers there.
    #[error("cannot connect to `{0}`; check that the server runs and is reachable from here")]
    Connect(Address, #[source] io::Error),
    /// It took longer than `connect_timeout`, or than one address's share of it.
    #[error("the target was not ready within {0:?}; see `connect_timeout`")]
    Timeout(Duration),
    /// None of the target's addresses can be used now.
    #[error("none of the target's addresses can be used: {}", each(.0))]
    Nowhere(Vec<(Address, DialError)>),
    /// The server does not offer TLS.
    #[error("the server offers no TLS, which `sslmode` demands; enable `ssl` there")]
    TlsRefused,
    /// TLS failed.
    #[error("no TLS with the target")]
    Tls(#[from] TlsError),
    /// The connection broke.
    #[error("the connection to the target broke")]
    Io(#[from] io::Error),
    /// The server does not keep to the protocol.
    #[error("the target does not speak PostgreSQL's protocol as expected: {0}")]
    Protocol(&'static str),
    /// A message during the login is larger than any honest one.
    #[error("the target sent a message of {0} bytes during the login, which is more than 65536")]
    TooLarge(usize),
    /// The password, or a role that is lent, cannot be had.
    #[error("the gateway's credentials for the target cannot be had")]
    Secret(#[from] SecretError),
    /// The server wants a password and none is configured.
    #[error("the server asks for a password; set the target's `password`")]
    NoPassword,
    /// The server wants the password itself over a connection that others could read.
    #[error(
        "the server asks for the password in cleartext, which is given only over TLS with a verified certificate or on this machine; use scram-sha-256 there, or sslmode verify-full"
    )]
    Cleartext,
    /// The server wants another way to log in.
    #[error("the server asks for the login method {0}; use scram-sha-256, md5, password or trust for this role")]
    Method(&'static str),
    /// The server did not prove that it knows the password, or someone sits in between.
    #[error("the server could not prove who it is during SCRAM: {0}")]
    Impostor(&'static str),
    /// SCRAM failed for another reason.
    #[error("the SCRAM exchange with the server failed")]
    Scram(#[source] io::Error),
    /// The server refused the login.
    #[error("the target refused the connection: {message} (SQLSTATE {code})")]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// The server's words.
        message: String,
    },
    /// A start-up parameter that a client may not set.
    #[error("the start-up parameter `{0}` is not the client's to set")]
    Parameter(String),
}

impl DialError {
    /// What trying all addresses came to, where each failed so.
    pub(super) fn of_all(mut failures: Vec<(Address, Self)>) -> Self {
        match failures.pop() {
            Some((_, only)) if failures.is_empty() => only,
            last => Self::Nowhere(failures.into_iter().chain(last).collect()),
        }
    }

    /// Whether nobody serves there at the moment, so that another address of the target may be tried: it
    /// cannot be reached, or it starts up, shuts down, or does not serve yet.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Resolve(..) | Self::Connect(..) | Self::Timeout(_) | Self::Io(_) => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "57P01" | "57P02" | "57P03"),
            _ => false,
        }
    }

    /// Whether the server does not take the role and its password.
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    pub(super) fn is_wrong_login(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if matches!(code.as_str(), "28P01" | "28000"))
    }

    /// Of several the one that tells a client most: a server that is about to serve.
    fn main(&self) -> &Self {
        let Self::Nowhere(failures) = self else { return self };
        let refused = failures.iter().find(|(_, error)| matches!(error, Self::Refused { .. }));
        refused.or(failures.last()).map_or(self, |(_, error)| error)
    }

    /// What the client reads: one of a few fixed sentences.
    pub fn client_message(&self) -> &'static str {
        match self.main() {
            Self::Resolve(..) | Self::Connect(..) | Self::Timeout(_) | Self::Io(_) | Self::Nowhere(_) => {
                "the target cannot be reached at the moment; try again later"
            }
            Self::TlsRefused | Self::Tls(_) => {
                "no protected connection to the target is possible; its operator must look into it"
            }
            Self::Secret(_)
            | Self::NoPassword
            | Self::Cleartext
            | Self::Method(_)
            | Self::Impostor(_)
            | Self::Scram(_) => "the gateway could not log in to the target; its operator must look into it",
            Self::Protocol(_) | Self::TooLarge(_) => "the target did not answer as a PostgreSQL server does",
            Self::Refused { code, .. } => refusal(code),
            Self::Parameter(_) => "a start-up parameter is not yours to set; remove it from the connection string",
        }
    }

    /// What it is counted as.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resolve(..) => "name",
            Self::Connect(..) => "connect",
            Self::Timeout(_) => "timeout",
            Self::Nowhere(each) => each.last().map_or("connect", |(_, last)| last.kind()),
            Self::TlsRefused | Self::Tls(_) => "tls",
            Self::Io(_) => "connection-lost",
            Self::Protocol(_) | Self::TooLarge(_) => "protocol",
            Self::Secret(_) => "credentials",
            Self::NoPassword | Self::Cleartext | Self::Method(_) | Self::Impostor(_) | Self::Scram(_) => "login",
            Self::Refused { .. } => "refused",
            Self::Parameter(_) => "parameter",
        }
    }

    /// The SQLSTATE that goes with [`Self::client_message`].
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    pub fn sqlstate(&self) -> &'static str {
        match self.main() {
            Self::Protocol(_) | Self::TooLarge(_) => "08P01",
            Self::Parameter(_) => "42501",
            Self::Refused { code, .. } if code == "53300" => "53300",
            Self::Refused { code, .. } if code == "57P03" => "57P03",
            Self::Refused { code, .. } if is_parameter_error(code) => "22023",
            _ => "08001",
        }
    }
}

/// Each address with what is wrong there, causes included: they are of one error each.
fn each(failures: &[(Address, DialError)]) -> String {
    let mut text = String::new();
    for (at, (address, error)) in failures.iter().enumerate() {
        let _ = write!(text, "{}`{address}`: {}", if at == 0 { "" } else { "; " }, sluicegate_core::Chain(error));
    }
    text
}

fn refusal(code: &str) -> &'static str {
    match code {
        "53300" => "the target has no free connection; try again later",
        "57P03" => "the target is starting up or shutting down; try again later",
        _ if is_parameter_error(code) => {
            "the target refused a start-up parameter; check `options` and the client's settings"
        }
        _ => "the gateway could not log in to the target; its operator must look into it",
    }
}

/// Invalid values, unknown settings, settings that need a restart or other rights.
fn is_parameter_error(code: &str) -> bool {
    matches!(code, "22023" | "42704" | "55P02" | "42501")
}
