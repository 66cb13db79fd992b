//! Roles that were granted for a time. They live in memory alone, and end with the gateway.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Access, AccessError, Somebody, acts::Act};
use crate::{approval::ApprovalId, identity::Identity, record};

/// The most grants at a time.
pub(super) const MAX_GRANTS: usize = 10_000;

/// A role that was granted for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The approval by which it was granted.
    pub id: ApprovalId,
    /// Who has it.
    pub user: String,
    /// The role.
    pub role: String,
    /// The only target on which it is theirs.
    pub target: String,
    /// Who granted it.
    pub granted_by: Vec<String>,
    /// When it began, in milliseconds since the Unix epoch.
    pub granted_at: i64,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_at: i64,
}

/// The grants that are in force.
#[derive(Default)]
pub(super) struct Grants(Mutex<BTreeMap<ApprovalId, (Grant, Somebody)>>);

impl Grants {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<ApprovalId, (Grant, Somebody)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when the role is theirs on the target; none where it was not granted.
    pub(super) fn until(&self, who: &Somebody, role: &str, target: &str, now: i64) -> Option<i64> {
        let kept = self.kept();
        let is_it = |grant: &Grant| grant.role == role && grant.target == target && grant.expires_at > now;
        let mine = kept.values().filter(|(grant, holder)| is_it(grant) && holder.is(who));
        mine.map(|(grant, _)| grant.expires_at).max()
    }

    /// Puts a grant in force. False where there is no room.
    pub(super) fn add(&self, grant: Grant, holder: Somebody) -> bool {
        let mut kept = self.kept();
        let room = kept.len() < MAX_GRANTS;
        if room {
            kept.insert(grant.id, (grant, holder));
        }
        room
    }

    /// Takes back what was put in force.
    pub(super) fn remove(&self, id: ApprovalId) {
        self.kept().remove(&id);
    }

    /// Forgets those that are over.
    pub(super) fn sweep(&self, now: i64) {
        self.kept().retain(|_, (grant, _)| grant.expires_at > now);
    }
}

impl Access {
    /// The grants that are in force, newest first: this identity's, or all.
    pub fn grants(&self, of: Option<&Identity>) -> Vec<Grant> {
        let now = record::now();
        let kept = self.grants.kept();
        let wanted = |(grant, holder): &&(Grant, Somebody)| {
            grant.expires_at > now && of.is_none_or(|identity| holder.identity.is(identity))
        };
        kept.values().rev().filter(wanted).map(|(grant, _)| grant.clone()).collect()
    }

    /// Ends a grant, and the sessions that rest on it. Who has it may, whoever granted it, and admins. Not cancel-safe: what
    /// calls it for a client that may go away does so in a task of its own.
    pub async fn revoke_grant(
        &self,
        id: ApprovalId,
        by: &Identity,
        admin: bool,
        client: &str,
    ) -> Result<(), AccessError> {
        let not_found = || AccessError::NotFound { what: "grant", id: id.to_string() };
        let grant = {
            let mut kept = self.grants.kept();
            let may = |(grant, holder): &(Grant, Somebody)| {
                admin || holder.identity.is(by) || grant.granted_by.contains(&by.user)
            };
            kept.get(&id).filter(|entry| may(entry)).ok_or_else(not_found)?;
            kept.remove(&id).ok_or_else(not_found)?.0
        };
        // It ends also where that cannot be recorded.
        self.review_those(|one| one.session.roles.contains(&grant.role) && *one.session.target == *grant.target);
        tracing::info!(grant = %id, user = grant.user, role = grant.role, by = by.user, "grant revoked");
        let text = format!("grant {id}: role {} of {}", grant.role, grant.user);
        Ok(self.record(&Act { identity: by, client, target: &grant.target, verb: "revoke-grant", text: &text }).await?)
    }
}
