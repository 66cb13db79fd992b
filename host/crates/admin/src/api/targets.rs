//! The targets that a caller may use, and where. What others may use is nobody's business.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sluicegate_core::Proven;
use utoipa::ToSchema;

use super::{Api, auth::Caller, extract::NoParams, openapi::Common};

/// A target that the caller may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsableTarget {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub protocol: String,
    /// The gateway's port for that.
    pub port: u16,
}

/// The targets that the caller may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsableTargets {
    /// By name.
    pub items: Vec<UsableTarget>,
    /// Always none: they come all at once.
    pub next: Option<String>,
}

/// The targets that the caller may use. The owner of the gateway's socket has a name only with credentials, and uses none
/// without.
#[utoipa::path(get, path = "/api/v1/targets", operation_id = "listTargets", tag = "identity",
    responses((status = 200, description = "The targets.", body = UsableTargets), Common))]
pub(super) async fn list(State(api): State<Api>, caller: Caller, _: NoParams) -> Json<UsableTargets> {
    let proven = caller.identity.map(|identity| Proven { identity, basis: caller.basis });
    let usable = proven.map(|proven| api.0.gate.access().targets_of(&proven)).unwrap_or_default();
    let served = usable.into_iter().filter_map(|(name, target)| {
        let port = api.port(target.protocol)?;
        Some(UsableTarget { name, protocol: target.protocol.to_owned(), port })
    });
    Json(UsableTargets { items: served.collect(), next: None })
}
