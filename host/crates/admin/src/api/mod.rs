//! The API under `/api/v1`, as a router that any listener can serve. `/openapi.json` describes it in
//! full. Every answer but a stream is bounded, every error is a problem, and nobody gets past the
//! checkpoint in [`auth`] without being known.
//!
//! | request                                             | for whom                                        |
//! |-----------------------------------------------------|-------------------------------------------------|
//! | `GET /api/v1/approvals`, `GET .../approvals/{id}`   | requesters, approvers, admins                   |
//! | `POST .../approvals/{id}/approve`, `.../deny`       | approvers, by name and never the requester      |
//! | `GET /api/v1/sessions`, `.../{id}`, `.../{id}/export` | admins                                        |
//! | `GET /api/v1/policies`                              | admins                                          |
//! | `POST /api/v1/tickets`, `POST /api/v1/grants`       | whoever may use the target, or ask for the role |
//! | `GET /api/v1/tickets`, `.../grants`, `.../roles`    | everybody who is known: theirs; admins: all     |
//! | `DELETE /api/v1/tickets/{id}`, `.../grants/{id}`    | whom they concern, admins                       |
//! | `GET /api/v1/record/key`, `GET /api/v1/whoami`      | everybody who is known                          |
//! | `GET /api/v1/targets`                               | everybody who is known, for what they may use   |
//! | `POST /api/v1/tokens`, `DELETE /api/v1/tokens`      | whoever has a secret, whoever has the token     |
//! | `GET /openapi.json`                                 | everybody who is known                          |
//! | `GET /metrics`                                      | admins, and whom `[admin] metrics` lists        |
//! | `GET /healthz`, `GET /readyz`, `GET /api/v1/login`  | everybody                                       |

mod access;
mod answers;
mod approvals;
mod auth;
mod extract;
mod guard;
mod health;
mod login;
mod openapi;
mod policies;
mod sessions;
mod targets;
mod tokens;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, Uri},
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, post},
};
use sluicegate_core::{
    Approvals, Gate, Principal,
    identity::Tokens,
    sessions::{ApprovalReader, ReadError, SessionReader},
};
use sluicegate_metrics::Metrics;
use tokio::sync::Semaphore;

pub(crate) use self::auth::Peer;
use self::health::Vitals;
pub use self::{
    access::{GrantList, IssuedTicket, RoleBody, RoleList, RoleOffer, TicketBody, TicketList},
    answers::AnswerBody,
    auth::Door,
    health::Health,
    login::{LoginIssuer, LoginIssuers},
    policies::{Policies, PolicyList},
    sessions::SessionView,
    targets::{UsableTarget, UsableTargets},
    tokens::{Token, WhoAmI},
};
use crate::problem::Problem;

/// How many items a page has unless the request says otherwise, and how many at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;
/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How many requests read the record at once; more would only compete for the disk.
const MAX_READS: usize = 4;

/// What the API is made of.
pub struct ApiParts {
    /// Reads sessions back.
    pub sessions: Arc<dyn SessionReader>,
    /// Reads approvals back.
    pub history: Arc<dyn ApprovalReader>,
    /// The approvals that are waited for now.
    pub approvals: Arc<Approvals>,
    /// Tells about policies.
    pub policies: Arc<dyn Policies>,
    /// Tells who callers are, and what they may use.
    pub gate: Arc<Gate>,
    /// Gives out and verifies session tokens.
    pub tokens: Arc<dyn Tokens>,
    /// Tells whether new clients should come.
    pub health: Arc<dyn Health>,
    /// What is scraped.
    pub metrics: Metrics,
    /// Who may do what.
    pub rights: Rights,
    /// Where people log in.
    pub issuers: Vec<LoginIssuer>,
}

/// Who may do more with the API than others who are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Who may read everything, and stands in where a policy lists no approvers.
    pub admins: Vec<Principal>,
    /// Who else may read the measurements.
    pub scrapers: Vec<Principal>,
}

/// The API. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    sessions: Arc<dyn SessionReader>,
    history: Arc<dyn ApprovalReader>,
    approvals: Arc<Approvals>,
    policies: Arc<dyn Policies>,
    gate: Arc<Gate>,
    tokens: Arc<dyn Tokens>,
    admins: RwLock<Arc<[Principal]>>,
    scrapers: RwLock<Arc<[Principal]>>,
    issuers: RwLock<Arc<[LoginIssuer]>>,
    /// Where each protocol is served.
    ports: RwLock<HashMap<&'static str, u16>>,
    vitals: Vitals,
    reads: Arc<Semaphore>,
}

