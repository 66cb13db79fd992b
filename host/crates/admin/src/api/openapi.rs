//! The API's description, made from the handlers themselves (OpenAPI 3.1).

use std::collections::BTreeMap;

use axum::Json;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        Content, Ref, RefOr, Required, Response, ResponseBuilder,
        header::HeaderBuilder,
        schema::{ObjectBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{access, answers, approvals, extract::NoParams, health, login, policies, sessions, targets, tokens};
use crate::problem::{MEDIA_TYPE, Problem};

/// The whole API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluicegate",
        description = "Approvals, access, the record, the policies and the health of one gateway. Times are milliseconds since the Unix \
            epoch in bodies and RFC 3339 in parameters. Parameters that are not listed are refused with 400, as are \
            methods with 405; both are problems (RFC 9457). Before a request is understood as HTTP at all, it may be \
            refused with 400, 414 or 431 and no body.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        approvals::list,
        approvals::show,
        answers::approve,
        answers::deny,
        sessions::list,
        sessions::show,
        sessions::export,
        sessions::key,
        policies::list,
        access::issue_ticket,
        access::list_tickets,
        access::revoke_ticket,
        access::list_roles,
        access::request_role,
        access::list_grants,
        access::revoke_grant,
        tokens::issue,
        tokens::revoke,
        tokens::whoami,
        targets::list,
        login::issuers,
        health::alive,
        health::ready,
        health::metrics,
        serve,
    ),
    components(schemas(Problem)),
    modifiers(&Authentication, &NoBodyNeeded),
    security(("basic" = []), ("bearer" = []))
)]
struct Description;

/// This description.
#[utoipa::path(get, path = "/openapi.json", operation_id = "getDescription", tag = "identity",
    responses((status = 200, description = "The description.", body = Object), Common))]
pub(super) async fn serve(_: NoParams) -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

struct Authentication;

impl Modify for Authentication {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let mut add = |name: &str, scheme, description: &str| {
            let scheme = HttpBuilder::new().scheme(scheme).description(Some(description)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        };
        add("basic", HttpAuthScheme::Basic, "A built-in user's name and secret.");
        add("bearer", HttpAuthScheme::Bearer, "A session token, or a token of an OpenID Connect issuer.");
    }
}

/// The body of an answer may be left out, which the description of handlers cannot say.
struct NoBodyNeeded;

impl Modify for NoBodyNeeded {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let answers = api.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/api/v1/approvals/"));
        let operations = answers.filter_map(|(_, path)| path.post.as_mut());
        for body in operations.filter_map(|operation| operation.request_body.as_mut()) {
            body.required = Some(Required::False);
        }
    }
}

/// What may come of every request.
pub(super) struct Common;
/// What may come of requests that only admins may make.
pub(super) struct AdminsOnly;
/// What may come of requests that those may make, too, who scrape.
pub(super) struct ScrapersOnly;
/// What may come of requests that anybody may make.
pub(super) struct Probed;
/// What may come of what is asked before a login.
pub(super) struct Asked;
/// What may come of requests for one thing.
pub(super) struct Missing;
/// What may come of requests for one session.
pub(super) struct Removed;
/// What may come of answers.
pub(super) struct Answering;
/// What may come of requests for access.
pub(super) struct Asking;
/// What may come of requests about tokens.
pub(super) struct WrongProof;

impl IntoResponses for Common {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (400, "The request is not understood: a parameter is unknown or out of bounds, or a body is no JSON."),
            (401, "The caller is not known."),
            (421, "A listener that only this machine reaches was asked for another host."),
            (429, "There were too many wrong secrets from the caller's network."),
            (500, "The gateway failed; its log says how."),
            (503, "The gateway cannot do it now."),
        ])
    }
}

impl IntoResponses for AdminsOnly {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(403, "The caller is no admin.")])
    }
}

impl IntoResponses for ScrapersOnly {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(403, "The caller is no admin, and not listed in `[admin] metrics`.")])
    }
}

impl IntoResponses for Probed {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (400, "The request is not understood: it has parameters."),
            (421, "A listener that only this machine reaches was asked for another host."),
            (503, "The gateway should get no new clients now."),
        ])
    }
}

impl IntoResponses for Asked {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (400, "The request is not understood: it has parameters."),
            (421, "A listener that only this machine reaches was asked for another host."),
            (503, "The gateway cannot do it now."),
        ])
    }
}

impl IntoResponses for Missing {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(404, "There is no such thing that the caller may see.")])
    }
}

impl IntoResponses for Removed {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(410, "Retention removed it.")])
    }
}

impl IntoResponses for Answering {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (403, "The caller asked for it themselves, or is not an approver."),
            (404, "There is no such approval that the caller may see."),
            (409, "It has ended, or the caller has answered already."),
            (413, "The body has more than 64 KiB."),
            (415, "The body is not `application/json`."),
            (422, "The body does not fit, or a note is needed or too long."),
        ])
    }
}

impl IntoResponses for Asking {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (403, "The caller is not the owner of the service or agent."),
            (404, "There is no such target that the caller may use, or no such role that they may ask for."),
            (409, "The identity has enough of them."),
            (413, "The body has more than 64 KiB."),
            (415, "The body is not `application/json`."),
            (422, "The body does not fit, or a time or a text is out of bounds."),
        ])
    }
}

impl IntoResponses for WrongProof {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(403, "The caller sent a token where a secret is needed, or the other way round.")])
    }
}

fn problems(list: &[(u16, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let header = |kind, text: &str| {
        HeaderBuilder::new().schema(ObjectBuilder::new().schema_type(kind).build()).description(Some(text)).build()
    };
    let problem = |(status, description): &(u16, &str)| {
        let body = Content::new(Some(Ref::from_schema_name("Problem")));
        let mut response = ResponseBuilder::new().description(*description).content(MEDIA_TYPE, body);
        match status {
            401 => response = response.header("www-authenticate", header(Type::String, "How to say who one is.")),
            429 | 503 => {
                response = response.header("retry-after", header(Type::Integer, "Seconds after which to try again."))
            }
            _ => {}
        }
        (status.to_string(), RefOr::T(response.build()))
    };
    list.iter().map(problem).collect()
}
