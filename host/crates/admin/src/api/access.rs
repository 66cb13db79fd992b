//! Who may use what: tickets, roles to ask for, and what was granted. The gate decides; here a request gets the
//! caller's name, and a client that hangs up does not cut short what is being recorded.

use std::{future::Future, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use sluicegate_core::{
    Approval, ApprovalId, Identity, Proven,
    access::{AccessError, Grant, RequestError, RoleRequest, Ticket, TicketError, TicketId, TicketOrder},
};
use utoipa::ToSchema;

use super::{
    Api,
    auth::Caller,
    extract::{Id, Needed, NoParams, whole_number},
    openapi::{Asking, Common, Missing},
};
use crate::problem::Problem;

/// How long a ticket is valid unless the request says otherwise, in seconds.
const TICKET_SECONDS: u64 = 15 * 60;

/// A ticket that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketBody {
    /// The only target that it opens.
    pub target: String,
    /// How long it is valid, in seconds: 60 to 43200. What it opened ends with it.
    #[serde(default = "ticket_seconds", deserialize_with = "whole_number")]
    #[schema(minimum = 60, maximum = 43200, default = 900)]
    pub seconds: u64,
    /// Whether it opens one session and no more.
    #[serde(default)]
    #[schema(default = false)]
    pub once: bool,
    /// The service or agent it is for, of which the caller is the owner; none for the caller.
    #[serde(default, rename = "for")]
    #[schema(value_type = String, required = false)]
    pub holder: Option<String>,
}

/// A ticket that was just issued. Nobody shows its secret again.
#[derive(Deserialize, ToSchema)]
pub struct IssuedTicket {
    /// The ticket.
    #[serde(flatten)]
    pub ticket: Ticket,
    /// What to log in with, in the place of the secret.
    #[schema(value_type = String)]
    #[serde(deserialize_with = "secret")]
    pub secret: SecretString,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The one place where a ticket's secret is written out.
#[derive(Serialize)]
pub(super) struct ShownTicket {
    #[serde(flatten)]
    ticket: Ticket,
    secret: String,
}

/// Tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TicketList {
    /// The tickets, newest first.
    pub items: Vec<Ticket>,
    /// None: all of them are on one page.
    #[schema(value_type = Option<String>)]
    pub next: Option<String>,
}

/// A role that somebody wants for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleBody {
    /// The role.
    pub role: String,
    /// The target.
    pub target: String,
    /// For how long, in seconds: 60 at least, and at most what the role allows; an hour, or what it allows, where nothing
    /// is said.
    #[serde(default, deserialize_with = "maybe_whole_number", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false, minimum = 60)]
    pub seconds: Option<u64>,
    /// Why, for the approver.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
}

/// A role on a target that the caller may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleOffer {
    /// The role.
    pub role: String,
    /// The target.
    pub target: String,
    /// For how many seconds at most.
    pub max_seconds: u64,
    /// Who grants it; empty where the gateway's admins do.
    pub approvers: Vec<String>,
}

/// Roles to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleList {
    /// The roles, by name.
    pub items: Vec<RoleOffer>,
    /// None: all of them are on one page.
    #[schema(value_type = Option<String>)]
    pub next: Option<String>,
}

/// Grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantList {
    /// The grants, newest first.
    pub items: Vec<Grant>,
    /// None: all of them are on one page.
    #[schema(value_type = Option<String>)]
    pub next: Option<String>,
}

fn ticket_seconds() -> u64 {
    TICKET_SECONDS
}

fn maybe_whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    whole_number(deserializer).map(Some)
}

/// Issues a ticket: a secret for one target that ends by itself, for the caller or for a service or agent of theirs. Who
/// came with a token gets none that outlives it.
#[utoipa::path(post, path = "/api/v1/tickets", operation_id = "issueTicket", tag = "access", request_body = TicketBody,
    responses((status = 201, description = "The ticket, its secret shown only here.", body = IssuedTicket), Asking, Common))]
pub(super) async fn issue_ticket(
    State(api): State<Api>,
    caller: Caller,
    _: NoParams,
    Needed(body): Needed<TicketBody>,
) -> Result<(StatusCode, Json<ShownTicket>), Problem> {
    let (identity, client) = caller.named("a ticket stands for somebody")?;
    let proven = Proven { identity, basis: caller.basis };
    let order = TicketOrder {
        holder: body.holder,
        target: body.target,
        once: body.once,
        lifetime: Duration::from_secs(body.seconds),
    };
    let access = api.0.gate.access().clone();
    let issued = whole(async move { access.issue_ticket(&proven, &client, &order).await }).await?;
    let (secret, ticket) = issued.map_err(|error| refusal(&error))?;
    Ok((StatusCode::CREATED, Json(ShownTicket { ticket, secret: secret.expose_secret().to_owned() })))
}

/// Lists the tickets that are valid: all of them for admins, for others those that they hold or had issued.
#[utoipa::path(get, path = "/api/v1/tickets", operation_id = "listTickets", tag = "access",
    responses((status = 200, description = "The tickets.", body = TicketList), Common))]
pub(super) async fn list_tickets(State(api): State<Api>, caller: Caller, _: NoParams) -> Json<TicketList> {
    let items = caller.concerned().map(|of| api.0.gate.access().tickets(of)).unwrap_or_default();
    Json(TicketList { items, next: None })
}

