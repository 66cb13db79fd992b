//! Serves PostgreSQL clients on a listener: each connection is received, admitted, connected to its
//! target and then moved by its session.

use std::{
    borrow::Borrow,
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use arc_swap::ArcSwap;
use sluicegate_core::{Gate, GatedSession, SessionPermit, scope};
use sluicegate_net::{Listener, MaybeTls, ServerTls, Slot, Stop, is_loopback};
use sluicegate_sql::{Analyser, Limits};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    HashKey, PROTOCOL,
    catalog::CatalogCache,
    config::{Login, Target},
    error::SessionError,
    handshake::{self, Request, Start},
    machine::{Machine, Shared},
    registry::Registry,
    session,
    upstream::{self, Lease, Route, StartupParams},
};

/// How long a client may take until it is admitted.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How many analyses of statements are kept.
const CACHED_ANALYSES: usize = 10_000;

/// What a server is made of.
pub struct ServerParts {
    /// The gate.
    pub gate: Arc<Gate>,
    /// The deployment's key for hashed values.
    pub hash_key: Arc<HashKey>,
    /// TLS towards clients, if it is configured.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether clients from other machines may come without TLS.
    pub allow_plaintext: bool,
}

/// A target at one of its addresses.
struct Place {
    route: Route,
    /// What the sessions share that are there. Servers at two addresses may differ, so that each has a
    /// catalog of its own.
    shared: Arc<Shared>,
}

impl Borrow<Route> for Place {
    fn borrow(&self) -> &Route {
        &self.route
    }
}

/// Where each target is, by its name, in the order in which its addresses are tried.
type Targets = HashMap<String, Vec<Place>>;

fn forget(targets: &Targets) {
    targets.values().flatten().for_each(|place| place.route.close());
}

/// Serves clients. One serves every listener of the protocol.
pub struct Server {
    parts: ServerParts,
    analyser: Arc<Analyser>,
    registry: Registry,
    targets: ArcSwap<Targets>,
}

impl Server {
    /// A server without targets.
    pub fn new(parts: ServerParts) -> Arc<Self> {
        let analyser = Arc::new(Analyser::new(Limits::default(), CACHED_ANALYSES));
        Arc::new(Self { parts, analyser, registry: Registry::default(), targets: ArcSwap::default() })
    }

    /// Replaces the targets, by name, with what [`Target::prepare`] returned. Open sessions keep theirs; a
    /// target that did not change keeps what is known of its catalog.
    pub fn set_targets(&self, targets: HashMap<String, Vec<Target>>) {
        let former = self.targets.load();
        let next = targets.into_iter().map(|(name, places)| {
            let before = former.get(&name).map_or(&[][..], Vec::as_slice);
            let place = |target: Target| {
                let target = Arc::new(target);
                let same = before.iter().find(|place| place.route.target().is_same(&target));
                // Its authorities' file may have changed all the same.
                let shared = same.map_or_else(|| Arc::new(self.shared(&target)), |same| Arc::clone(&same.shared));
                Place { route: Route::new(target), shared }
            };
            (name, places.into_iter().map(place).collect())
        });
        self.targets.store(Arc::new(next.collect()));
        forget(&former);
    }

    /// Ends the connections that wait for their identity's next session; until targets are set again there are
    /// none. To be called before users change: what somebody left belongs to nobody who has only the name.
    pub fn forget_connections(&self) {
        forget(&self.targets.load());
    }

    fn shared(&self, target: &Arc<Target>) -> Shared {
        let config = target.config();
        let role = match &config.login {
            Login::Role { username, .. } => username.clone(),
            Login::Lent(source) => format!("one that {} lends", source.vault),
        };
        let dialled = format!("{} at {} as {role}", config.database, target.address());
        Shared {
            analyser: Arc::clone(&self.analyser),
            catalogs: Arc::new(CatalogCache::new(Arc::clone(target))),
            hash_key: Arc::clone(&self.parts.hash_key),
            hold_in_transaction: config.hold_in_transaction,
            dialled: Arc::from(dialled),
            uncommitted: AtomicUsize::new(0),
        }
    }

