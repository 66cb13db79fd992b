//! Tickets: short-lived secrets that the gateway gives out for one identity and one target. They live in memory
//! alone, as hashes, and die with the gateway.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Somebody;
use crate::{
    identity::{Basis, Proven},
    record,
};

/// What every ticket begins with, so that one that leaked is recognised.
const PREFIX: &str = "sgk_";
/// Randomness of a ticket.
const SECRET_BYTES: usize = 32;
/// How long a ticket is valid at least and at most.
pub const LIFETIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(12 * 3600);
/// Tickets of one identity that are valid at a time.
const MAX_PER_IDENTITY: usize = 100;
/// Tickets in all.
const MAX_TICKETS: usize = 10_000;

/// A ticket's id: UUID version 7, so ids sort by time. It is no secret: the record names tickets by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct TicketId(pub Uuid);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not a ticket's id.
#[derive(Debug, thiserror::Error)]
#[error("this is not a ticket's id: take one from `sluicegate ticket list`")]
pub struct TicketIdError;

impl FromStr for TicketId {
    type Err = TicketIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| TicketIdError)
    }
}

/// A ticket as listings show it: everything but its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// Whom it is for.
    pub user: String,
    /// Who had it issued.
    pub issued_by: String,
    /// The only target that it opens.
    pub target: String,
    /// Whether it opens one session and no more.
    pub once: bool,
    /// When it was issued, in milliseconds since the Unix epoch.
    pub issued_at: i64,
    /// When it ends, and with it what it opened, in milliseconds since the Unix epoch.
    pub expires_at: i64,
    /// How many sessions it has opened.
    pub uses: u64,
}

/// What is to be issued.
pub(super) struct Order<'a> {
    pub holder: Somebody,
    pub issuer: Somebody,
    pub target: &'a str,
    pub once: bool,
    pub lifetime: Duration,
    /// It ends no later than this.
    pub latest: Option<i64>,
}

/// Why no ticket is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The identity has enough of them.
    #[error("{MAX_PER_IDENTITY} tickets are valid already for this identity, and no more may be; revoke some")]
    Identity,
    /// There are enough in all.
    #[error("{MAX_TICKETS} tickets are valid at this gateway, and no more may be; try again later")]
    Full,
    /// The system has no randomness.
    #[error("the system gave no random bytes, so no ticket can be issued; see the gateway's log")]
    Random,
}

/// The tickets that are valid. One serves every listener.
#[derive(Default)]
pub struct Tickets(Mutex<Store>);

#[derive(Default)]
struct Store {
    by_id: BTreeMap<TicketId, Kept>,
    by_secret: HashMap<SecretHash, TicketId>,
}

struct Kept {
    ticket: Ticket,
    holder: Somebody,
    issuer: Somebody,
}

/// SHA-256 of a ticket. It is as hard to guess as the ticket, and does not lead back to it.
#[derive(Clone, Copy)]
struct SecretHash([u8; 32]);

/// Whether a secret is one that only a ticket could be.
pub fn is_ticket(secret: &SecretString) -> bool {
    secret.expose_secret().starts_with(PREFIX)
}

impl Tickets {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn issue(&self, order: Order<'_>) -> Result<(SecretString, Ticket), TicketError> {
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!(%error, "no ticket can be issued: the system gave no random bytes");
            TicketError::Random
        })?;
        let secret = SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)));
        let issued_at = record::now();
        let wanted = issued_at.saturating_add(i64::try_from(order.lifetime.as_millis()).unwrap_or(i64::MAX));
        let ticket = Ticket {
            id: TicketId(Uuid::now_v7()),
            user: order.holder.identity.user.clone(),
            issued_by: order.issuer.identity.user.clone(),
            target: order.target.to_owned(),
            once: order.once,
            issued_at,
            expires_at: order.latest.map_or(wanted, |latest| wanted.min(latest)),
            uses: 0,
        };
        let mut store = self.store();
        store.sweep(issued_at);
        if store.by_id.values().filter(|known| known.holder.identity.is(&order.holder.identity)).count()
            >= MAX_PER_IDENTITY
        {
            return Err(TicketError::Identity);
        }
        if store.by_id.len() >= MAX_TICKETS {
            return Err(TicketError::Full);
        }
        let (holder, issuer) = (order.holder, order.issuer);
        store.by_secret.insert(SecretHash::of(&secret), ticket.id);
        store.by_id.insert(ticket.id, Kept { ticket: ticket.clone(), holder, issuer });
        Ok((secret, ticket))
    }

    /// Whom a ticket proves who is called so; none where it is unknown, over, used up or somebody else's. The session
    /// that it opens has to redeem it.
    pub fn verify(&self, user: &str, secret: &SecretString) -> Option<Proven> {
        let store = self.store();
        let Kept { ticket, holder, .. } = store.by_id.get(store.by_secret.get(&SecretHash::of(secret))?)?;
        let is_good = ticket.user == user && ticket.is_good(record::now());
        let Somebody { identity, life } = holder.clone();
        let (expires_at, ticket) = (Some(ticket.expires_at), Some(ticket.id));
        let basis = Basis { life, expires_at, ends_sessions: true, ticket };
        is_good.then_some(Proven { identity, basis })
    }

    /// The ticket, if it was not revoked and is not over.
    pub(super) fn find(&self, id: TicketId) -> Option<Ticket> {
        let store = self.store();
        store.by_id.get(&id).map(|known| &known.ticket).filter(|ticket| ticket.expires_at > record::now()).cloned()
    }

    /// Who had it issued, if it was not revoked and is not over.
    pub(super) fn issuer(&self, id: TicketId) -> Option<Somebody> {
        let store = self.store();
        let kept = store.by_id.get(&id).filter(|known| known.ticket.expires_at > record::now())?;
        Some(kept.issuer.clone())
    }

    /// Who holds it, if it was not revoked.
    pub(super) fn holder(&self, id: TicketId) -> Option<Somebody> {
        self.store().by_id.get(&id).map(|known| known.holder.clone())
    }

    /// Takes a use of it: a session begins. Where two take the only one, one of them gets it.
    pub(super) fn redeem(&self, id: TicketId) -> bool {
        let mut store = self.store();
        let ticket = store.by_id.get_mut(&id).map(|known| &mut known.ticket);
        let Some(ticket) = ticket.filter(|ticket| ticket.is_good(record::now())) else { return false };
        ticket.uses += 1;
        true
    }

    /// Those that are not over, newest first.
    pub(super) fn list(&self) -> Vec<Ticket> {
        let mut store = self.store();
        store.sweep(record::now());
        store.by_id.values().rev().map(|known| known.ticket.clone()).collect()
    }

    pub(super) fn revoke(&self, id: TicketId) -> bool {
        let mut store = self.store();
        store.by_secret.retain(|_, known| *known != id);
        store.by_id.remove(&id).is_some()
    }
}