/// Revokes a ticket, and ends the sessions that it opened.
#[utoipa::path(delete, path = "/api/v1/tickets/{id}", operation_id = "revokeTicket", tag = "access",
    params(("id" = Uuid, Path, description = "The ticket.")),
    responses((status = 204, description = "The ticket is void."), Missing, Common))]
pub(super) async fn revoke_ticket(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<TicketId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    let (by, client) = caller.named("who revokes a ticket is in the record")?;
    let (access, admin) = (api.0.gate.access().clone(), caller.is_admin());
    let revoked = whole(async move { access.revoke_ticket(id, &by, admin, &client).await }).await?;
    revoked.map_err(|error| refusal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the roles that the caller may ask for; those that anybody may, for the owner who gives no name.
#[utoipa::path(get, path = "/api/v1/roles", operation_id = "listRoles", tag = "access",
    responses((status = 200, description = "The roles, each with a target.", body = RoleList), Common))]
pub(super) async fn list_roles(State(api): State<Api>, caller: Caller, _: NoParams) -> Json<RoleList> {
    let offers = api.0.gate.access().roles_to_ask_for(caller.identity.as_ref());
    let offer = |(role, target): (sluicegate_core::access::Role, String)| RoleOffer {
        role: role.name,
        target,
        max_seconds: role.longest.as_secs(),
        approvers: role.approvers.iter().map(ToString::to_string).collect(),
    };
    Json(RoleList { items: offers.into_iter().map(offer).collect(), next: None })
}

/// Asks for a role on a target for a time. It is granted once enough approvers have approved, counts for sessions that
/// open from then on, and ends by itself, as do the sessions that rest on it.
#[utoipa::path(post, path = "/api/v1/grants", operation_id = "requestRole", tag = "access", request_body = RoleBody,
    responses((status = 202, description = "What approvers are asked; its id will be the grant's.", body = Approval), Asking, Common))]
pub(super) async fn request_role(
    State(api): State<Api>,
    caller: Caller,
    _: NoParams,
    Needed(body): Needed<RoleBody>,
) -> Result<(StatusCode, Json<Approval>), Problem> {
    let (identity, client) = caller.named("a role is somebody's")?;
    let proven = Proven { identity, basis: caller.basis };
    let RoleBody { role, target, seconds, reason } = body;
    let request = RoleRequest { role, target, duration: seconds.map(Duration::from_secs), reason };
    let access = api.0.gate.access().clone();
    let asked = whole(async move { access.request(&proven, &client, request).await }).await?;
    let approval = asked.map_err(|error| {
        tracing::warn!(%error, "a request for a role is refused");
        let status = match error {
            RequestError::NoRole { .. } => StatusCode::NOT_FOUND,
            RequestError::Duration(_) | RequestError::Reason => StatusCode::UNPROCESSABLE_ENTITY,
            RequestError::Busy(_) | RequestError::Record(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error.to_string())
    })?;
    Ok((StatusCode::ACCEPTED, Json(approval)))
}

/// Lists the grants that are in force: all of them for admins, for others their own.
#[utoipa::path(get, path = "/api/v1/grants", operation_id = "listGrants", tag = "access",
    responses((status = 200, description = "The grants.", body = GrantList), Common))]
pub(super) async fn list_grants(State(api): State<Api>, caller: Caller, _: NoParams) -> Json<GrantList> {
    let items = caller.concerned().map(|of| api.0.gate.access().grants(of)).unwrap_or_default();
    Json(GrantList { items, next: None })
}

/// Ends a grant, and the sessions that rest on it: its holder may, whoever granted it, and admins.
#[utoipa::path(delete, path = "/api/v1/grants/{id}", operation_id = "revokeGrant", tag = "access",
    params(("id" = Uuid, Path, description = "The grant.")),
    responses((status = 204, description = "The grant is over."), Missing, Common))]
pub(super) async fn revoke_grant(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ApprovalId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    let (by, client) = caller.named("who ends a grant is in the record")?;
    let (access, admin) = (api.0.gate.access().clone(), caller.is_admin());
    let revoked = whole(async move { access.revoke_grant(id, &by, admin, &client).await }).await?;
    revoked.map_err(|error| refusal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

impl Caller {
    /// Whose it is what they do, and from where; the owner of the socket needs credentials for it.
    fn named(&self, why: &str) -> Result<(Identity, String), Problem> {
        let unnamed = || Problem::unauthorized(format!("{why}: send credentials, on this socket too"));
        Ok((self.identity.clone().ok_or_else(unnamed)?, self.client.clone()))
    }

    /// Whose tickets and grants they see: everybody's where it is none. An error is nobody's.
    fn concerned(&self) -> Result<Option<&Identity>, ()> {
        if self.reads_all() { Ok(None) } else { self.identity.as_ref().map(Some).ok_or(()) }
    }
}

/// Does something to its end, whether or not the client waits for it.
async fn whole<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!(%error, "a request about access failed inside the gateway");
        Problem::internal("the request failed inside the gateway: see its log, and look whether it took effect")
    })
}

fn refusal(error: &AccessError) -> Problem {
    tracing::warn!(%error, "a request about access is refused");
    let status = match error {
        AccessError::NotFound { .. } | AccessError::Target(_) | AccessError::OthersTarget(..) => StatusCode::NOT_FOUND,
        AccessError::NotOwner(_) => StatusCode::FORBIDDEN,
        AccessError::Lifetime => StatusCode::UNPROCESSABLE_ENTITY,
        AccessError::Ticket(TicketError::Identity) => StatusCode::CONFLICT,
        AccessError::Ticket(_) | AccessError::Record(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}