    /// Serves until stopping is asked for.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: Stop) {
        listener
            .run(stop, move |socket, peer, slot, stop| {
                let server = Arc::clone(&self);
                async move { server.connection(socket, peer, slot, stop).await }
            })
            .await;
    }

    async fn connection(&self, socket: TcpStream, peer: SocketAddr, slot: Slot, mut stop: Stop) {
        // Behind a proxy both ways are to stay on this machine, as far as they are known.
        let local = is_loopback(peer.ip()) && socket.peer_addr().is_ok_and(|hop| is_loopback(hop.ip()));
        let plaintext = self.parts.allow_plaintext || local;
        let deadline = Instant::now() + START_TIMEOUT;
        let received = tokio::select! {
            biased;
            received = handshake::receive(socket, self.parts.tls.as_deref(), plaintext, deadline) => received,
            () = stop.asked() => Err(SessionError::Stopping),
        };
        match received {
            Ok(Request::Cancel { pid, key }) => {
                // The protocol has no answer to it, whether the key is right or not.
                if let Some(canceller) = self.registry.find(pid, &key)
                    && let Err(error) = canceller.cancel().await
                {
                    tracing::warn!(%peer, %error, "a cancel request could not be passed on");
                }
            }
            Ok(Request::Session { mut stream, start }) => {
                if let Err(error) = self.session(&mut stream, start, peer, slot, stop, deadline).await {
                    handshake::refuse(&mut stream, &error).await;
                }
            }
            Err(error) => self.failed(peer, &error),
        }
    }

    fn failed(&self, peer: SocketAddr, error: &SessionError) {
        self.parts.gate.metrics().connection_failed(PROTOCOL, error.kind());
        tracing::debug!(%peer, protocol = PROTOCOL, error = %sluicegate_core::Chain(error), "connection ended");
    }

    /// Admits a client and serves its session; an error is noted.
    async fn session(
        &self,
        stream: &mut MaybeTls,
        start: Start,
        peer: SocketAddr,
        slot: Slot,
        mut stop: Stop,
        deadline: Instant,
    ) -> Result<(), SessionError> {
        let before = self.targets.load_full();
        let admitted = handshake::admit(stream, start, peer, &self.parts.gate, &self.analyser);
        let admitted = tokio::select! {
            biased;
            admitted = admitted => admitted,
            () = stop.asked() => Err(SessionError::Stopping),
            () = tokio::time::sleep_until(deadline) => Err(SessionError::Timeout),
        };
        let (permit, gated, params) = admitted.inspect_err(|error| self.failed(peer, error))?;
        slot.admitted();
        // Boxed, so that what a session keeps is not in the connection's future from the start.
        let session = gated.session().id;
        let admitted = Box::pin(self.admitted(stream, before, permit, gated, params, stop));
        let ended = scope::in_session(session, async { admitted.await.inspect_err(|error| self.failed(peer, error)) });
        ended.await
    }

    /// Serves an admitted client; `before` are the targets from before it was.
    async fn admitted(
        &self,
        stream: &mut MaybeTls,
        before: Arc<Targets>,
        permit: SessionPermit,
        mut gated: GatedSession,
        params: StartupParams,
        stop: Stop,
    ) -> Result<(), SessionError> {
        let targets = self.targets.load_full();
        let Some(places) = targets.get(&*gated.session().target) else {
            gated.close("the target was just removed").await;
            return Err(sluicegate_core::Refusal::Target(gated.session().target.to_string()).into());
        };
        // Where the configuration changed meanwhile, the identity may not be who has that name now.
        let reuse = Arc::ptr_eq(&before, &targets);
        let began = Instant::now();
        let dialled = upstream::dial(permit, places, &params, reuse).await;
        let metrics = gated.metrics().target();
        let (place, upstream, lease) = match dialled {
            Ok(dialled) => {
                metrics.dialled(began.elapsed());
                dialled
            }
            Err(error) => {
                metrics.dial_failed(error.kind());
                tracing::warn!(error = %sluicegate_core::Chain(&error), "the target cannot be used");
                gated.close("the target could not be reached").await;
                return Err(error.into());
            }
        };
        let (shared, reading) = (Arc::clone(&place.shared), lease.as_ref().map(Lease::reading));
        let machine = Machine::new(gated, shared, upstream.parameters.clone(), &params.settings, reading);
        let limits = place.route.target().limits();
        let ended = session::run(stream, upstream, lease, machine, &self.registry, limits, stop).await;
        if let Err(error) = &ended
            && error.is_targets_doing()
        {
            tracing::warn!(error = %sluicegate_core::Chain(error), "the target cut the session off");
        }
        ended
    }
}
