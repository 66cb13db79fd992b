//! The sessions that are open now, each with the word that ends it once it may not go on.

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::Notify;

use super::Access;
use crate::{admission::Session, identity::Basis};

/// Why a session that was let in may not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Whoever it was is not that any more.
    #[error("the user was removed, has another secret or has lost a group")]
    Identity,
    /// The token is over, and its issuer's sessions end with it.
    #[error("the token that opened the session is over")]
    Token,
    /// The ticket is over.
    #[error("the ticket that opened the session is over, was revoked, or whoever had it issued may not any more")]
    Ticket,
    /// A role is over, or is not one for the target any more.
    #[error("the role `{0}` on the target is over or was taken away")]
    Role(String),
    /// The rules changed.
    #[error("the target's rules do not let the user in any more")]
    Rules,
}

/// One session that was let in.
pub(super) struct Live {
    pub session: Arc<Session>,
    pub basis: Basis,
    /// When the decision has to be made again, in milliseconds since the Unix epoch.
    until: AtomicI64,
    lost: OnceLock<Lost>,
    told: Notify,
}

impl Live {
    pub(super) fn new(session: Arc<Session>, basis: Basis, until: Option<i64>) -> Self {
        let until = AtomicI64::new(until.unwrap_or(i64::MAX));
        Self { session, basis, until, lost: OnceLock::new(), told: Notify::new() }
    }

    pub(super) fn is_due(&self, now: i64) -> bool {
        self.until.load(Ordering::Relaxed) <= now
    }

    /// Takes in what the decision came to now. The first loss counts.
    pub(super) fn decided(&self, decision: Result<Option<i64>, Lost>) {
        match decision {
            Ok(until) => self.until.store(until.unwrap_or(i64::MAX), Ordering::Relaxed),
            Err(lost) => {
                self.until.store(i64::MAX, Ordering::Relaxed);
                if self.lost.set(lost.clone()).is_ok() {
                    let session = self.session.id;
                    tracing::info!(%session, user = self.session.identity.user, why = %lost, "a session's access ended");
                    self.told.notify_one();
                }
            }
        }
    }
}

/// A session's place among those that are open; it is free when this is dropped.
pub(crate) struct Seat {
    pub(super) access: Weak<Access>,
    pub(super) live: Arc<Live>,
}

impl Seat {
    /// Why the session may not go on, if so.
    pub(crate) fn lost(&self) -> Option<&Lost> {
        self.live.lost.get()
    }

    /// Hears whether the session may go on.
    pub(crate) fn standing(&self) -> Standing {
        Standing(Arc::clone(&self.live))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(access) = self.access.upgrade() {
            access.live().remove(&self.live.session.id);
        }
    }
}

/// Whether a session may go on, for the one who serves it.
pub struct Standing(Arc<Live>);

impl Standing {
    /// Why it may not, if so. Costs one load.
    pub fn lost(&self) -> Option<&Lost> {
        self.0.lost.get()
    }

    /// Waits until it may not. Cancel-safe; for one waiter at a time.
    pub async fn until_lost(&self) -> Lost {
        loop {
            if let Some(lost) = self.lost() {
                return lost.clone();
            }
            self.0.told.notified().await;
        }
    }
}
