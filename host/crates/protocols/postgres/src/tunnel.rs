//! A local port that leads to one target of a gateway, for clients that cannot get a token themselves. Every connection is
//! logged in with a fresh one. The port is on loopback, where every user of the machine can connect, so that it asks for
//! a password of its own. Nothing here decides anything: the gateway does.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::{backend::Message, frontend};
use secrecy::{ExposeSecret, SecretString};
use sluicegate_net::{ClientTls, MaybeTls, is_own_peer, tune};
use subtle::ConstantTimeEq;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    deny,
    error::SessionError,
    handshake::{self, Request, Start},
    upstream::{DialError, connect, wire::Wire},
};

/// Local connections at once; further ones are closed.
const MAX_CONNECTIONS: usize = 256;
/// How long a local client may take until it has said who it is; people type passwords.
const LOGIN: Duration = Duration::from_secs(60);
/// How long the gateway may take to be reached and to ask for the token, and to take note of a CancelRequest.
const DIAL: Duration = Duration::from_secs(15);
/// How long getting a token may take.
const TOKEN: Duration = Duration::from_secs(30);
/// CancelRequest's code.
const CANCEL: u32 = 80_877_102;

/// Gets a token that is valid now, or says in a sentence why there is none.
pub type FreshToken = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<SecretString, String>> + Send>> + Send + Sync>;

/// Where a local port leads, and for whom.
pub struct Tunnel {
    /// The gateway's host.
    pub host: String,
    /// Its port for this protocol.
    pub port: u16,
    /// How it is verified; none where it is on this machine.
    pub tls: Option<ClientTls>,
    /// Who the gateway takes the token's holder for.
    pub user: String,
    /// The target's name.
    pub target: String,
    /// What local clients have to know.
    pub password: SecretString,
    /// What they are logged in with.
    pub token: FreshToken,
}

