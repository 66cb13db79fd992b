//! The places that a listener has, so that nobody who has not yet said who they are can keep out
//! those who have: connections that only begin have fewer places, and no network has most of those.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::Limits;

/// The place of one connection, which begins until its peer is admitted. Cheap to clone.
#[derive(Clone)]
pub struct Slot(Arc<Place>);

impl Slot {
    /// Says that the peer proved who it is: from now on the connection counts among all alone, and
    /// leaves its place among those that begin to another. Further calls do nothing.
    pub fn admitted(&self) {
        self.0.begun();
    }

    /// Says where the peer comes from, who took a place before that was known.
    pub(crate) fn comes_from(&self, peer: IpAddr) -> Result<(), Full> {
        let network = network(peer);
        lock(&self.0.taken).begin_from(network, self.0.share)?;
        // Said once: whoever begins is handled only after this.
        let _ = self.0.network.set(network);
        Ok(())
    }
}

/// All places of one listener.
pub(crate) struct Slots {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

/// Which bound a connection met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Connections,
    Starting,
    Network,
}

#[derive(Default)]
struct Taken {
    open: usize,
    starting: usize,
    /// Those that begin, by the network they come from.
    by_network: HashMap<IpAddr, usize>,
}

struct Place {
    taken: Arc<Mutex<Taken>>,
    /// How many places to begin one network has at most.
    share: usize,
    network: OnceLock<IpAddr>,
    begins: AtomicBool,
}

impl Slots {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// A place for a connection, which it has until the last clone is dropped. Where its peer's address is
    /// not known yet, [`Slot::comes_from`] must follow.
    pub(crate) fn take(&self, peer: Option<IpAddr>) -> Result<Slot, Full> {
        let share = self.limits.max_starting.div_ceil(2);
        let mut taken = lock(&self.taken);
        if taken.open >= self.limits.max_connections {
            return Err(Full::Connections);
        }
        if taken.starting >= self.limits.max_starting {
            return Err(Full::Starting);
        }
        let network = peer.map(network);
        if let Some(network) = network {
            taken.begin_from(network, share)?;
        }
        taken.open += 1;
        taken.starting += 1;
        let network = network.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Slot(Arc::new(Place { taken: Arc::clone(&self.taken), share, network, begins: AtomicBool::new(true) })))
    }
}

impl Taken {
    fn begin_from(&mut self, network: IpAddr, share: usize) -> Result<(), Full> {
        let starting = self.by_network.get(&network).copied().unwrap_or_default();
        if starting >= share {
            return Err(Full::Network);
        }
        self.by_network.insert(network, starting + 1);
        Ok(())
    }
}

impl Place {
    fn begun(&self) {
        if !self.begins.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut taken = lock(&self.taken);
        taken.starting = taken.starting.saturating_sub(1);
        if let Some(network) = self.network.get()
            && let Some(starting) = taken.by_network.get_mut(network)
        {
            *starting = starting.saturating_sub(1);
            if *starting == 0 {
                taken.by_network.remove(network);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.begun();
        let mut taken = lock(&self.taken);
        taken.open = taken.open.saturating_sub(1);
    }
}

/// What one party commonly has: an IPv4 address, or the /64 of an IPv6 address.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// The counts hold whatever happened to somebody else who held them.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn slots() -> Slots {
        Slots::new(Limits { max_connections: 6, max_starting: 4, grace: Duration::ZERO })
    }

    fn take(slots: &Slots, peer: &str) -> Result<Slot, Full> {
        slots.take(Some(peer.parse().unwrap()))
    }

    #[test]
    fn nobody_has_more_than_half_of_the_places_to_begin() {
        let slots = slots();
        let mut silent: Vec<_> = ["2001:db8::1", "2001:db8::2"].map(|peer| take(&slots, peer)).into();
        assert_eq!(take(&slots, "2001:db8::3").err(), Some(Full::Network));
        silent.extend(["::ffff:192.0.2.1", "192.0.2.1"].map(|peer| take(&slots, peer)));
        assert!(silent.iter().all(Result::is_ok));
        assert_eq!(take(&slots, "192.0.2.2").err(), Some(Full::Starting));
        silent.pop();
        assert!(take(&slots, "192.0.2.1").is_ok());
    }

    #[test]
    fn the_admitted_make_room_for_others_to_begin_until_all_places_are_taken() {
        let slots = slots();
        let mut open = Vec::new();
        for _ in 0..6 {
            let slot = take(&slots, "192.0.2.1").ok().unwrap();
            slot.admitted();
            slot.admitted();
            open.push(slot);
        }
        assert_eq!(take(&slots, "192.0.2.1").err(), Some(Full::Connections));
        open.clear();
        let taken = lock(&slots.taken);
        assert_eq!((taken.open, taken.starting, taken.by_network.len()), (0, 0, 0));
    }

    #[test]
    fn clients_of_a_proxy_count_by_their_own_address() {
        let slots = slots();
        let behind_proxy = |client: &str| {
            let slot = slots.take(None)?;
            slot.comes_from(client.parse().unwrap())?;
            Ok::<_, Full>(slot)
        };
        let mut open: Vec<_> = ["192.0.2.1", "192.0.2.1"].map(|client| behind_proxy(client).ok().unwrap()).into();
        assert_eq!(behind_proxy("192.0.2.1").err(), Some(Full::Network));
        open.push(behind_proxy("192.0.2.2").ok().unwrap());
        open.push(slots.take(None).ok().unwrap());
        assert_eq!(behind_proxy("192.0.2.3").err(), Some(Full::Starting));
        open.iter().for_each(Slot::admitted);
        open.clear();
        let taken = lock(&slots.taken);
        assert_eq!((taken.open, taken.starting, taken.by_network.len()), (0, 0, 0));
    }
}
