//! Issuing, listing and revoking tickets: who may, and what the record says of it.

use std::time::Duration;

use secrecy::SecretString;

use super::{Access, AccessError, LIFETIMES, Somebody, Ticket, TicketId, acts::Act, tickets::Order};
use crate::{
    identity::{Identity, Proven},
    record,
};

/// A ticket that somebody wants.
#[derive(Debug, Clone)]
pub struct TicketOrder {
    /// The service or agent it is for; none for the one who asks.
    pub holder: Option<String>,
    /// The target.
    pub target: String,
    /// Whether it opens one session and no more.
    pub once: bool,
    /// How long it is valid: [`LIFETIMES`].
    pub lifetime: Duration,
}

impl Access {
    /// Issues a ticket to whoever was proven, or to a service or an agent of theirs. It is recorded before it is shown. Not
    /// cancel-safe: what calls it for a client that may go away does so in a task of its own.
    pub async fn issue_ticket(
        &self,
        proven: &Proven,
        client: &str,
        order: &TicketOrder,
    ) -> Result<(SecretString, Ticket), AccessError> {
        if !LIFETIMES.contains(&order.lifetime) {
            return Err(AccessError::Lifetime);
        }
        let TicketOrder { target, once, lifetime, .. } = order;
        let issuer = Somebody::of(proven);
        let holder = self.holder(&issuer, order.holder.as_deref())?;
        if self.leave(&self.rules.load(), &holder, target).is_err() {
            let target = record::cut(target, 128).0;
            let other = order.holder.as_ref().map(|name| AccessError::OthersTarget(name.clone(), target.clone()));
            return Err(other.unwrap_or(AccessError::Target(target)));
        }
        let issued_by = &proven.identity.user;
        let latest = proven.basis.expires_at;
        let (secret, ticket) =
            self.parts.tickets.issue(Order { holder, issuer, target, once: *once, lifetime: *lifetime, latest })?;
        let times = if *once { "one session" } else { "sessions" };
        let text = format!(
            "ticket {} for {} to open {times}, {} s",
            ticket.id,
            ticket.user,
            (ticket.expires_at - ticket.issued_at) / 1000
        );
        let act = Act { identity: &proven.identity, client, target, verb: "issue-ticket", text: &text };
        if let Err(error) = self.record(&act).await {
            self.parts.tickets.revoke(ticket.id);
            return Err(error.into());
        }
        tracing::info!(ticket = %ticket.id, user = ticket.user, issued_by, target_name = target, "ticket issued");
        Ok((secret, ticket))
    }

    /// Whom a ticket is for that this identity asks for.
    fn holder(&self, issuer: &Somebody, name: Option<&str>) -> Result<Somebody, AccessError> {
        let Some(name) = name else { return Ok(issuer.clone()) };
        let refused = || AccessError::NotOwner(record::cut(name, 128).0);
        let (identity, life) = self.parts.directory.called(name).ok_or_else(refused)?;
        let is_owner = owns(&issuer.identity, &identity);
        is_owner.then_some(Somebody { identity, life }).ok_or_else(refused)
    }

    /// Whether whoever holds a ticket, and whoever had it issued, are still there.
    fn is_of_use(&self, id: TicketId) -> bool {
        let Some(holder) = self.parts.tickets.holder(id) else { return false };
        let now = self.parts.directory.standing(&holder.identity, holder.life);
        now.is_some_and(|now| self.ticket_stands(id, &now))
    }

    /// Whether a ticket still stands for a session of this identity: it is not over, and whoever had it issued is still
    /// there, and still the holder or their owner.
    pub(super) fn ticket_stands(&self, id: TicketId, holder: &Identity) -> bool {
        let Some(issuer) = self.parts.tickets.issuer(id) else { return false };
        let stands = self.parts.directory.standing(&issuer.identity, issuer.life).is_some();
        stands && (issuer.identity.is(holder) || owns(&issuer.identity, holder))
    }

    /// The tickets that are of use, or whose sessions may be open, newest first: those that this identity holds or had issued, or all.
    pub fn tickets(&self, of: Option<&Identity>) -> Vec<Ticket> {
        let mut tickets = self.parts.tickets.list();
        tickets.retain(|ticket| of.is_none_or(|identity| concerns(ticket, identity)) && self.is_of_use(ticket.id));
        tickets
    }

    /// Revokes a ticket, and ends the sessions that it opened. Only admins end those of others. Not cancel-safe, as above.
    pub async fn revoke_ticket(
        &self,
        id: TicketId,
        by: &Identity,
        admin: bool,
        client: &str,
    ) -> Result<(), AccessError> {
        let found = self.parts.tickets.find(id).filter(|ticket| admin || concerns(ticket, by));
        let ticket = found.ok_or_else(|| AccessError::NotFound { what: "ticket", id: id.to_string() })?;
        // It ends also where that cannot be recorded.
        self.parts.tickets.revoke(id);
        self.review_those(|one| one.session.ticket == Some(id));
        tracing::info!(ticket = %id, user = ticket.user, by = by.user, "ticket revoked");
        let text = format!("ticket {id} of {}", ticket.user);
        let act = Act { identity: by, client, target: &ticket.target, verb: "revoke-ticket", text: &text };
        Ok(self.record(&act).await?)
    }
}

/// Whether it is this person who answers for the other identity: an agent that acts for them does not.
fn owns(person: &Identity, other: &Identity) -> bool {
    other.owner.as_ref() == Some(&person.user) && person.actor.is_none()
}

fn concerns(ticket: &Ticket, identity: &Identity) -> bool {
    ticket.user == identity.user || ticket.issued_by == identity.user
}
