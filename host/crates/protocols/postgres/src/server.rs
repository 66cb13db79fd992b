//! Serves PostgreSQL clients on a listener: each connection is received, admitted, connected to its
//! target and then moved by its session.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use arc_swap::ArcSwap;
use sluicegate_core::Gate;
use sluicegate_net::{Listener, MaybeTls, ServerTls, Slot, Stop};
use sluicegate_sql::{Analyser, Limits};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    HashKey, PROTOCOL,
    catalog::CatalogCache,
    config::Target,
    error::SessionError,
    handshake::{self, Request, Start},
    machine::{Machine, Shared},
    registry::Registry,
    session, upstream,
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

/// What is dialled and what is shared, by the target's name.
type Targets = HashMap<String, (Arc<Target>, Arc<Shared>)>;

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

    /// Replaces the targets, by name. Open sessions keep theirs; a target that did not change keeps
    /// what is known of its catalog.
    pub fn set_targets(&self, targets: HashMap<String, Target>) {
        let former = self.targets.load();
        let next = targets.into_iter().map(|(name, target)| {
            let same = former.get(&name).filter(|(old, _)| old.config() == target.config());
            let entry = match same {
                // Its authorities' file may have changed all the same.
                Some((_, shared)) => (Arc::new(target), Arc::clone(shared)),
                None => {
                    let target = Arc::new(target);
                    let config = target.config();
                    let dialled = format!("{} at {} as {}", config.database, config.address, config.username);
                    let shared = Shared {
                        analyser: Arc::clone(&self.analyser),
                        catalogs: Arc::new(CatalogCache::new(Arc::clone(&target))),
                        hash_key: Arc::clone(&self.parts.hash_key),
                        hold_in_transaction: config.hold_in_transaction,
                        dialled: Arc::from(dialled),
                        uncommitted: AtomicUsize::new(0),
                    };
                    (target, Arc::new(shared))
                }
            };
            (name, entry)
        });
        self.targets.store(Arc::new(next.collect()));
    }

    /// Serves until stopping is asked for.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: Stop) {
        listener
            .run(stop, |socket, peer, slot, stop| {
                let server = Arc::clone(&self);
                async move { server.connection(socket, peer, slot, stop).await }
            })
            .await;
    }

    async fn connection(&self, socket: TcpStream, peer: SocketAddr, slot: Slot, stop: Stop) {
        let plaintext = self.parts.allow_plaintext || peer.ip().to_canonical().is_loopback();
        let deadline = Instant::now() + START_TIMEOUT;
        match handshake::receive(socket, self.parts.tls.as_deref(), plaintext, deadline).await {
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
                    tracing::debug!(%peer, error = %sluicegate_core::Chain(&error), "connection ended");
                    handshake::refuse(&mut stream, &error).await;
                }
            }
            Err(error) => {
                tracing::debug!(%peer, protocol = PROTOCOL, error = %sluicegate_core::Chain(&error), "connection refused");
            }
        }
    }

    async fn session(
        &self,
        stream: &mut MaybeTls,
        start: Start,
        peer: SocketAddr,
        slot: Slot,
        stop: Stop,
        deadline: Instant,
    ) -> Result<(), SessionError> {
        let admitted = handshake::admit(stream, start, peer, &self.parts.gate, &self.analyser);
        let admitted = tokio::time::timeout_at(deadline, admitted).await;
        let (permit, mut gated, params) = admitted.map_err(|_| SessionError::Timeout)??;
        slot.admitted();
        let targets = self.targets.load_full();
        let Some((target, shared)) = targets.get(&*gated.session().target) else {
            gated.close("the target was just removed").await;
            return Err(sluicegate_core::Refusal::Target(gated.session().target.to_string()).into());
        };
        let session = gated.session().id;
        let started = params.settings.clone();
        let upstream = match upstream::dial(permit, target, params).await {
            Ok(upstream) => upstream,
            Err(error) => {
                tracing::warn!(%session, error = %sluicegate_core::Chain(&error), "the target cannot be used");
                gated.close("the target could not be reached").await;
                return Err(error.into());
            }
        };
        let machine = Machine::new(gated, Arc::clone(shared), &upstream.parameters, &started);
        let ended = session::run(stream, upstream, machine, &self.registry, stop).await;
        if let Err(error) = &ended
            && error.is_targets_doing()
        {
            tracing::warn!(%session, error = %sluicegate_core::Chain(error), "the target cut the session off");
        }
        ended
    }
}
