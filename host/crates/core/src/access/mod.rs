//! Access: who may use which target now. The decision ([`rules`]) is made when a session opens, and again for every open
//! session when what it rests on changes: users, rules, tickets, grants, or the time. A session whose access ended is told
//! so and ends ([`live`]).
//!
//! * [`rules`] and [`hours`] are pure.
//! * [`tickets`] are secrets for one target.
//! * [`request`] is how people ask for a role, and [`grants`] is what they got.

mod acts;
mod grants;
mod hours;
mod issue;
mod live;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod tickets;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

pub(crate) use self::live::Seat;
pub use self::{
    grants::Grant,
    hours::{Window, WindowError},
    issue::TicketOrder,
    live::{Lost, Standing},
    request::{RequestError, RoleRequest},
    rules::{ANY, NAME_LABEL, NoLeave, Role, Rules, TargetAccess},
    tickets::{LIFETIMES, Ticket, TicketError, TicketId, TicketIdError, Tickets, is_ticket},
};
use self::{grants::Grants, live::Live, rules::Leave};
use crate::{
    admission::{Session, SessionId},
    approvals::Approvals,
    identity::{Basis, Directory, Identity, Proven},
    record::{self, RecordError, Recorder},
};

/// How often it is looked for what ends by itself.
const LOOK: Duration = Duration::from_secs(1);

/// What access is made of.
pub struct AccessParts {
    /// Who people are now.
    pub directory: Arc<dyn Directory>,
    /// The tickets, by which the authenticator knows their holders.
    pub tickets: Arc<Tickets>,
    /// Where roles are asked for.
    pub approvals: Arc<Approvals>,
    /// Keeps the record.
    pub recorder: Arc<dyn Recorder>,
}

/// Who may use which target now. One serves every listener and the API.
pub struct Access {
    parts: AccessParts,
    rules: ArcSwap<Rules>,
    grants: Grants,
    live: Mutex<HashMap<SessionId, Arc<Live>>>,
    /// The requests that wait for an answer.
    requests: Mutex<JoinSet<()>>,
    closing: tokio::sync::watch::Sender<bool>,
}

/// Somebody, and which of those that ever had the name: see [`Directory`].
#[derive(Debug, Clone)]
struct Somebody {
    identity: Identity,
    life: u64,
}

impl Somebody {
    fn of(proven: &Proven) -> Self {
        Self { identity: proven.identity.clone(), life: proven.basis.life }
    }

    fn is(&self, other: &Self) -> bool {
        self.life == other.life && self.identity.is(&other.identity)
    }
}

