//! The command line's side of the socket. Every request has a deadline and every answer a bound, so
//! that a gateway in trouble cannot hang or fill the one who asks.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use sluicegate_core::{
    SessionId,
    sessions::{SessionFilter, SessionPage},
};
use tokio::{net::UnixStream, time::timeout};

use crate::{
    api::{PolicyList, SessionView},
    problem::Problem,
    socket,
};

/// How long a gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of an answer. A page of entries has some 2 MiB before it becomes JSON.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

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
    /// The gateway did not answer in time.
    #[error("the gateway did not answer within {} seconds: see its log", DEADLINE.as_secs())]
    Timeout,
    /// The connection broke; a gateway also hangs up on users who may not ask.
    #[error("the gateway hung up; ask as the user who runs it, and see its log")]
    Connection(#[source] hyper::Error),
    /// The answer broke off or is too large.
    #[error("the gateway's answer could not be read; ask for less at once")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what this version expects.
    #[error("the gateway's answer is not understood; it may run another version")]
    Answer(#[source] serde_json::Error),
    /// The request could not be put together.
    #[error("the request cannot be sent")]
    Request(#[source] hyper::http::Error),
    /// The gateway refused.
    #[error("{0}")]
    Problem(Problem),
}

/// A connection to the gateway that runs on a data folder.
pub struct AdminClient {
    sender: SendRequest<Empty<Bytes>>,
}

impl AdminClient {
    /// Connects. [`ClientError::NotRunning`] tells that no gateway runs there.
    pub async fn connect(data_dir: &Path) -> Result<Self, ClientError> {
        let path = socket::path(data_dir);
        let stream = match in_time(UnixStream::connect(&path)).await? {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Err(ClientError::NotRunning(data_dir.to_owned()));
            }
            Err(source) => return Err(ClientError::Socket { path, source }),
        };
        let (sender, connection) =
            in_time(http1::handshake(TokioIo::new(stream))).await?.map_err(ClientError::Connection)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the gateway broke");
            }
        });
        Ok(Self { sender })
    }

    /// Lists sessions.
    pub async fn sessions(&mut self, filter: &SessionFilter) -> Result<SessionPage, ClientError> {
        let mut uri = format!("/api/v1/sessions?limit={}", filter.limit);
        for (name, value) in [("user", &filter.user), ("target", &filter.target)] {
            if let Some(value) = value {
                uri.push_str(&format!("&{name}="));
                push_encoded(&mut uri, value);
            }
        }
        if let Some(before) = filter.before {
            uri.push_str(&format!("&before={before}"));
        }
        self.get(&uri).await
    }

    /// One session with its entries from a page's `next` on, or from 0; none if there is no such
    /// session.
    pub async fn session(&mut self, id: SessionId, from: u64) -> Result<Option<SessionView>, ClientError> {
        match self.get(&format!("/api/v1/sessions/{id}?from={from}")).await {
            Err(ClientError::Problem(problem)) if problem.status == StatusCode::NOT_FOUND => Ok(None),
            other => other.map(Some),
        }
    }

    /// The policies, one object for each module.
    pub async fn policies(&mut self) -> Result<Vec<serde_json::Value>, ClientError> {
        let list: PolicyList = self.get("/api/v1/policies").await?;
        Ok(list.items)
    }

    async fn get<T: DeserializeOwned>(&mut self, uri: &str) -> Result<T, ClientError> {
        let request = Request::get(uri).header(HOST, "localhost").body(Empty::new()).map_err(ClientError::Request)?;
        let (status, body) = in_time(self.exchange(request)).await??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(ClientError::Answer);
        }
        Err(serde_json::from_slice(&body).map_or_else(ClientError::Answer, ClientError::Problem))
    }

    async fn exchange(&mut self, request: Request<Empty<Bytes>>) -> Result<(StatusCode, Bytes), ClientError> {
        // The answer before was read to its end, but its connection may not have noticed yet.
        self.sender.ready().await.map_err(ClientError::Connection)?;
        let response = self.sender.send_request(request).await.map_err(ClientError::Connection)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(ClientError::Body)?;
        Ok((status, body.to_bytes()))
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, ClientError> {
    timeout(DEADLINE, work).await.map_err(|_| ClientError::Timeout)
}

/// Percent-encodes a query's value: all but the unreserved characters of RFC 3986, section 2.3.
fn push_encoded(uri: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}
