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
//! | `POST /api/v1/tokens`, `DELETE /api/v1/tokens`      | whoever has a secret, whoever has the token     |
//! | `GET /openapi.json`                                 | everybody who is known                          |
//! | `GET /metrics`                                      | admins, and whom `[admin] metrics` lists        |
//! | `GET /healthz`, `GET /readyz`                       | everybody                                       |

mod access;
mod answers;
mod approvals;
mod auth;
mod extract;
mod guard;
mod health;
mod openapi;
mod policies;
mod sessions;
mod tokens;

use std::sync::{Arc, PoisonError, RwLock};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, Uri},
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, post},
};
use sluicegate_core::{
    Access, Approvals, Logins, Principal,
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
    policies::{Policies, PolicyList},
    sessions::SessionView,
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
    /// Decides who may use what.
    pub access: Arc<Access>,
    /// Tells about policies.
    pub policies: Arc<dyn Policies>,
    /// Verifies secrets.
    pub logins: Arc<Logins>,
    /// Gives out and verifies session tokens.
    pub tokens: Arc<dyn Tokens>,
    /// Tells whether new clients should come.
    pub health: Arc<dyn Health>,
    /// What is scraped.
    pub metrics: Metrics,
    /// Who may do what.
    pub rights: Rights,
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
    access: Arc<Access>,
    policies: Arc<dyn Policies>,
    logins: Arc<Logins>,
    tokens: Arc<dyn Tokens>,
    admins: RwLock<Arc<[Principal]>>,
    scrapers: RwLock<Arc<[Principal]>>,
    vitals: Vitals,
    reads: Arc<Semaphore>,
}

/// The API's routes, as those may use them who come through this door.
pub fn router(api: Api, door: Door) -> Router {
    let hosts = guard::Hosts::of(&door);
    let open = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
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
        let ApiParts { sessions, history, approvals, access, policies, logins, tokens, health, metrics, rights } =
            parts;
        let Rights { admins, scrapers } = rights;
        Self(Arc::new(Inner {
            sessions,
            history,
            approvals,
            access,
            policies,
            logins,
            tokens,
            admins: RwLock::new(admins.into()),
            scrapers: RwLock::new(scrapers.into()),
            vitals: Vitals { health, metrics },
            reads: Arc::new(Semaphore::new(MAX_READS)),
        }))
    }

    /// Replaces who may do what, for requests from now on.
    pub fn set_rights(&self, rights: Rights) {
        *self.0.admins.write().unwrap_or_else(PoisonError::into_inner) = rights.admins.into();
        *self.0.scrapers.write().unwrap_or_else(PoisonError::into_inner) = rights.scrapers.into();
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
