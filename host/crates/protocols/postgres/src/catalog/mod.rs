//! The target's catalog, kept for its sessions. It is read over a connection of the gateway's own,
//! the one exception to the rule that dialling takes a session's permit: nothing from a client
//! travels on it, only the queries in this folder. Where the catalog cannot be read the session is
//! told so and denies; nothing is guessed.

mod fingerprint;
mod load;
mod rule;
mod side;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use sluicegate_sql::catalog::Catalog;
use tokio::sync::Mutex;

pub use self::fingerprint::Fingerprint;
pub(crate) use self::fingerprint::short_hash;
use self::side::Side;
use crate::{config::Target, upstream::DialError};

/// How long a catalog is used without asking whether it changed.
const TTL: Duration = Duration::from_secs(10);
/// How long checking and loading may take together.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a failure is everybody's answer, so that sessions do not queue up to fail one by one.
const FAILURE_TTL: Duration = Duration::from_secs(1);
/// How long a catalog is used after its last check while there is no connection to check it over.
const OUTAGE: Duration = Duration::from_secs(60);
/// How long the connection is kept unused.
const IDLE: Duration = Duration::from_secs(60);

/// too_many_connections, which is also a role's or a database's CONNECTION LIMIT, admin_shutdown and
/// cannot_connect_now. <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const NO_CONNECTION: &[&str] = &["53300", "57P01", "57P03"];