/// The API's routes, as those may use them who come through this door.
pub fn router(api: Api, door: Door) -> Router {
    let hosts = guard::Hosts::of(&door);
    let open = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/v1/login", get(login::issuers))
        .method_not_allowed_fallback(no_such_method)
        .with_state(api.clone());
    Router::new()
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/{id}", get(approvals::show))
        .route("/api/v1/approvals/{id}/approve", post(answers::approve))
        .route("/api/v1/approvals/{id}/deny", post(answers::deny))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/{id}", get(sessions::show))
        .route("/api/v1/sessions/{id}/export", get(sessions::export))
        .route("/api/v1/record/key", get(sessions::key))
        .route("/api/v1/policies", get(policies::list))
        .route("/api/v1/tickets", get(access::list_tickets).post(access::issue_ticket))
        .route("/api/v1/tickets/{id}", delete(access::revoke_ticket))
        .route("/api/v1/roles", get(access::list_roles))
        .route("/api/v1/grants", get(access::list_grants).post(access::request_role))
        .route("/api/v1/grants/{id}", delete(access::revoke_grant))
        .route("/api/v1/tokens", post(tokens::issue).delete(tokens::revoke))
        .route("/api/v1/whoami", get(tokens::whoami))
        .route("/api/v1/targets", get(targets::list))
        .route("/openapi.json", get(openapi::serve))
        .route("/metrics", get(health::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(api.clone())
        .layer(from_fn_with_state(auth::Checkpoint::new(api, &door), auth::authenticate))
        .merge(open)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(guard::in_time))
        .layer(from_fn_with_state(hosts, guard::for_this_host))
        .layer(from_fn(guard::harden))
}

impl Api {
    /// An API of these parts.
    pub fn new(parts: ApiParts) -> Self {
        let ApiParts { sessions, history, approvals, policies, gate, tokens, health, metrics, rights, issuers } = parts;
        let Rights { admins, scrapers } = rights;
        Self(Arc::new(Inner {
            sessions,
            history,
            approvals,
            policies,
            gate,
            tokens,
            admins: RwLock::new(admins.into()),
            scrapers: RwLock::new(scrapers.into()),
            issuers: RwLock::new(issuers.into()),
            ports: RwLock::default(),
            vitals: Vitals { health, metrics },
            reads: Arc::new(Semaphore::new(MAX_READS)),
        }))
    }

    /// Replaces who may do what, for requests from now on.
    pub fn set_rights(&self, rights: Rights) {
        *self.0.admins.write().unwrap_or_else(PoisonError::into_inner) = rights.admins.into();
        *self.0.scrapers.write().unwrap_or_else(PoisonError::into_inner) = rights.scrapers.into();
    }

    /// Replaces where people log in.
    pub fn set_issuers(&self, issuers: Vec<LoginIssuer>) {
        *self.0.issuers.write().unwrap_or_else(PoisonError::into_inner) = issuers.into();
    }

    /// Says on which port each protocol is served. Targets of other protocols are not shown to anybody.
    pub fn set_ports(&self, ports: HashMap<&'static str, u16>) {
        *self.0.ports.write().unwrap_or_else(PoisonError::into_inner) = ports;
    }

    fn issuers(&self) -> Arc<[LoginIssuer]> {
        Arc::clone(&self.0.issuers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn port(&self, protocol: &str) -> Option<u16> {
        self.0.ports.read().unwrap_or_else(PoisonError::into_inner).get(protocol).copied()
    }

    fn scrapers(&self) -> Arc<[Principal]> {
        Arc::clone(&self.0.scrapers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn admins(&self) -> Arc<[Principal]> {
        Arc::clone(&self.0.admins.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads sessions off the async threads.
    async fn read_sessions<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn SessionReader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let sessions = Arc::clone(&self.0.sessions);
        self.read(move || read(sessions.as_ref())).await
    }

    /// Reads approvals off the async threads.
    async fn read_history<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn ApprovalReader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let history = Arc::clone(&self.0.history);
        self.read(move || read(history.as_ref())).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = Arc::clone(&self.0.reads).acquire_owned().await.map_err(|e| Problem::internal(e.to_string()))?;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read()
        });
        let answer = work.await.map_err(|error| error.to_string()).and_then(|read| read.map_err(|e| e.to_string()));
        answer.map_err(|error| {
            tracing::error!(error, "a request for the record failed");
            Problem::internal(error)
        })
    }
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}; see /openapi.json", uri.path()))
}

async fn no_such_method(method: Method) -> Problem {
    let detail = format!("{method} is not possible here: the header `allow` says what is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
