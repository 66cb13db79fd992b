//! Session tokens, and who the gateway takes the caller for.

use axum::{Json, extract::State, http::StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use sluicegate_core::Proven;
use utoipa::ToSchema;

use super::{
    Api,
    auth::{Caller, Proof},
    extract::NoParams,
    openapi::{Common, WrongProof},
};
use crate::problem::Problem;

/// A token that was just given out. Nobody shows it again.
#[derive(Deserialize, ToSchema)]
pub struct Token {
    /// What to send as `Authorization: Bearer`.
    #[schema(value_type = String)]
    #[serde(deserialize_with = "secret")]
    pub token: SecretString,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_at: i64,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The one place where a token is written out.
#[derive(Serialize)]
pub(super) struct ShownToken {
    token: String,
    expires_at: i64,
}

/// Who the gateway takes the caller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The name; none where the owner gave no credentials.
    pub user: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// Whether they are one of the gateway's admins.
    pub admin: bool,
    /// Whether they came through the owner's socket, and so may read everything.
    pub owner: bool,
}

/// Gives out a session token: it stands for the caller for 12 hours, or until their secret changes.
/// Whoever has 20 loses the oldest. A token gives out no tokens, and who has one of an issuer shows that one.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "createToken", tag = "identity", security(("basic" = [])),
    responses((status = 201, description = "The token, shown only here.", body = Token), WrongProof, Common))]
pub(super) async fn issue(
    State(api): State<Api>,
    caller: Caller,
    _: NoParams,
) -> Result<(StatusCode, Json<ShownToken>), Problem> {
    if caller.identity.as_ref().is_some_and(|identity| identity.token.is_some()) {
        return Err(Problem::bad_request(
            "an issuer's token needs no other: send it as it is (`Authorization: Bearer`) with every request",
        ));
    }
    let identity = match (caller.identity, caller.proof) {
        (Some(identity), Proof::Secret) => identity,
        (_, Proof::Token(_)) => {
            return Err(Problem::forbidden("a token gives out no tokens: send your name and secret (HTTP Basic)"));
        }
        _ => return Err(Problem::unauthorized("a token stands for somebody: send your name and secret (HTTP Basic)")),
    };
    let proven = Proven { identity, basis: caller.basis };
    let Some((token, expires_at)) = api.0.tokens.issue(&proven) else {
        return Err(Problem::unavailable("no more tokens can be given out now; use HTTP Basic, or try again later"));
    };
    tracing::info!(user = proven.identity.user, "session token given out");
    let token = token.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(ShownToken { token, expires_at })))
}

/// Ends the token that the request was sent with.
#[utoipa::path(delete, path = "/api/v1/tokens", operation_id = "revokeToken", tag = "identity", security(("bearer" = [])),
    responses((status = 204, description = "The token is void."), WrongProof, Common))]
pub(super) async fn revoke(State(api): State<Api>, caller: Caller, _: NoParams) -> Result<StatusCode, Problem> {
    let Proof::Token(token) = caller.proof else {
        return Err(Problem::forbidden("this ends the session token that it is sent with: send that (Bearer)"));
    };
    api.0.tokens.revoke(&token);
    Ok(StatusCode::NO_CONTENT)
}

/// Who the gateway takes the caller for.
#[utoipa::path(get, path = "/api/v1/whoami", operation_id = "whoAmI", tag = "identity",
    responses((status = 200, description = "The caller.", body = WhoAmI), Common))]
pub(super) async fn whoami(caller: Caller, _: NoParams) -> Json<WhoAmI> {
    let (admin, owner) = (caller.is_admin(), caller.owner);
    let (user, groups) = caller.identity.map_or_else(Default::default, |who| (Some(who.user), who.groups));
    Json(WhoAmI { user, groups, admin, owner })
}
