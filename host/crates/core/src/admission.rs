//! Who may open a session: the gate verifies the secret, then the target's `allow` rules and the roles, then asks
//! the policies. Only here a [`SessionPermit`] is made, and dialling a target takes one by value. Whoever asks the gateway
//! itself is in [`caller`].

mod caller;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sluicegate_metrics::{GateMetrics, Refused as Reason};
use uuid::Uuid;

use crate::{
    access::{Access, NoLeave, TicketId},
    approvals::Approvals,
    gate::GatedSession,
    identity::Identity,
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
    /// The roles that it has on the target. When one of them ends, so does the session.
    pub roles: Vec<String>,
    /// The ticket that opened it.
    pub ticket: Option<TicketId>,
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
    /// A ticket where a target is not asked for.
    #[error("a ticket opens its target and nothing here: use your secret or a token")]
    Ticket,
    /// Too many secrets are being verified at the moment.
    #[error("the gateway is busy verifying other logins; try again in a moment")]
    Busy,
    /// Too many wrong secrets came before this one, which nobody looked at.
    #[error("there were too many wrong secrets from your network; try again in {0} s")]
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

impl Refusal {
    fn target(name: &str) -> Self {
        Self::Target(record::cut(name, 128).0)
    }
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
    /// Decides who may use what.
    pub access: Arc<Access>,
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
}

impl Gate {
    /// A gate of these parts.
    pub fn new(parts: GateParts) -> Self {
        Self { parts, metrics: Arc::default() }
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<GateMetrics> {
        &self.metrics
    }

    /// Decides who may use what.
    pub fn access(&self) -> &Arc<Access> {
        &self.parts.access
    }

    /// Lets a client in, or not. The refusal is recorded with its true reason.
    pub async fn admit(&self, hello: Hello, secret: SecretString) -> Result<(SessionPermit, GatedSession), Refusal> {
        let id = SessionId(Uuid::now_v7());
        let began = Instant::now();
        let verified = self.parts.logins.verify(&hello.user, secret, hello.client.ip()).await;
        self.metrics.verified(began.elapsed());
        let proven = match caller::outcome(verified) {
            Ok(proven) => proven,
            Err(Failed { refusal, counted, reason }) => {
                match reason {
                    Some(reason) => self.refused(id, &hello, counted, &reason, Vec::new()).await,
                    None => self.count_refused(&hello, counted),
                }
                return Err(refusal);
            }
        };
        let roles = match self.parts.access.roles(&proven, &hello.target, hello.protocol) {
            Ok(roles) => roles,
            Err(why) => {
                let counted = if why == NoLeave::NotAllowed { Reason::NotAllowed } else { Reason::NoTarget };
                self.refused(id, &hello, counted, &why.to_string(), Vec::new()).await;
                return Err(Refusal::target(&hello.target));
            }
        };
        let session = Arc::new(Session {
            id,
            identity: proven.identity.clone(),
            roles,
            ticket: proven.basis.ticket,
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
        let seat = match self.parts.access.seat(&session, &proven) {
            Ok(seat) => seat,
            Err(lost) => {
                self.refused(id, &hello, Reason::NotAllowed, &lost.to_string(), ruling.opinions).await;
                // A ticket that is of no more use is one that is wrong, whatever it once was.
                return Err(if session.ticket.is_some() { Refusal::Secret } else { Refusal::target(&hello.target) });
            }
        };
        let opened = Event::Opened(Opened {
            roles: session.roles.clone(),
            target: session.target.to_string(),
            protocol: session.protocol.to_owned(),
            client: session.client.to_string(),
            application: session.application.clone(),
            policies: policies.governing(),
            opinions: ruling.opinions,
            ..Opened::of(&proven)
        });
        let entry = Entry { session: id, at: record::now(), event: opened };
        if let Err(error) = self.parts.recorder.append(entry).await {
            tracing::error!(session = %id, %error, "session refused");
            self.count_refused(&hello, Reason::Unrecorded);
            return Err(Refusal::Record);
        }
        tracing::info!(session = %id, user = session.identity.user, target_name = %session.target, client = %session.client, "session opened");
        let metrics = self.metrics.opened(&session.target, session.protocol, &session.identity.user);
        let gated = GatedSession::new(Arc::clone(&session), seat, policies, &self.parts, metrics);
        Ok((SessionPermit { session }, gated))
    }

    /// A target that is not configured is anybody's text, and not counted by its name.
    fn count_refused(&self, hello: &Hello, reason: Reason) {
        let known = self.parts.access.knows(&hello.target);
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
