//! Which session a CancelRequest means. Clients are told a process id and a key of the gateway's
//! own, never the target's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use subtle::ConstantTimeEq;

use crate::{
    interrupt::Interrupt,
    upstream::{CancelToken, DialError},
};

/// The key that a client is told at start-up (BackendKeyData).
#[derive(Clone, Copy)]
pub struct CancelKey {
    /// In place of the server's process id.
    pub pid: u32,
    /// In place of the server's secret key.
    pub secret: [u8; 4],
}

/// Cancels what a session does.
#[derive(Clone)]
pub struct Canceller {
    /// At the server.
    pub token: Arc<CancelToken>,
    /// While a command waits for people.
    pub interrupt: Arc<Interrupt>,
}

impl Canceller {
    /// Ends the hold if there is one, else cancels at the server. Cancel-safe.
    pub async fn cancel(&self) -> Result<(), DialError> {
        if self.interrupt.ask() { Ok(()) } else { self.token.cancel().await }
    }
}

/// Sessions by the process id that their client was told.
type Sessions = HashMap<u32, ([u8; 4], Canceller)>;

/// Every session that may be cancelled.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Sessions>>);

/// Takes the session out when dropped.
pub struct Registered {
    registry: Registry,
    /// What the client is told.
    pub key: CancelKey,
}

impl Registry {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a session under a new random key. Fails only where the system gives no randomness.
    pub fn enter(&self, canceller: Canceller) -> Result<Registered, getrandom::Error> {
        let mut sessions = self.sessions();
        loop {
            let mut random = [0_u8; 8];
            getrandom::fill(&mut random)?;
            let [a, b, c, d, secret @ ..] = random;
            // Clients read the process id as a signed number, and 0 as none.
            let pid = u32::from_be_bytes([a & 0x7f, b, c, d]);
            if pid != 0 && !sessions.contains_key(&pid) {
                sessions.insert(pid, (secret, canceller));
                let key = CancelKey { pid, secret };
                return Ok(Registered { registry: self.clone(), key });
            }
        }
    }

    /// The session that a CancelRequest means, if its key is right.
    pub fn find(&self, pid: u32, key: &[u8]) -> Option<Canceller> {
        let sessions = self.sessions();
        let (secret, canceller) = sessions.get(&pid)?;
        bool::from(secret.as_slice().ct_eq(key)).then(|| canceller.clone())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.sessions().remove(&self.key.pid);
    }
}