impl Store {
    /// Forgets the tickets that are over.
    fn sweep(&mut self, now: i64) {
        self.by_id.retain(|_, known| known.ticket.expires_at > now);
        let by_id = &self.by_id;
        self.by_secret.retain(|_, id| by_id.contains_key(id));
    }
}

impl Ticket {
    fn is_good(&self, now: i64) -> bool {
        now < self.expires_at && !(self.once && self.uses > 0)
    }
}

impl SecretHash {
    fn of(secret: &SecretString) -> Self {
        Self(Sha256::digest(secret.expose_secret().as_bytes()).into())
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl Hash for SecretHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    const MINUTE: Duration = Duration::from_secs(60);

    fn order(holder: &Identity, once: bool) -> Order<'static> {
        let holder = Somebody { identity: holder.clone(), life: 7 };
        Order { issuer: holder.clone(), holder, target: "orders", once, lifetime: MINUTE, latest: None }
    }

    #[test]
    fn a_ticket_proves_its_holder_and_nobody_else() {
        let (tickets, alice) = (Tickets::default(), Identity::builtin("alice", vec!["dba".to_owned()]));
        let (secret, ticket) = tickets.issue(order(&alice, false)).unwrap();
        assert!(is_ticket(&secret) && secret.expose_secret().len() == 47);
        let proven = tickets.verify("alice", &secret).unwrap();
        assert_eq!((proven.identity, proven.basis.ticket, proven.basis.life), (alice, Some(ticket.id), 7));
        assert_eq!(proven.basis.expires_at, Some(ticket.issued_at + 60_000));
        assert!(tickets.verify("bob", &secret).is_none());
        assert!(tickets.verify("alice", &format!("{}x", secret.expose_secret()).into()).is_none());
        assert!(tickets.revoke(ticket.id) && !tickets.revoke(ticket.id));
        assert!(tickets.verify("alice", &secret).is_none() && tickets.find(ticket.id).is_none());
    }

    #[test]
    fn a_ticket_for_one_use_has_one() {
        let (tickets, alice) = (Tickets::default(), Identity::builtin("alice", Vec::new()));
        let (secret, ticket) = tickets.issue(order(&alice, true)).unwrap();
        assert!(tickets.verify("alice", &secret).is_some(), "looking at it uses nothing");
        assert!(tickets.redeem(ticket.id));
        assert!(!tickets.redeem(ticket.id) && tickets.verify("alice", &secret).is_none());
        assert_eq!(tickets.find(ticket.id).map(|ticket| ticket.uses), Some(1), "its session goes on");
        let (_, other) = tickets.issue(order(&alice, false)).unwrap();
        assert!(tickets.redeem(other.id) && tickets.redeem(other.id));
    }

    #[test]
    fn a_ticket_ends_in_its_time_and_with_what_it_was_given_for() {
        let (tickets, alice) = (Tickets::default(), Identity::builtin("alice", Vec::new()));
        let latest = Some(record::now() - 1);
        let (secret, ticket) = tickets.issue(Order { latest, ..order(&alice, false) }).unwrap();
        assert!(tickets.verify("alice", &secret).is_none() && tickets.find(ticket.id).is_none());
        assert!(tickets.list().is_empty() && !tickets.redeem(ticket.id));
    }

    #[test]
    fn tickets_are_bounded_for_each_identity() {
        let (tickets, alice) = (Tickets::default(), Identity::builtin("alice", Vec::new()));
        for _ in 0..MAX_PER_IDENTITY {
            tickets.issue(order(&alice, false)).unwrap();
        }
        assert_eq!(tickets.issue(order(&alice, false)).err(), Some(TicketError::Identity));
        assert!(tickets.issue(order(&Identity::builtin("bob", Vec::new()), false)).is_ok());
    }
}
