//! Tells of refused connections, so that a flood of them does not flood the log.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Limits, ProxyError, slot::Full};

/// Each kind is reported at most this often.
const PAUSE: Duration = Duration::from_secs(1);

/// The refused connections of one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Refused {
    name: &'static str,
    limits: Limits,
    surplus: Arc<Mutex<Count>>,
    proxied: Arc<Mutex<Count>>,
}

impl Refused {
    pub(crate) fn new(name: &'static str, limits: Limits) -> Self {
        Self { name, limits, surplus: Arc::default(), proxied: Arc::default() }
    }

    /// One for which there is no place.
    pub(crate) fn full(&self, peer: SocketAddr, full: Full) {
        let (name, Limits { max_connections, max_starting, .. }) = (self.name, self.limits);
        let Some(refused) = one_more(&self.surplus) else { return };
        match full {
            Full::Connections => {
                tracing::warn!(protocol = name, %peer, refused, max_connections, "too many connections: refused");
            }
            Full::Starting => {
                tracing::warn!(protocol = name, %peer, refused, max_starting, "too many connections that have not logged in: refused");
            }
            Full::Network => {
                tracing::warn!(protocol = name, %peer, refused, max_starting, "half of the places to log in are taken from one address: refused");
            }
        }
    }

    /// One whose beginning does not say who it is from.
    pub(crate) fn header(&self, peer: SocketAddr, error: &ProxyError) {
        // A proxy that looks whether somebody listens connects and goes.
        if matches!(error, ProxyError::Broke(_)) {
            tracing::debug!(protocol = self.name, %peer, %error, "connection refused");
        } else if let Some(refused) = one_more(&self.proxied) {
            tracing::warn!(protocol = self.name, %peer, refused, why = %error, "connection refused");
        }
    }
}

#[derive(Default)]
struct Count {
    unreported: u64,
    reported: Option<Instant>,
}

/// Counts one. Returns how many there were since the last report where there is to be another.
fn one_more(count: &Mutex<Count>) -> Option<u64> {
    let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
    count.unreported += 1;
    if count.reported.is_some_and(|at| at.elapsed() < PAUSE) {
        return None;
    }
    count.reported = Some(Instant::now());
    Some(std::mem::take(&mut count.unreported))
}
