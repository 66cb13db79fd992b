//! Who may open a session: the gate verifies the secret, then the target's `allow` rules, then asks
//! the policies. Only here a [`SessionPermit`] is made, and dialling a target takes one by value. Whoever asks the gateway
//! itself is in [`caller`].

mod caller;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sluicegate_metrics::{GateMetrics, Refused as Reason};
use uuid::Uuid;

use crate::{
    approvals::Approvals,
    gate::GatedSession,
    identity::{Identity, Principal},
    logins::Logins,
    policy::{Opinion, PolicyEngine},
    record::{self, Entry, Event, Opened, Recorder, Recording, Refused},
    scope,
};
pub use caller::Claim;
use caller::Failed;

/// A session's id: UUID version 7, so ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionId(pub Uuid);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not a session's id.
#[derive(Debug, thiserror::Error)]
#[error("this is not a session's id: take one from `sluicegate sessions list`")]
pub struct SessionIdError;

impl std::str::FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| SessionIdError)
    }
}

/// One session: who, from where, to what.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who was authenticated.
    pub identity: Identity,
    /// The target's name.
    pub target: Arc<str>,
    /// The protocol.
    pub protocol: &'static str,
    /// The client's address.
    pub client: SocketAddr,
    /// What the client calls itself.
    pub application: String,
}

/// What a client says before anything else.
#[derive(Debug)]
pub struct Hello {
    /// The protocol's name.
    pub protocol: &'static str,
    /// The name it claims.
    pub user: String,
    /// The target it wants.
    pub target: String,
    /// Its address.
    pub client: SocketAddr,
    /// What it calls itself.
    pub application: String,
}

/// Why a client was not let in. The text is for the client, and does not tell an unknown user from
/// a wrong secret, nor an unknown target from a forbidden one.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Unknown user or wrong secret.
    #[error("the user or the secret is wrong; ask whoever runs this gateway for access")]
    Secret,
    /// Too many secrets are being verified at the moment.
    #[error("the gateway is busy verifying other logins; try again in a moment")]
    Busy,
    /// Too many wrong secrets came before this one, which nobody looked at.
    #[error("there were too many wrong secrets for this user from your network; try again in {0} s")]
    Throttled(u64),
    /// Unknown target, or not allowed to use it.
    #[error("there is no target \"{0}\" that you may use; ask whoever runs this gateway for access")]
    Target(String),
    /// A policy refused the session.
    #[error("{0}")]
    Policy(crate::Denial),
    /// The record could not be written.
    #[error("the gateway cannot record this session, so it cannot open it; try again later")]
    Record,
}

/// Who may use a target, as the gate needs to know it.
#[derive(Debug, Clone)]
pub struct TargetAccess {
    /// The protocol it speaks.
    pub protocol: &'static str,
    /// Who may use it.
    pub allow: Vec<Principal>,
}

/// Leave to dial a target once. There is no other way to make one than [`Gate::admit`].
#[derive(Debug)]
pub struct SessionPermit {
    session: Arc<Session>,
}