/// Why something about a ticket or a grant cannot be done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessError {
    /// There is none that is theirs.
    #[error("there is no {what} {id} that is yours to end")]
    NotFound {
        /// `ticket` or `grant`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The target is unknown, or not theirs.
    #[error("there is no target \"{0}\" that you may use; ask whoever runs this gateway for access")]
    Target(String),
    /// The target is not the service's or agent's.
    #[error("\"{0}\" may use no target \"{1}\"; ask whoever runs this gateway for access for it")]
    OthersTarget(String, String),
    /// A ticket for somebody else.
    #[error("there is no service or agent \"{0}\" of which you are the owner")]
    NotOwner(String),
    /// Too short or too long.
    #[error("a ticket is valid for 1 minute to 12 hours")]
    Lifetime,
    /// No ticket now.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// It could not be recorded, so it was not done.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Access {
    /// Nobody may use anything yet.
    pub fn new(parts: AccessParts) -> Arc<Self> {
        let (rules, grants, live, requests) = Default::default();
        Arc::new(Self { parts, rules, grants, live, requests, closing: tokio::sync::watch::Sender::new(false) })
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the rules, and ends the sessions that they, or users that changed before, do not let go on.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
        self.review();
    }

    /// Whether there is a target of this name.
    pub(crate) fn knows(&self, target: &str) -> bool {
        self.rules.load().targets.contains_key(target)
    }

    /// The targets that whoever was proven may use now, by name.
    pub fn targets_of(&self, proven: &Proven) -> Vec<(String, TargetAccess)> {
        let (rules, who) = (self.rules.load(), Somebody::of(proven));
        let mine = rules.targets.iter().filter(|(name, _)| self.leave(&rules, &who, name).is_ok());
        let mut mine: Vec<_> = mine.map(|(name, target)| (name.clone(), target.clone())).collect();
        mine.sort_by(|one, other| one.0.cmp(&other.0));
        mine
    }

    /// The roles that this identity, or anybody, may ask for, each with a target.
    pub fn roles_to_ask_for(&self, identity: Option<&Identity>) -> Vec<(Role, String)> {
        let rules = self.rules.load();
        let pairs = rules.roles.iter().flat_map(|role| rules.targets.keys().map(move |target| (role, target)));
        let mine = pairs.filter(|(role, target)| match identity {
            Some(identity) => rules.to_ask_for(identity, &role.name, target).is_some(),
            None => {
                !role.requesters.is_empty()
                    && rules.targets.get(*target).is_some_and(|t| role.is_for(target, &t.labels))
            }
        });
        let mut mine: Vec<_> = mine.map(|(role, target)| (role.clone(), target.clone())).collect();
        mine.sort_by(|one, other| (&one.0.name, &one.1).cmp(&(&other.0.name, &other.1)));
        mine
    }

    /// The roles with which whoever was proven may use the target.
    pub(crate) fn roles(&self, proven: &Proven, target: &str, protocol: &str) -> Result<Vec<String>, NoLeave> {
        let rules = self.rules.load();
        let leave = self.leave(&rules, &Somebody::of(proven), target)?;
        if rules.targets.get(target).is_some_and(|found| found.protocol != protocol) {
            return Err(NoLeave::OtherProtocol);
        }
        let opens = |id| self.parts.tickets.find(id).is_some_and(|ticket| ticket.target == target);
        if proven.basis.ticket.is_none_or(opens) { Ok(leave.roles) } else { Err(NoLeave::OtherTicket) }
    }

    fn leave(&self, rules: &Rules, who: &Somebody, target: &str) -> Result<Leave, NoLeave> {
        let now = record::now();
        rules.leave(&who.identity, target, |role| self.grants.until(who, &role.name, target, now), now)
    }

    /// Takes a place for a session that is about to open, and uses its ticket. From now on it hears when its access ends.
    pub(crate) fn seat(self: &Arc<Self>, session: &Arc<Session>, proven: &Proven) -> Result<Seat, Lost> {
        // What changes after this was looked at finds the session among the others.
        let mut live = self.live();
        let until = self.still(session, &proven.basis)?;
        if let Some(ticket) = session.ticket
            && !self.parts.tickets.redeem(ticket)
        {
            return Err(Lost::Ticket);
        }
        let one = Arc::new(Live::new(Arc::clone(session), proven.basis.clone(), until));
        live.insert(session.id, Arc::clone(&one));
        Ok(Seat { access: Arc::downgrade(self), live: one })
    }

    /// Makes the decision again for every open session.
    pub fn review(&self) {
        self.review_those(|_| true);
    }

    fn review_those(&self, wanted: impl Fn(&Live) -> bool) {
        let live = self.live();
        for one in live.values().filter(|one| wanted(one)) {
            one.decided(self.still(&one.session, &one.basis));
        }
    }

    /// Ends what ends by itself, until it is dropped. Never returns.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = record::now();
            self.grants.sweep(now);
            self.review_those(|one| one.is_due(now));
        }
    }

    /// Whether a session that was let in may go on, and when that is to be asked again.
    fn still(&self, session: &Session, basis: &Basis) -> Result<Option<i64>, Lost> {
        let before = &session.identity;
        let identity = self.parts.directory.standing(before, basis.life).ok_or(Lost::Identity)?;
        let has = |group: &String| identity.groups.contains(group);
        if !before.groups.iter().all(has) || (identity.kind, &identity.owner) != (before.kind, &before.owner) {
            return Err(Lost::Identity);
        }
        let now = record::now();
        if let Some(id) = session.ticket
            && !self.ticket_stands(id, &identity)
        {
            return Err(Lost::Ticket);
        }
        let expires_at = basis.expires_at.filter(|_| basis.ends_sessions);
        if expires_at.is_some_and(|at| at <= now) {
            return Err(Lost::Token);
        }
        let who = Somebody { identity, life: basis.life };
        let leave = self.leave(&self.rules.load(), &who, &session.target).map_err(|_| Lost::Rules);
        let leave = match (leave, session.roles.first()) {
            (Err(_), Some(role)) => return Err(Lost::Role(role.clone())),
            (leave, _) => leave?,
        };
        // Policies were told of these.
        match session.roles.iter().find(|role| !leave.roles.contains(role)) {
            Some(role) => Err(Lost::Role(role.clone())),
            None => Ok(leave.until.into_iter().chain(expires_at).min()),
        }
    }
}
