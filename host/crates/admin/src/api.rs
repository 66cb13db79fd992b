//! The API under `/api/v1`, as a router that any listener can serve. Who may call it is the
//! listener's business.
//!
//! | request                                                | answer                                |
//! |--------------------------------------------------------|---------------------------------------|
//! | `GET /api/v1/sessions?user=&target=&limit=&before=`    | `{"items": [..], "next": id or null}` |
//! | `GET /api/v1/sessions/{id}?from=`                      | `{"summary", "entries", "next"}`      |
//! | `GET /api/v1/policies`                                 | `{"items": [..]}`                     |

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{Method, Uri},
    routing::get,
};
use serde::{Deserialize, Serialize};
use sluicegate_core::{
    SessionId,
    sessions::{KeptEntry, ReadError, SessionFilter, SessionPage, SessionReader, SessionSummary},
};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// How many sessions a page has unless the request says otherwise, and how many at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;
/// How many requests read the record at once; more would only compete for the disk.
const MAX_READS: usize = 4;

/// Tells about policies.
pub trait Policies: Send + Sync {
    /// One object for each module: what is loaded, from where, since when, and what failed. Quick
    /// and without blocking.
    fn status(&self) -> Vec<serde_json::Value>;
}

/// What the API needs.
#[derive(Clone)]
pub struct Api {
    sessions: Arc<dyn SessionReader>,
    policies: Arc<dyn Policies>,
    reads: Arc<Semaphore>,
}

/// One session with some of its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// The session.
    pub summary: SessionSummary,
    /// Its entries from `from` on, in order.
    pub entries: Vec<KeptEntry>,
    /// The `from` of the next page; none at the end.
    pub next: Option<u64>,
}

/// The policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyList {
    /// One object for each module.
    pub items: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    user: Option<String>,
    target: Option<String>,
    limit: Option<usize>,
    before: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    #[serde(default)]
    from: u64,
}

/// The API's routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/sessions", get(list_sessions))
        .route("/api/v1/sessions/{id}", get(show_session))
        .route("/api/v1/policies", get(list_policies))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(api)
}

impl Api {
    /// An API on these ports.
    pub fn new(sessions: Arc<dyn SessionReader>, policies: Arc<dyn Policies>) -> Self {
        Self { sessions, policies, reads: Arc::new(Semaphore::new(MAX_READS)) }
    }

    /// Reads the record off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn SessionReader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let sessions = Arc::clone(&self.sessions);
        let turn = Arc::clone(&self.reads).acquire_owned().await.map_err(|e| Problem::internal(e.to_string()))?;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(sessions.as_ref())
        });
        let answer = work.await.map_err(|error| error.to_string()).and_then(|read| read.map_err(|e| e.to_string()));
        answer.map_err(|error| {
            tracing::error!(error, "a request for the record failed");
            Problem::internal(error)
        })
    }
}

async fn list_sessions(
    State(api): State<Api>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<SessionPage>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` is between 1 and {MAX_LIMIT}")));
    }
    let before = query.before.filter(|id| !id.is_empty()).map(|id| session_id(&id)).transpose()?;
    let named = |name: Option<String>| name.filter(|name| !name.is_empty());
    let (user, target) = (named(query.user), named(query.target));
    let filter = SessionFilter { user, target, before, limit, ..SessionFilter::default() };
    api.read(move |sessions| sessions.list(&filter)).await.map(Json)
}

async fn show_session(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Json<SessionView>, Problem> {
    let Path(id) = id.map_err(|error| Problem::bad_request(error.body_text()))?;
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let id = session_id(&id)?;
    let view = api.read(move |sessions| {
        let Some(summary) = sessions.summary(id)? else { return Ok(None) };
        let page = sessions.entries(id, query.from)?;
        Ok(Some(SessionView { summary, entries: page.entries, next: page.next }))
    });
    view.await?.map(Json).ok_or_else(|| Problem::not_found(format!("there is no session {id}")))
}

async fn list_policies(State(api): State<Api>) -> Json<PolicyList> {
    Json(PolicyList { items: api.policies.status() })
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method) -> Problem {
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not possible here: use GET"))
}

fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|error: sluicegate_core::admission::SessionIdError| Problem::bad_request(error.to_string()))
}