/// Why the catalog is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the target's catalog cannot be read")]
pub struct CatalogError(#[source] Arc<Cause>);

/// The cause, for the log.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The connection failed, or the server refused a query.
    #[error("the catalog connection failed")]
    Connection(#[from] DialError),
    /// There is more of something than is held in memory.
    #[error("the target has more than {limit} {what}; the gateway does not hold a catalog of that size")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// An answer is not what the query asks for.
    #[error("the target's answer to a catalog query is not understood: {0}")]
    Answer(&'static str),
    /// It took too long.
    #[error("the catalog was not read within {} seconds", LOAD_TIMEOUT.as_secs())]
    Timeout,
}

impl Cause {
    /// Whether there was merely no connection to be had: nothing speaks against what was known.
    fn is_outage(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Connection(DialError::Refused { code, .. }) => NO_CONNECTION.contains(&code.as_str()),
            Self::Connection(error) => matches!(
                error,
                DialError::Resolve(..)
                    | DialError::Connect(..)
                    | DialError::Timeout(_)
                    | DialError::Io(_)
                    | DialError::Secret(_)
            ),
            Self::TooLarge { .. } | Self::Answer(_) => false,
        }
    }
}

/// One target's catalog. Cheap to clone; the clones share it.
#[derive(Clone)]
pub struct CatalogCache {
    shared: Arc<Shared>,
}

struct Shared {
    target: Arc<Target>,
    current: ArcSwapOption<Known>,
    /// Counts the calls of `invalidate`.
    epoch: AtomicU64,
    /// Whether the last check failed for want of a connection alone, and the catalog was used on.
    outage: AtomicBool,
    loader: Mutex<Loader>,
}

/// A catalog, and when it was last known to be the target's.
#[derive(Debug)]
pub struct Known {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// What tells it from others, with what it does not hold itself.
    pub fingerprint: Arc<Fingerprint>,
    checked: Instant,
    epoch: u64,
}

#[derive(Default)]
struct Loader {
    side: Option<Side>,
    used: Option<Instant>,
    closer_runs: bool,
    failure: Option<(Instant, CatalogError)>,
}

impl CatalogCache {
    /// A cache that has read nothing yet.
    pub fn new(target: Arc<Target>) -> Self {
        let (current, epoch, outage, loader) = Default::default();
        Self { shared: Arc::new(Shared { target, current, epoch, outage, loader }) }
    }

    /// The catalog as of at most 10 seconds ago, or 60 while the target has no connection to check it
    /// over, and never older than the last [`Self::invalidate`]. It is loaded once for all who wait; it
    /// is a new one, with a new generation, only if something in it changed. Takes at most 30 seconds
    /// for each of those ahead. Cancel-safe.
    pub async fn get(&self) -> Result<Arc<Catalog>, CatalogError> {
        Ok(Arc::clone(&self.known().await?.catalog))
    }

    /// The same, with its fingerprint.
    pub async fn known(&self) -> Result<Arc<Known>, CatalogError> {
        match self.shared.fresh() {
            Some(known) => Ok(known),
            // Seldom, and with much to keep in mind meanwhile.
            None => Box::pin(self.checked()).await,
        }
    }

    async fn checked(&self) -> Result<Arc<Known>, CatalogError> {
        let mut loader = match self.shared.loader.try_lock() {
            Ok(loader) => loader,
            // In an outage one waits for the target, and the others need not.
            Err(_) => match self.shared.bridged() {
                Some(known) => return Ok(known),
                None => self.shared.loader.lock().await,
            },
        };
        if let Some(known) = self.shared.fresh() {
            return Ok(known);
        }
        if let Some((at, failure)) = &loader.failure
            && at.elapsed() < FAILURE_TTL
        {
            return self.shared.bridged().ok_or_else(|| failure.clone());
        }
        let refreshed = tokio::time::timeout(LOAD_TIMEOUT, self.shared.refresh(&mut loader)).await;
        match refreshed.unwrap_or(Err(Cause::Timeout)) {
            Ok(known) => {
                loader.failure = None;
                self.shared.outage_ended();
                self.close_when_idle(&mut loader);
                Ok(known)
            }
            Err(cause) => {
                let error = CatalogError(Arc::new(cause));
                loader.failure = Some((Instant::now(), error.clone()));
                self.shared.outage(&error).ok_or_else(|| {
                    tracing::error!(error = %sluicegate_core::Chain(&error), "catalog not loaded");
                    error
                })
            }
        }
    }

    /// Says that the target's catalog may have changed: the next `get` checks. A change that is not
    /// yet committed cannot be seen by it.
    pub fn invalidate(&self) {
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn close_when_idle(&self, loader: &mut Loader) {
        loader.used = Some(Instant::now());
        if !std::mem::replace(&mut loader.closer_runs, true) {
            tokio::spawn(close_when_idle(Arc::downgrade(&self.shared)));
        }
    }
}

impl Shared {
    fn fresh(&self) -> Option<Arc<Known>> {
        self.known_for(TTL)
    }

    /// What is used while an outage lasts.
    fn bridged(&self) -> Option<Arc<Known>> {
        if self.outage.load(Ordering::Acquire) { self.known_for(OUTAGE) } else { None }
    }

    /// A check failed. If it was for want of a connection, what was known is used on for a while.
    fn outage(&self, error: &CatalogError) -> Option<Arc<Known>> {
        if !error.0.is_outage() {
            return None;
        }
        let known = self.known_for(OUTAGE)?;
        if !self.outage.swap(true, Ordering::AcqRel) {
            let error = sluicegate_core::Chain(error);
            tracing::warn!(%error, limit = ?OUTAGE, "the target's catalog cannot be checked, and is used on for a while as it was");
        }
        Some(known)
    }

    fn outage_ended(&self) {
        if self.outage.swap(false, Ordering::AcqRel) {
            tracing::info!("the target's catalog can be checked again");
        }
    }

    /// The catalog, if its last check is no longer ago than this. One that a session said it may have
    /// changed is never used: that session could have replaced a view.
    fn known_for(&self, limit: Duration) -> Option<Arc<Known>> {
        let known = self.current.load_full()?;
        let valid = known.epoch == self.epoch.load(Ordering::Acquire) && known.checked.elapsed() < limit;
        valid.then_some(known)
    }

    /// The connection is out of the loader while it works, so that a failure or a dropped call leaves
    /// none behind that is in the middle of something.
    async fn refresh(&self, loader: &mut Loader) -> Result<Arc<Known>, Cause> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let checked = Instant::now();
        let mut side = match loader.side.take() {
            Some(side) => side.or_new(&self.target).await?,
            None => Side::open(&self.target).await?,
        };
        let before = self.current.load_full();
        let fingerprint = fingerprint::read(&mut side).await?;
        let (catalog, fingerprint) = match before {
            Some(known) if *known.fingerprint == fingerprint => (Arc::clone(&known.catalog), fingerprint),
            _ => {
                let (catalog, fingerprint) = load::catalog(&mut side).await?;
                (Arc::new(catalog), fingerprint)
            }
        };
        loader.side = Some(side);
        let known = Arc::new(Known { catalog, fingerprint: Arc::new(fingerprint), checked, epoch });
        self.current.store(Some(Arc::clone(&known)));
        Ok(known)
    }
}

async fn close_when_idle(shared: Weak<Shared>) {
    let mut wait = IDLE;
    loop {
        tokio::time::sleep(wait).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut loader = shared.loader.lock().await;
        let unused = loader.used.map_or(IDLE, |used| used.elapsed());
        if unused >= IDLE {
            loader.closer_runs = false;
            if let Some(side) = loader.side.take() {
                side.close().await;
            }
            return;
        }
        wait = IDLE - unused;
    }
}
