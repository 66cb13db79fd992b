//! Why a gateway could not be asked.

use std::{io, path::PathBuf};

use super::DEADLINE;
use crate::problem::Problem;

/// Why a gateway could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or nobody answers on it.
    #[error("no gateway runs on the data folder `{}`: start it with `sluicegate serve`", .0.display())]
    NotRunning(PathBuf),
    /// The socket cannot be used, most often because it belongs to somebody else.
    #[error("the gateway's socket `{}` cannot be used; ask as the user who runs the gateway", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The URL is none, or not one to which credentials may be sent.
    #[error("`{0}` is no gateway's URL: write `https://HOST:PORT`, or `http://127.0.0.1:PORT` on this machine")]
    Url(String),
    /// Nobody answers at the URL.
    #[error("no gateway answers at {host}:{port}; check `[admin] listen` in its configuration")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// No encrypted connection.
    #[error("there is no secure connection to the gateway; check its certificate and the authority that you trust")]
    Tls(#[source] sluicegate_net::TlsError),
    /// The credentials cannot be sent.
    #[error("the credentials cannot be sent: a name has no `:`, and a token only visible ASCII characters")]
    Credentials,
    /// The time is beyond what can be written.
    #[error("{0} milliseconds since 1970 is no time that the gateway knows")]
    Time(i64),
    /// The gateway did not answer in time.
    #[error("the gateway did not answer within {} seconds: see its log", DEADLINE.as_secs())]
    Timeout,
    /// The connection broke; a gateway also hangs up on users who may not ask.
    #[error("the gateway hung up; ask as the user who runs it, and see its log")]
    Connection(#[source] hyper::Error),
    /// The connection over the network broke.
    #[error("the gateway at {at} broke off; {next}")]
    Broken {
        /// The host and port.
        at: String,
        /// What to do.
        next: &'static str,
        /// The HTTP library's reason.
        source: hyper::Error,
    },
    /// The gateway's certificate is one for issuing others.
    #[error(
        "the gateway's certificate is itself an authority's: name that very certificate with `--ca`, or have one \
         issued for the gateway with `basicConstraints=CA:FALSE`"
    )]
    Authority(#[source] sluicegate_net::TlsError),
    /// The answer broke off or is too large.
    #[error("the gateway's answer could not be read; ask for less at once")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what this version expects.
    #[error("the gateway's answer is not understood; it may run another version")]
    Answer(#[source] serde_json::Error),
    /// The answer is no text.
    #[error("the gateway's answer is no text; it may run another version")]
    Text,
    /// The request could not be put together.
    #[error("the request cannot be sent")]
    Request(#[source] hyper::http::Error),
    /// The gateway refused.
    #[error("{0}")]
    Problem(Problem),
}
