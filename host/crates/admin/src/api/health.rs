//! What machines ask: whether the gateway lives, whether it should get clients, and its measurements.
//! Probes have no credentials, and learn no more than a client that tries to connect does.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use sluicegate_metrics::{CONTENT_TYPE as OPENMETRICS, Metrics};

use super::{
    Api,
    auth::Caller,
    extract::NoParams,
    openapi::{Common, Probed, ScrapersOnly},
};
use crate::problem::Problem;

/// Tells how the gateway does.
pub trait Health: Send + Sync {
    /// Why it should get no new clients now; nothing where it should. Quick and without blocking.
    fn unready(&self) -> Vec<&'static str>;
}

/// What the API tells machines.
pub(super) struct Vitals {
    pub(super) health: Arc<dyn Health>,
    pub(super) metrics: Metrics,
}

/// Whether the process lives: it answers.
#[utoipa::path(get, path = "/healthz", operation_id = "isAlive", tag = "operation", security(()),
    responses((status = 200, description = "It lives.", body = String, content_type = "text/plain"), Probed))]
pub(super) async fn alive(_: NoParams) -> &'static str {
    "alive\n"
}

/// Whether new clients should be sent to it: its listeners are open, policies are in force, the record
/// can be written, and it does not stop.
#[utoipa::path(get, path = "/readyz", operation_id = "isReady", tag = "operation", security(()),
    responses((status = 200, description = "It serves.", body = String, content_type = "text/plain"), Probed))]
pub(super) async fn ready(State(api): State<Api>, _: NoParams) -> Result<&'static str, Problem> {
    let reasons = api.0.vitals.health.unready();
    if reasons.is_empty() { Ok("ready\n") } else { Err(Problem::unavailable(reasons.join("; "))) }
}

/// Everything that is measured, in OpenMetrics' text. It holds no secret, but the names of users and
/// targets.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "operation",
    responses((status = 200, description = "The values.", body = String, content_type = "application/openmetrics-text"),
        ScrapersOnly, Common))]
pub(super) async fn metrics(State(api): State<Api>, caller: Caller, _: NoParams) -> Result<Response, Problem> {
    if !caller.reads_all() && !caller.is_one_of(&api.scrapers()) {
        return Err(Problem::forbidden("only admins may see this, and whom `[admin] metrics` lists"));
    }
    let text = api.0.vitals.metrics.render().map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}
