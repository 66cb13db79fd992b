//! Where people log in: asked before anybody can say who they are, so it tells no more than a login page would.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, extract::NoParams, openapi::Asked};

/// An issuer with which people log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginIssuer {
    /// Its URL.
    pub issuer: String,
    /// Who asks it for a token; the token is for them.
    pub client_id: String,
    /// What is asked for.
    pub scopes: Vec<String>,
}

/// The issuers with which people log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginIssuers {
    /// In the configuration's order.
    pub items: Vec<LoginIssuer>,
}

/// The issuers with which people log in.
#[utoipa::path(get, path = "/api/v1/login", operation_id = "listLoginIssuers", tag = "identity", security(()),
    responses((status = 200, description = "The issuers.", body = LoginIssuers), Asked))]
pub(super) async fn issuers(State(api): State<Api>, _: NoParams) -> Json<LoginIssuers> {
    Json(LoginIssuers { items: api.issuers().to_vec() })
}
