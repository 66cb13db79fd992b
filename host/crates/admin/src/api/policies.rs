//! How the policies stand.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api,
    auth::Caller,
    extract::NoParams,
    openapi::{AdminsOnly, Common},
};
use crate::problem::Problem;

/// Tells about policies.
pub trait Policies: Send + Sync {
    /// One object for each module: what is loaded, from where, since when, and what failed. Quick
    /// and without blocking.
    fn status(&self) -> Vec<serde_json::Value>;
}

/// The policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyList {
    /// One object for each module.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<serde_json::Value>,
    /// None: all of them are on one page.
    #[schema(value_type = Option<String>)]
    pub next: Option<String>,
}

/// How every module stands that some target binds.
#[utoipa::path(get, path = "/api/v1/policies", operation_id = "listPolicies", tag = "policies",
    responses((status = 200, description = "All modules.", body = PolicyList), AdminsOnly, Common))]
pub(super) async fn list(State(api): State<Api>, caller: Caller, _: NoParams) -> Result<Json<PolicyList>, Problem> {
    caller.must_read_all()?;
    Ok(Json(PolicyList { items: api.0.policies.status(), next: None }))
}
