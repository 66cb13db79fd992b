//! Asking for a role for a time. A request is a held command of the protocol `access`: approvers see and answer it as
//! they do any other, and the record shows it so.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{
    Access, Grant, Role, Somebody,
    acts::{Act, PROTOCOL},
};
use crate::{
    admission::SessionId,
    approval::{Approval, ApprovalId, ApprovalState, MAX_NOTE_BYTES, Requirement},
    approvals::{Hold, OpenError},
    denial::{Denial, DenialKind},
    identity::Proven,
    record::{self, RecordError},
};

/// The shortest time for which a role is granted.
const SHORTEST: Duration = Duration::from_secs(60);
/// The time for which it is granted where nothing is said.
const USUAL: Duration = Duration::from_secs(60 * 60);
/// How often it is looked whether a request that waits can still be granted.
const LOOK: Duration = Duration::from_secs(1);

/// A role that somebody wants for a time.
#[derive(Debug, Clone)]
pub struct RoleRequest {
    /// The role.
    pub role: String,
    /// The target.
    pub target: String,
    /// For how long: a minute at least, and at most what the role allows; none for an hour, or what it allows.
    pub duration: Option<Duration>,
    /// Why, for the approver: 1 to 1000 bytes of plain text.
    pub reason: String,
}

/// Why a role cannot be asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// The role or the target is unknown, or not theirs to ask for.
    #[error(
        "there is no role \"{role}\" on \"{target}\" that you may ask for; `sluicegate access list` shows those that there are"
    )]
    NoRole {
        /// The role as asked for.
        role: String,
        /// The target as asked for.
        target: String,
    },
    /// Too short or too long.
    #[error("this role is granted for 1 minute to {} at a time", humantime::format_duration(*.0))]
    Duration(Duration),
    /// The reason is missing, too long or no plain text.
    #[error("say why you ask for it, in 1 to {MAX_NOTE_BYTES} bytes of plain text")]
    Reason,
    /// Too many wait.
    #[error("{0}")]
    Busy(String),
    /// It could not be recorded, so nobody was asked.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A request that waits for its answer.
struct Pending {
    session: SessionId,
    /// What it becomes.
    grant: Grant,
    /// The role as it was when it was asked for.
    role: Role,
    holder: Somebody,
    duration: Duration,
}

impl Access {
    /// Asks for a role, and returns what approvers are shown; its id is the grant's. What comes of it does not depend on who
    /// asked staying connected. Not cancel-safe: what calls it for a client that may go away does so in a task of its own.
    pub async fn request(
        self: &Arc<Self>,
        proven: &Proven,
        client: &str,
        request: RoleRequest,
    ) -> Result<Approval, RequestError> {
        let identity = &proven.identity;
        let RoleRequest { role, target, duration, reason } = request;
        let found = self.rules.load().to_ask_for(identity, &role, &target).cloned();
        let role = found.ok_or_else(|| {
            let shown = |name: &str| record::cut(name, 128).0;
            RequestError::NoRole { role: shown(&role), target: shown(&target) }
        })?;
        let duration = duration.unwrap_or_else(|| USUAL.min(role.longest));
        if !(SHORTEST..=role.longest).contains(&duration) {
            return Err(RequestError::Duration(role.longest));
        }
        if reason.trim().is_empty() || reason.len() > MAX_NOTE_BYTES || reason.chars().any(record::rearranges) {
            return Err(RequestError::Reason);
        }
        self.parts.approvals.room_for(identity).map_err(|full| RequestError::Busy(full.to_string()))?;
        let time = humantime::format_duration(duration);
        let agent = identity.actor.as_ref().map(|actor| format!(" for the agent {actor}")).unwrap_or_default();
        let text = format!("role {}{agent} for {time}: {reason}", role.name);
        let act = Act { identity, client, target: &target, verb: "request-role", text: &text };
        let session = self.begin(&act).await?;
        let asked = Self::approval(&act, session, &role, reason);
        let hold = match self.parts.approvals.open(asked, identity).await {
            Ok(hold) => hold,
            Err(error) => {
                let denial = Denial::of(DenialKind::Gate, error.to_string());
                self.conclude(session, "refused", Some(denial)).await?;
                return Err(match error {
                    OpenError::Record(error) => error.into(),
                    full => RequestError::Busy(full.to_string()),
                });
            }
        };
        let approval = hold.approval();
        let grant = Grant {
            id: approval.id,
            user: identity.user.clone(),
            role: role.name.clone(),
            target,
            granted_by: Vec::new(),
            granted_at: 0,
            expires_at: 0,
        };
        let pending = Pending { session, grant, role, holder: Somebody::of(proven), duration };
        let waiting = Arc::clone(self).wait(hold, pending);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        while requests.try_join_next().is_some() {}
        requests.spawn(waiting);
        Ok(approval)
    }

