//! Sessions as the record has them: listings, entries page by page, and exports with their proof.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures_util::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluicegate_core::{
    SessionId,
    sessions::{ExportPage, KeptEntry, SessionFilter, SessionPage, SessionSummary, SessionVerdict},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    auth::Caller,
    extract::{self, Id, NoParams, Params},
    openapi::{AdminsOnly, Common, Missing, Removed},
};
use crate::problem::Problem;

/// The greatest `from`: what every JSON reader can hold (RFC 8259, section 6).
const MAX_FROM: u64 = (1 << 53) - 1;

/// One session with some of its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The session.
    pub summary: SessionSummary,
    /// Its entries from `from` on, in order.
    pub entries: Vec<KeptEntry>,
    /// The `from` of the next page; none at the end.
    pub next: Option<u64>,
}

/// Which sessions to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only this user's.
    #[param(value_type = String, required = false, max_length = 256)]
    user: Option<String>,
    /// Only those to this target.
    #[param(value_type = String, required = false, max_length = 256)]
    target: Option<String>,
    /// Only those of which this came.
    #[param(value_type = SessionVerdict, required = false, inline)]
    verdict: Option<SessionVerdict>,
    /// Only those that may have named this table: `schema.name`, or the name alone.
    #[param(value_type = String, required = false, max_length = 256)]
    table: Option<String>,
    /// Only those that opened at this time or later (RFC 3339).
    #[param(value_type = String, required = false, format = DateTime)]
    since: Option<String>,
    /// Only those that opened before this time (RFC 3339).
    #[param(value_type = String, required = false, format = DateTime)]
    until: Option<String>,
    /// How many at most.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1000, default = 50)]
    limit: Option<usize>,
    /// Only those older than this one: the `next` of the page before.
    #[param(value_type = String, required = false, format = Uuid)]
    before: Option<String>,
}

/// Where to begin.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The number of the first entry.
    #[serde(default)]
    #[param(value_type = u64, required = false, minimum = 0, maximum = 9007199254740991_u64, default = 0)]
    from: u64,
}

/// Lists sessions, newest first. A page may have fewer than asked for, even none, while `next` says
/// that older ones are still to be looked through.
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "listSessions", tag = "sessions", params(Listing),
    responses((status = 200, description = "Some sessions.", body = SessionPage), AdminsOnly, Common))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(listing): Params<Listing>,
) -> Result<Json<SessionPage>, Problem> {
    caller.must_read_all()?;
    let filter = listing.filter()?;
    api.read_sessions(move |sessions| sessions.list(&filter)).await.map(Json)
}

/// One session with its entries, page by page.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", operation_id = "getSession", tag = "sessions",
    params(("id" = Uuid, Path, description = "The session."), From),
    responses((status = 200, description = "The session.", body = SessionView),
        AdminsOnly, Missing, Removed, Common))]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<SessionId>,
    Params(From { from }): Params<From>,
) -> Result<Json<SessionView>, Problem> {
    caller.must_read_all()?;
    if from > MAX_FROM {
        return Err(Problem::bad_request(format!("`from` is at most {MAX_FROM}")));
    }
    let view = api.read_sessions(move |sessions| {
        let Some(summary) = sessions.summary(id)? else { return Ok(Err(sessions.removed(id)?)) };
        let page = sessions.entries(id, from)?;
        Ok(Ok(SessionView { summary, entries: page.entries, next: page.next }))
    });
    view.await?.map(Json).map_err(|removed| no_such_session(id, removed))
}

/// The session with its proof, as JSON lines. `sluicegate sessions verify` checks it with the public
/// key alone. An answer that breaks off is not whole: its transfer does not end.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/export", operation_id = "exportSession", tag = "sessions",
    params(("id" = Uuid, Path, description = "The session.")),
    responses((status = 200, description = "One JSON object a line.", body = String, content_type = "application/x-ndjson"),
        AdminsOnly, Missing, Removed, Common))]
pub(super) async fn export(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<SessionId>,
    _: NoParams,
) -> Result<Response, Problem> {
    caller.must_read_all()?;
    let first = page(&api, id, 0).await?;
    if first.lines.is_empty() {
        let removed = api.read_sessions(move |sessions| sessions.removed(id)).await?;
        return Err(no_such_session(id, removed));
    }
    tracing::info!(session = %id, by = caller.identity.as_ref().map(|who| &who.user), "session exported");
    let rest = stream::try_unfold(Some(first), move |ready| {
        let api = api.clone();
        async move {
            let Some(ExportPage { lines, next }) = ready else { return Ok::<_, Problem>(None) };
            let following = match next {
                Some(next) => Some(page(&api, id, next).await?),
                None => None,
            };
            Ok(Some((in_lines(&lines), following)))
        }
    });
    let name = format!("attachment; filename=\"{id}.jsonl\"");
    let headers = [(CONTENT_TYPE, "application/x-ndjson".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(rest)).into_response())
}

/// The public key with which exports are verified.
#[utoipa::path(get, path = "/api/v1/record/key", operation_id = "getRecordKey", tag = "sessions",
    responses((status = 200, description = "An ed25519 key as PEM.", body = String, content_type = "application/x-pem-file"),
        Common))]
pub(super) async fn key(State(api): State<Api>, _: Caller, _: NoParams) -> Result<Response, Problem> {
    let key = api.read_sessions(|sessions| Ok(sessions.public_key())).await?;
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], key).into_response())
}

impl Listing {
    fn filter(self) -> Result<SessionFilter, Problem> {
        Ok(SessionFilter {
            user: extract::filter("user", self.user)?,
            target: extract::filter("target", self.target)?,
            verdict: self.verdict,
            table: extract::filter("table", self.table)?,
            since: extract::time("since", self.since.as_deref())?,
            until: extract::time("until", self.until.as_deref())?,
            before: extract::before(self.before.as_deref())?,
            limit: extract::limit(self.limit)?,
        })
    }
}

async fn page(api: &Api, id: SessionId, from: u64) -> Result<ExportPage, Problem> {
    api.read_sessions(move |sessions| sessions.export(id, from)).await
}

fn in_lines(lines: &[String]) -> Bytes {
    let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text.into()
}

fn no_such_session(id: SessionId, removed: Option<i64>) -> Problem {
    let removed = removed.and_then(|at| Timestamp::from_millisecond(at).ok());
    match removed {
        Some(at) => Problem::new(StatusCode::GONE, format!("retention removed the session {id} at {at}")),
        None => Problem::not_found(format!("there is no session {id}")),
    }
}
