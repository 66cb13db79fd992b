//! The life of what Vault lends: it is renewed at about half of its time while its connection lives, and given
//! back when that ends, whatever the end was. Whoever holds a [`VaultLease`] is told shortly before it is over, so
//! as to end in good order before the target's own surprise.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use sluicegate_core::{Chain, secret::VaultPath};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Loan, Vault};
use crate::{SecretError, VaultFault, spawn};

/// How often giving something back is tried.
const TRIES: u32 = 4;
/// The wait after the first try; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long giving back everything may take when the gateway stops.
const CLOSING: Duration = Duration::from_secs(10);
/// A lease is over for its holder a tenth of its time before it is for Vault, within these bounds.
const SHORTEST_MARGIN: Duration = Duration::from_secs(1);
const LONGEST_MARGIN: Duration = Duration::from_secs(30);
/// Time that a renewal has to add, for there to be another one.
const WORTHWHILE: Duration = Duration::from_secs(1);

/// A user name and a password, lent.
pub struct Lent {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// For how long: until this is dropped, or over.
    pub lease: VaultLease,
}

/// What was lent for one connection. Dropping it gives it back.
pub struct VaultLease {
    over: watch::Receiver<bool>,
    _held: oneshot::Sender<()>,
}

impl VaultLease {
    /// Whether it is about to be over.
    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until it is about to be over: a second to half a minute before what was lent ends. Cancel-safe.
    pub async fn over(&self) {
        if self.over.clone().wait_for(|over| *over).await.is_err() {
            // It was given back, because the gateway stops.
            std::future::pending::<()>().await;
        }
    }
}

/// All that is lent now.
#[derive(Default)]
pub(crate) struct Leases {
    ids: watch::Sender<BTreeSet<String>>,
    closing: watch::Sender<bool>,
    /// How often something was asked for.
    asked: AtomicU64,
}

impl Leases {
    /// Has something lent, and sees to it from then on. Not cancel-safe: what Vault lends to a caller who goes
    /// away is held until Vault ends it.
    pub async fn lend(self: &Arc<Self>, vault: Arc<Vault>, path: &VaultPath) -> Result<Lent, SecretError> {
        let asked = Instant::now();
        // Counts from now on, so that nobody who waits for all of it misses what is on its way.
        let coming = format!("{path}, asked for as number {}", self.asked.fetch_add(1, Ordering::Relaxed));
        self.ids.send_if_modified(|ids| ids.insert(coming.clone()));
        let lent = vault.lend(path).await;
        if let Ok(loan) = &lent {
            self.ids.send_if_modified(|ids| ids.insert(loan.id.clone()));
        }
        self.ids.send_if_modified(|ids| ids.remove(&coming));
        let Loan { id, time, renewable, username, password } =
            lent.map_err(|fault| SecretError::Vault { path: path.clone(), fault })?;
        tracing::debug!(lease = id, user = username, ?time, "Vault lent credentials");
        let margin = (time / 10).clamp(SHORTEST_MARGIN, LONGEST_MARGIN);
        let (tell, over) = watch::channel(false);
        let (held, dropped) = oneshot::channel();
        let keeper = Keeper { vault, id, first: time, until: asked + time, margin, renewable };
        spawn(keeper.keep(Arc::clone(self), tell, dropped));
        Ok(Lent { username, password, lease: VaultLease { over, _held: held } })
    }

    /// Gives everything back, and returns when that is done or took too long.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let mut ids = self.ids.subscribe();
        let all = timeout(CLOSING, ids.wait_for(BTreeSet::is_empty)).await.is_ok();
        if !all {
            for lease in &*self.ids.borrow() {
                tracing::error!(lease, "{NOT_REVOKED}: the gateway stops");
            }
        }
    }
}

/// What is said where something is not given back; the id is no secret.
const NOT_REVOKED: &str = "a lease could not be revoked, so that it ends by its own time; `vault lease revoke` ends it";

/// Sees to one lease.
struct Keeper {
    vault: Arc<Vault>,
    id: String,
    /// How much time there was at first.
    first: Duration,
    /// When Vault ends it.
    until: Instant,
    margin: Duration,
    renewable: bool,
}

impl Keeper {
    async fn keep(mut self, leases: Arc<Leases>, over: watch::Sender<bool>, dropped: oneshot::Receiver<()>) {
        let mut closing = leases.closing.subscribe();
        tokio::select! {
            _ = dropped => {}
            _ = closing.wait_for(|closing| *closing) => {}
            () = self.renew_until_over(&over) => {}
        }
        // Before it is given back: nobody is to be told that it is over, for it ends by itself.
        drop(over);
        self.give_back().await;
        leases.ids.send_if_modified(|ids| ids.remove(&self.id));
    }

    /// Says when it is about to be over; never returns.
    async fn renew_until_over(&mut self, over: &watch::Sender<bool>) {
        loop {
            let (now, last) = (Instant::now(), self.last());
            if now >= last {
                tracing::warn!(lease = self.id, "a lease is about to be over, and with it its connection");
                over.send_replace(true);
                return std::future::pending().await;
            }
            if !self.renewable {
                sleep_until(last).await;
                continue;
            }
            sleep_until((now + (last - now) / 2).max(now + SHORTEST_MARGIN).min(last)).await;
            if Instant::now() < last {
                self.renew().await;
            }
        }
    }

    /// When it is over for its holder.
    fn last(&self) -> Instant {
        self.until.checked_sub(self.margin).unwrap_or(self.until)
    }

    async fn renew(&mut self) {
        let asked = Instant::now();
        match self.vault.renew(&self.id, self.first).await {
            Ok((time, renewable)) => {
                let until = asked + time;
                let longer = until > self.until + WORTHWHILE;
                tracing::debug!(lease = self.id, ?time, "a lease was renewed");
                if !(longer && renewable) {
                    tracing::info!(lease = self.id, left = ?time, "a lease has reached its longest time");
                }
                (self.until, self.renewable) = (until, longer && renewable);
            }
            // There is no such lease any more: somebody has revoked it, or what it was given by.
            Err(VaultFault::Gone) => {
                tracing::warn!(lease = self.id, "a lease is gone before its time");
                self.until = Instant::now();
            }
            Err(error) => {
                let (error, left) = (Chain(&error).to_string(), self.until.saturating_duration_since(Instant::now()));
                tracing::warn!(lease = self.id, error, ?left, "a lease could not be renewed; it is tried again");
            }
        }
    }

    async fn give_back(&self) {
        for tried in 1..=TRIES {
            // At last it is left to Vault, whose database may be away.
            match self.vault.revoke(&self.id, tried < TRIES).await {
                Ok(()) if tried < TRIES => {
                    tracing::debug!(lease = self.id, "a lease was revoked");
                    return;
                }
                Ok(()) => {
                    tracing::warn!(
                        lease = self.id,
                        "it is left to Vault to revoke a lease, since it could not be seen to"
                    );
                    return;
                }
                Err(error) if tried == TRIES => {
                    let error = Chain(&error).to_string();
                    tracing::error!(lease = self.id, error, "{NOT_REVOKED}");
                }
                Err(error) => {
                    tracing::debug!(lease = self.id, error = %Chain(&error), "a lease is not revoked yet");
                    sleep(FIRST_WAIT * 2_u32.pow(tried - 1)).await;
                }
            }
        }
    }
}