    /// Ends the requests that nobody has answered. To be called before the record is closed.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let mut requests = std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner));
        while requests.join_next().await.is_some() {}
    }

    async fn wait(self: Arc<Self>, mut hold: Hold, pending: Pending) {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            () = answered(&mut hold) => {}
            () = self.until_void(&pending) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
        let session = pending.session;
        if let Err(error) = self.end_request(hold, pending).await {
            tracing::error!(%session, %error, "a request for a role could not be recorded, so it is not granted");
        }
    }

    async fn end_request(&self, hold: Hold, pending: Pending) -> Result<(), RecordError> {
        let (state, why) = match hold.stands() {
            ApprovalState::Pending | ApprovalState::Approved if !self.still_asks(&pending) => {
                (ApprovalState::Superseded, "the role or whoever asked for it is not what it was")
            }
            ApprovalState::Pending => (ApprovalState::Abandoned, "the gateway stopped"),
            ApprovalState::Expired => (ApprovalState::Expired, "nobody answered in time"),
            stands => (stands, "answered"),
        };
        let Pending { session, mut grant, holder, duration, .. } = pending;
        let ended = hold.end(state, why).await?;
        if ended.state != ApprovalState::Approved {
            let denial = Denial::of(DenialKind::Approval, format!("approval {} ended: {}", ended.id, ended.ended));
            return self.conclude(session, ended.state.word(), Some(denial)).await;
        }
        grant.granted_by = ended.answers.iter().map(|answer| answer.approver.clone()).collect();
        grant.granted_at = record::now();
        grant.expires_at = grant.granted_at + i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2);
        let (id, user, role) = (grant.id, grant.user.clone(), grant.role.clone());
        if !self.grants.add(grant, holder) {
            let denial = Denial::of(DenialKind::Gate, "there are too many grants at this gateway");
            return self.conclude(session, "refused", Some(denial)).await;
        }
        // What cannot be recorded is not granted.
        self.conclude(session, "granted", None).await.inspect_err(|_| {
            self.grants.remove(id);
            self.review();
        })?;
        tracing::info!(grant = %id, user, role, "role granted");
        Ok(())
    }

    /// Waits until it cannot be granted any more, so that nobody answers what would come to nothing. Cancel-safe.
    async fn until_void(&self, pending: &Pending) {
        while self.still_asks(pending) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether whoever asked is still there and may still ask, for the very role that approvers were asked for.
    fn still_asks(&self, pending: &Pending) -> bool {
        let Pending { holder, role, grant, .. } = pending;
        let now = self.parts.directory.standing(&holder.identity, holder.life);
        let rules = self.rules.load();
        now.is_some_and(|now| rules.to_ask_for(&now, &role.name, &grant.target) == Some(role))
    }

    /// What an approver is shown.
    fn approval(act: &Act<'_>, session: SessionId, role: &Role, reason: String) -> Approval {
        let requirement = Requirement {
            policy: format!("role:{}", role.name),
            module: String::new(),
            rule: None,
            reason,
            approvers: role.approvers.clone(),
            min_approvals: role.min_approvals,
            reason_required: false,
            expires_in: None,
            remember: None,
        };
        Approval {
            id: ApprovalId(uuid::Uuid::nil()),
            session,
            sequence: 1,
            requester: act.identity.user.clone(),
            target: act.target.to_owned(),
            protocol: PROTOCOL.to_owned(),
            client: act.client.to_owned(),
            // There is nothing else that it could cover: what it grants is in its text.
            digest: String::new(),
            verb: act.verb.to_owned(),
            text: act.text.to_owned(),
            cut: false,
            hidden: false,
            context: String::new(),
            resources: Vec::new(),
            parameters: 0,
            values: Vec::new(),
            kinds: Vec::new(),
            in_transaction: false,
            requirements: vec![requirement],
            requested_at: 0,
            expires_at: 0,
            state: ApprovalState::Pending,
            answers: Vec::new(),
            ended_at: None,
            ended: String::new(),
        }
    }
}

async fn answered(hold: &mut Hold) {
    while hold.answered().await.is_some() {}
}