impl SessionPermit {
    /// The session it was given to.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

/// What a gate is made of.
pub struct GateParts {
    /// Verifies secrets.
    pub logins: Arc<Logins>,
    /// Runs policies.
    pub policies: Arc<dyn PolicyEngine>,
    /// Keeps the record.
    pub recorder: Arc<dyn Recorder>,
    /// When a client may see a command's completion.
    pub recording: Recording,
    /// How many bytes of a command's results the record keeps; 0 for none.
    pub max_output: usize,
    /// The approvals that are waited for.
    pub approvals: Arc<Approvals>,
}

/// The gate. One serves every listener.
pub struct Gate {
    parts: GateParts,
    metrics: Arc<GateMetrics>,
    targets: ArcSwap<HashMap<String, TargetAccess>>,
}

impl Gate {
    /// A gate with no targets yet.
    pub fn new(parts: GateParts) -> Self {
        Self { parts, metrics: Arc::default(), targets: ArcSwap::default() }
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<GateMetrics> {
        &self.metrics
    }

    /// Replaces the targets. Open sessions stay as they are.
    pub fn set_targets(&self, targets: HashMap<String, TargetAccess>) {
        self.targets.store(Arc::new(targets));
    }

    /// Lets a client in, or not. The refusal is recorded with its true reason.
    pub async fn admit(&self, hello: Hello, secret: SecretString) -> Result<(SessionPermit, GatedSession), Refusal> {
        let id = SessionId(Uuid::now_v7());
        let began = Instant::now();
        let verified = self.parts.logins.verify(&hello.user, secret, hello.client.ip()).await;
        self.metrics.verified(began.elapsed());
        let identity = match caller::outcome(verified) {
            Ok(identity) => identity,
            Err(Failed { refusal, counted, reason }) => {
                match reason {
                    Some(reason) => self.refused(id, &hello, counted, &reason, Vec::new()).await,
                    None => self.count_refused(&hello, counted),
                }
                return Err(refusal);
            }
        };
        let targets = self.targets.load();
        let found = targets.get(&hello.target);
        let verdict = match found {
            None => Err((Reason::NoTarget, "no such target")),
            Some(target) if target.protocol != hello.protocol => {
                Err((Reason::NoTarget, "the target speaks another protocol"))
            }
            Some(target) if !target.allow.iter().any(|p| p.covers(&identity)) => {
                Err((Reason::NotAllowed, "no `allow` rule of the target names the user"))
            }
            Some(_) => Ok(()),
        };
        drop(targets);
        if let Err((counted, reason)) = verdict {
            self.refused(id, &hello, counted, reason, Vec::new()).await;
            return Err(Refusal::Target(record::cut(&hello.target, 128).0));
        }
        let session = Arc::new(Session {
            id,
            identity,
            target: Arc::from(hello.target.as_str()),
            protocol: hello.protocol,
            client: hello.client,
            application: record::cut(&hello.application, 256).0,
        });
        let mut policies = self.parts.policies.open(Arc::clone(&session));
        let ruling = scope::for_session(id, || policies.opened());
        if let Some(denial) = ruling.denial {
            self.refused(id, &hello, Reason::Policy, &denial.to_string(), ruling.opinions).await;
            return Err(Refusal::Policy(denial));
        }
        let opened = Event::Opened(Opened {
            user: session.identity.user.clone(),
            groups: session.identity.groups.clone(),
            target: session.target.to_string(),
            protocol: session.protocol.to_owned(),
            client: session.client.to_string(),
            authentication: session.identity.authentication(),
            application: session.application.clone(),
            policies: policies.governing(),
            opinions: ruling.opinions,
        });
        let entry = Entry { session: id, at: record::now(), event: opened };
        if let Err(error) = self.parts.recorder.append(entry).await {
            tracing::error!(session = %id, %error, "session refused");
            self.count_refused(&hello, Reason::Unrecorded);
            return Err(Refusal::Record);
        }
        tracing::info!(session = %id, user = session.identity.user, target_name = %session.target, client = %session.client, "session opened");
        let metrics = self.metrics.opened(&session.target, session.protocol, &session.identity.user);
        let gated = GatedSession::new(Arc::clone(&session), policies, &self.parts, metrics);
        Ok((SessionPermit { session }, gated))
    }

    /// A target that is not configured is anybody's text, and not counted by its name.
    fn count_refused(&self, hello: &Hello, reason: Reason) {
        let known = self.targets.load().contains_key(&hello.target);
        self.metrics.not_let_in(known.then_some(&*hello.target), hello.protocol, reason);
    }

    async fn refused(&self, id: SessionId, hello: &Hello, counted: Reason, reason: &str, opinions: Vec<Opinion>) {
        self.count_refused(hello, counted);
        let user = record::cut(&hello.user, 128).0;
        let target = record::cut(&hello.target, 128).0;
        tracing::warn!(session = %id, user, target_name = target, client = %hello.client, reason, "session refused");
        let refused = Refused {
            user,
            target,
            protocol: hello.protocol.to_owned(),
            client: hello.client.to_string(),
            reason: reason.to_owned(),
            opinions,
        };
        self.record_refusal(id, refused).await;
    }

    async fn record_refusal(&self, id: SessionId, refused: Refused) {
        let entry = Entry { session: id, at: record::now(), event: Event::Refused(refused) };
        if let Err(error) = self.parts.recorder.append(entry).await {
            tracing::error!(session = %id, %error, "a refusal could not be recorded");
        }
    }
}
