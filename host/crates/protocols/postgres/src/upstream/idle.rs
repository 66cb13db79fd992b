//! Connections that outlive the session they were made for, where the target's `reuse` asks for that. Each
//! waits for another session of the very same identity that starts with the same settings; nobody else
//! can ever get it. When the configuration changes, none is used any more.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use sluicegate_core::{Identity, Session};

use super::{
    StartupParams, Upstream,
    handover::{self, Reading},
};

/// The most connections that wait for one identity.
const MAX_OF_OWNER: usize = 16;
/// The most connections that wait at one address.
const MAX_WAITING: usize = 64;
/// How long a connection is used in all, so that what changes for the target's role comes into force.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long the server may take to reset a session, or to begin the next one.
pub(super) const HANDOVER: Duration = Duration::from_secs(2);

/// Whose a connection is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Owner {
    identity: Identity,
    settings: Vec<(String, String)>,
}

impl Owner {
    pub(super) fn new(session: &Session, startup: &StartupParams) -> Self {
        Self { identity: session.identity.clone(), settings: startup.settings.clone() }
    }
}

/// What a session's connection brings with it that may wait for the next session.
pub struct Lease {
    idle: Weak<Idle>,
    owner: Owner,
    born: Instant,
    /// How texts are read in a session that has changed nothing.
    reading: Reading,
}

impl Lease {
    pub(super) fn new(idle: &Arc<Idle>, owner: Owner, reading: Reading) -> Self {
        Self { idle: Arc::downgrade(idle), owner, born: Instant::now(), reading }
    }

    /// How texts are read in a session that has changed nothing.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Has the server forget what the session did, and keeps its connection, which must be idle and outside
    /// a transaction. Where that fails, or there is no room, the connection ends. Takes some seconds at most.
    pub async fn give_back(self, mut upstream: Upstream) {
        let Some(idle) = self.idle.upgrade().filter(|idle| idle.has_room(&self)) else { return };
        match tokio::time::timeout(HANDOVER, handover::reset(&mut upstream)).await {
            Ok(Ok(())) => idle.keep(self, upstream),
            Ok(Err(error)) => {
                tracing::debug!(error = %sluicegate_core::Chain(&error), "a connection to the target is not kept");
            }
            Err(_) => tracing::debug!("a connection to the target is not kept: it took too long to reset it"),
        }
    }
}

/// The connections that wait at one address of a target.
pub(super) struct Idle {
    /// How long each may wait.
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    closed: bool,
    sweeper_runs: bool,
}

struct Waiting {
    lease: Lease,
    upstream: Upstream,
    since: Instant,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of this owner that was used last.
    pub(super) fn take(&self, owner: &Owner) -> Option<(Lease, Upstream)> {
        let mut state = self.state();
        let is_mine = |one: &Waiting| one.lease.owner == *owner && one.since.elapsed() < self.limit;
        let index = state.waiting.iter().rposition(is_mine)?;
        let Waiting { lease, upstream, .. } = state.waiting.remove(index);
        Some((lease, upstream))
    }

    /// Ends all that wait.
    pub(super) fn clear(&self) {
        self.state().waiting.clear();
    }

    /// Ends all that wait, and lets none wait from now on.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
    }

    fn has_room(&self, lease: &Lease) -> bool {
        self.state().has_room(lease)
    }

    fn keep(self: &Arc<Self>, lease: Lease, upstream: Upstream) {
        let mut state = self.state();
        // There may have come others while this one was reset.
        if !state.has_room(&lease) {
            return;
        }
        state.waiting.push(Waiting { lease, upstream, since: Instant::now() });
        if !std::mem::replace(&mut state.sweeper_runs, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.limit));
        }
    }

    /// Ends those that waited too long. Returns whether others wait.
    fn sweep(&self) -> bool {
        let mut state = self.state();
        state.waiting.retain(|one| one.since.elapsed() < self.limit);
        state.sweeper_runs = !state.waiting.is_empty();
        state.sweeper_runs
    }
}

impl State {
    fn has_room(&self, lease: &Lease) -> bool {
        let of_owner = self.waiting.iter().filter(|one| one.lease.owner == lease.owner).count();
        let room = of_owner < MAX_OF_OWNER && self.waiting.len() < MAX_WAITING;
        room && !self.closed && lease.born.elapsed() < LIFETIME
    }
}

async fn sweep(idle: Weak<Idle>, limit: Duration) {
    loop {
        tokio::time::sleep(limit).await;
        if !idle.upgrade().is_some_and(|idle| idle.sweep()) {
            return;
        }
    }
}