/// Why a local connection led nowhere.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error(transparent)]
    Client(#[from] SessionError),
    #[error("this port serves only the user of this machine who opened it; run `sluicegate connect` yourself")]
    Stranger,
    #[error("this port leads to the target \"{0}\": name it as the database, or none")]
    Target(String),
    #[error("the password is not that of this local port; `sluicegate connect` prints it")]
    Password,
    #[error("{0}")]
    Token(String),
    #[error("the gateway cannot be reached, or does not take this connection: {0}")]
    Gateway(#[from] DialError),
    #[error("the gateway did not answer in time")]
    Late,
    #[error("the gateway asks for something else than a token")]
    Demand,
}

impl Tunnel {
    /// Serves local clients for as long as it is polled. What was begun ends with it.
    pub async fn serve(self, listener: TcpListener) {
        let (tunnel, room) = (Arc::new(self), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, peer)) = accepted else {
                // Too many open files, most often: some will be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
            let tunnel = Arc::clone(&tunnel);
            connections.spawn(async move {
                let _place = place;
                tunnel.lead(stream, peer).await;
            });
        }
    }

    async fn lead(&self, stream: TcpStream, peer: SocketAddr) {
        // Other users of this machine reach the port too, and might know the password from when they had the port.
        let own = stream.local_addr();
        let is_own = spawn_blocking(move || own.ok().and_then(|own| is_own_peer(peer, own))).await;
        let is_strange = is_own.ok().flatten() == Some(false);
        // A connection without it is slower, and no worse otherwise.
        let _ = tune(&stream);
        let deadline = Instant::now() + LOGIN;
        match handshake::receive(stream, None, true, deadline).await {
            // Before its start-up packet a client would not understand why.
            Ok(Request::Session { mut stream, .. }) if is_strange => refuse(&mut stream, &TunnelError::Stranger).await,
            Ok(Request::Cancel { .. }) if is_strange => {}
            Ok(Request::Session { mut stream, start }) => {
                if let Err(error) = self.session(&mut stream, &start, deadline).await {
                    refuse(&mut stream, &error).await;
                }
            }
            Ok(Request::Cancel { pid, key }) => {
                // There is no answer to a CancelRequest, whatever comes of it.
                let _ = timeout(DIAL, self.cancel(pid, &key)).await;
            }
            // The client has been told.
            Err(_) => {}
        }
    }

    /// Logs a local client in, and then only moves bytes.
    async fn session(&self, client: &mut MaybeTls, start: &Start, deadline: Instant) -> Result<(), TunnelError> {
        let asked = timeout_at(deadline, handshake::ask(client, start)).await;
        let password = asked.map_err(|_| SessionError::Timeout)??;
        let known = password.expose_secret().as_bytes().ct_eq(self.password.expose_secret().as_bytes());
        if !bool::from(known) {
            return Err(TunnelError::Password);
        }
        // A prompt that names another database than the one that is asked would lie.
        if start.wanted().is_some_and(|database| database != self.target) {
            return Err(TunnelError::Target(self.target.clone()));
        }
        let token = timeout(TOKEN, (self.token)()).await;
        let late = "no token could be had in time: the issuer does not answer, or another sluicegate holds the login";
        let token = token.unwrap_or_else(|_| Err(late.to_owned())).map_err(TunnelError::Token)?;
        let (mut gateway, rest) = timeout(DIAL, self.log_in(start, &token)).await.map_err(|_| TunnelError::Late)??;
        client.write_all(&rest).await.map_err(SessionError::Client)?;
        // Either end may go at any time, which the other one learns.
        let _ = copy_bidirectional(client, &mut gateway).await;
        Ok(())
    }

    /// Sends the token. What comes of it, the gateway tells the client itself.
    async fn log_in(&self, start: &Start, token: &SecretString) -> Result<(MaybeTls, BytesMut), TunnelError> {
        let mut gateway = self.dial().await?;
        let mut wire = Wire::new(&mut gateway, BytesMut::new());
        let mut out = BytesMut::new();
        let said = start.redirected(&self.user, &self.target);
        frontend::startup_message(said, &mut out).map_err(|_| TunnelError::Demand)?;
        wire.send(&out).await?;
        // Any other demand would have the token do something else than log in.
        let Message::AuthenticationCleartextPassword = wire.next().await? else { return Err(TunnelError::Demand) };
        let mut out = BytesMut::new();
        frontend::password_message(token.expose_secret().as_bytes(), &mut out).map_err(|_| TunnelError::Demand)?;
        wire.send(&out).await?;
        let rest = wire.into_rest();
        Ok((gateway, rest))
    }

    async fn cancel(&self, pid: u32, key: &[u8]) -> Result<(), DialError> {
        let mut gateway = self.dial().await?;
        let mut out = BytesMut::new();
        out.put_u32(u32::try_from(key.len() + 12).unwrap_or(u32::MAX));
        out.put_u32(CANCEL);
        out.put_u32(pid);
        out.put_slice(key);
        gateway.write_all(&out).await?;
        gateway.flush().await?;
        // It closes once it has taken note.
        let _ = gateway.read(&mut [0; 1]).await;
        Ok(())
    }

    async fn dial(&self) -> Result<MaybeTls, DialError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tune(&stream)?;
        connect::secure(self.tls.as_ref(), &self.host, stream).await
    }
}

async fn refuse(client: &mut MaybeTls, error: &TunnelError) {
    let (code, text) = match error {
        TunnelError::Client(error) => return handshake::refuse(client, error).await,
        // invalid_password
        TunnelError::Password => ("28P01", error.to_string()),
        // invalid_authorization_specification
        // invalid_catalog_name
        TunnelError::Target(_) => ("3D000", error.to_string()),
        TunnelError::Stranger | TunnelError::Token(_) => ("28000", error.to_string()),
        // connection_failure
        TunnelError::Gateway(_) | TunnelError::Late | TunnelError::Demand => ("08006", error.to_string()),
    };
    // The client may be gone already.
    let _ = timeout(Duration::from_secs(1), async {
        client.write_all(&deny::fatal(code, &text, "")).await?;
        client.shutdown().await
    })
    .await;
}
