//! Cancelling what a connection is doing: a second connection, a CancelRequest, and no answer.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{DialError, connect};
use crate::config::Target;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What the server gave the connection for this purpose.
#[derive(Clone, Copy)]
pub(super) struct BackendKey {
    pub(super) process_id: i32,
    pub(super) secret: i32,
}

/// Cancels one connection's work. Cheap to clone; the secret in it never shows.
#[derive(Clone)]
pub struct CancelToken {
    target: Arc<Target>,
    peer: SocketAddr,
    key: BackendKey,
}

impl CancelToken {
    pub(super) fn new(target: Arc<Target>, peer: SocketAddr, key: BackendKey) -> Self {
        Self { target, peer, key }
    }

    /// Asks the same server, over a connection protected in the same way, to cancel whatever runs.
    /// Returns once the server has taken note, within 5 seconds; whether something was cancelled
    /// shows on the connection itself. Cancel-safe.
    pub async fn cancel(&self) -> Result<(), DialError> {
        let attempt = async {
            let mut stream = connect::open_at(&self.target, self.peer).await?;
            let mut request = BytesMut::with_capacity(16);
            frontend::cancel_request(self.key.process_id, self.key.secret, &mut request);
            stream.write_all(&request).await?;
            stream.flush().await?;
            // The server signals the backend and closes; any way of closing will do.
            let _ = stream.read(&mut [0; 1]).await;
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, attempt).await.unwrap_or(Err(DialError::Timeout(TIMEOUT)))
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("process_id", &self.key.process_id).finish_non_exhaustive()
    }
}
