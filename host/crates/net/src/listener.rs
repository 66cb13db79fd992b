//! A listening socket with its limits: how many connections, from where without TLS, behind which proxies,
//! and how it ends. Errors while accepting never end it.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::{
    BindError, Proxies, ProxyError, Slot, Stop, Stopper, is_loopback, proxy,
    refused::Refused,
    slot::{Full, Slots},
    stop_channel,
};

/// Connections that the system keeps for us while we are busy.
const BACKLOG: u32 = 1024;
/// A silent peer is probed after this long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;
/// The first and the longest wait after an error such as "too many open files".
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);
/// How long sessions have for their last words at the end of the grace.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Who can reach a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// There is a certificate: any address is fine.
    Tls,
    /// There is none: loopback addresses only.
    LoopbackOnly,
    /// There is none, and the configuration says that this is intended (`allow_plaintext`).
    Plaintext,
}

/// What a listener bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; more are closed at once.
    pub max_connections: usize,
    /// Those among them whose peers are not yet admitted; see [`Slot::admitted`]. One address, or one
    /// /64 of IPv6, has half of these places at most.
    pub max_starting: usize,
    /// How long open connections may go on once stopping is asked for. For the last 2 seconds of it,
    /// or the last half of a shorter one, [`Stop::overdue`] tells them to end.
    pub grace: Duration,
}

/// A listening socket.
pub struct Listener {
    name: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
    proxies: Proxies,
}

impl Listener {
    /// Opens the socket on `address` (`ip:port` or `host:port`; of several addresses the first).
    /// `name` is the protocol's, for the log.
    pub async fn bind(
        name: &'static str,
        address: &str,
        exposure: Exposure,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let wanted = resolve(address).await?;
        if exposure == Exposure::LoopbackOnly && !is_loopback(wanted.ip()) {
            return Err(BindError::Plaintext(wanted));
        }
        let refused = |source| BindError::Bind { address: wanted, source };
        let socket = open(wanted).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self { name, socket, address, limits, proxies: Proxies::default() })
    }

    /// The same, behind proxies: their connections begin with a header of the PROXY protocol, and count and
    /// are handled as those of the client that it names. Everybody else's must not begin so.
    pub fn behind(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }

    /// The address that it listens on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until stopping is asked for, each connection in a task of its own. Then it accepts no
    /// more, and returns once all have ended or the grace is over; those still open then are cut.
    /// Where stopping is overdue from outside, the rest of the grace is only that for last words.
    pub async fn run<H, F>(self, mut stop: Stop, handle: H)
    where
        H: Fn(TcpStream, SocketAddr, Slot, Stop) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let slots = Slots::new(self.limits);
        let refused = Refused::new(self.name, self.limits);
        let (handle, proxies) = (Arc::new(handle), Arc::new(self.proxies));
        let mut open = JoinSet::new();
        let (stopper, heard) = stop_channel();
        let mut back_off = FIRST_BACK_OFF;
        tracing::info!(protocol = self.name, address = %self.address, "listening");
        loop {
            let accepted = tokio::select! {
                () = stop.asked() => break,
                Some(ended) = open.join_next() => {
                    report_panic(self.name, ended);
                    continue;
                }
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    back_off = FIRST_BACK_OFF;
                    // Where a proxy's clients come from, its header has yet to say.
                    let network = (!proxies.include(peer.ip())).then_some(peer.ip());
                    let slot = match slots.take(network) {
                        Ok(slot) => slot,
                        Err(full) => {
                            refused.full(peer, full);
                            continue;
                        }
                    };
                    if let Err(error) = tune(&stream) {
                        tracing::debug!(protocol = self.name, %peer, %error, "connection lost before it was served");
                        continue;
                    }
                    let (handle, proxies) = (Arc::clone(&handle), Arc::clone(&proxies));
                    let (refused, heard) = (refused.clone(), heard.clone());
                    open.spawn(async move {
                        let mut stream = stream;
                        let mut stopping = heard.clone();
                        let client = tokio::select! {
                            biased;
                            client = client_of(&mut stream, peer, &slot, &proxies) => client,
                            () = stopping.asked() => return,
                        };
                        match client {
                            Ok(client) => handle(stream, client, slot.clone(), heard).await,
                            Err(Unknown::Header(error)) => refused.header(peer, &error),
                            Err(Unknown::Full(client, full)) => refused.full(client, full),
                        }
                        drop(slot);
                    });
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(protocol = self.name, %error, "cannot accept connections; trying again");
                    tokio::time::sleep(back_off).await;
                    back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                }
            }
        }
        drop(self.socket);
        drain(self.name, open, self.limits.grace, stop, &stopper).await;
    }
}

/// Why a connection is refused before it is handled.
enum Unknown {
    Header(ProxyError),
    Full(SocketAddr, Full),
}

/// Who connects: the peer, or where that is a proxy, whom it connects for.
async fn client_of(
    stream: &mut TcpStream,
    peer: SocketAddr,
    slot: &Slot,
    proxies: &Proxies,
) -> Result<SocketAddr, Unknown> {
    if proxies.include(peer.ip()) {
        let client = proxy::receive(stream).await.map_err(Unknown::Header)?.unwrap_or(peer);
        slot.comes_from(client.ip()).map_err(|full| Unknown::Full(client, full))?;
        return Ok(client);
    }
    if proxies.exist() {
        proxy::refuse_header(stream).await.map_err(Unknown::Header)?;
    }
    Ok(peer)
}

async fn resolve(address: &str) -> Result<SocketAddr, BindError> {
    let failed = |source| BindError::Resolve { address: address.to_owned(), source };
    let mut found = tokio::net::lookup_host(address).await.map_err(failed)?;
    found.next().ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What every connection of the gateway has, in either direction: small messages go out at once,
/// and a silent peer is probed by the system, after a minute and then every 15 seconds, four times.
///
/// There is no `TCP_USER_TIMEOUT`: Linux counts in it also the time in which a peer that lives and
/// answers reads nothing, and a client may look at a result, or a server wait for a lock, for longer
/// than that. A peer that vanished with bytes on their way to it is given up by the system's own
/// limit of retransmissions, some 15 minutes (`tcp_retries2` in tcp(7)).
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn report_panic(name: &'static str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(protocol = name, %error, "a session failed inside the gateway; its connection was closed");
    }
}

/// Lets sessions go on, then end themselves, and cuts those that do neither.
async fn drain(name: &'static str, mut open: JoinSet<()>, grace: Duration, mut outside: Stop, sessions: &Stopper) {
    let last_words = LAST_WORDS.min(grace / 2);
    sessions.stop();
    tokio::select! {
        () = all_ended(name, &mut open) => return,
        () = outside.overdue() => {}
        () = tokio::time::sleep(grace.saturating_sub(last_words)) => {}
    }
    tracing::info!(protocol = name, connections = open.len(), "sessions that go on are told to end");
    sessions.now();
    if tokio::time::timeout(last_words, all_ended(name, &mut open)).await.is_err() {
        tracing::warn!(protocol = name, connections = open.len(), "connections still open after the grace are cut");
        open.shutdown().await;
    }
}

/// Cancel-safe.
async fn all_ended(name: &'static str, open: &mut JoinSet<()>) {
    while let Some(ended) = open.join_next().await {
        report_panic(name, ended);
    }
}
