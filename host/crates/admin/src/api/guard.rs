//! What holds for every request, whoever sends it: for which host it is, how long it may take, and
//! what browsers are told about the answer.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};
use tokio::time::timeout;

use super::Door;
use crate::problem::Problem;

/// How long a request may take until its answer begins.
const DEADLINE: Duration = Duration::from_secs(30);
/// Nothing here is for a browser to run, frame, guess or keep.
const HEADERS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
];
/// What a loopback listener is called, whatever its configuration says.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The hosts for which requests are answered.
#[derive(Clone)]
pub(super) enum Hosts {
    Any,
    Only(Arc<[String]>),
}

impl Hosts {
    pub(super) fn of(door: &Door) -> Self {
        match door {
            Door::Network { listen, loopback: true } => {
                let configured = listen.rsplit_once(':').map_or(listen.as_str(), |(host, _)| host);
                Self::Only(LOOPBACK.iter().chain([&configured]).map(|host| host.to_ascii_lowercase()).collect())
            }
            Door::Owner | Door::Network { .. } => Self::Any,
        }
    }

    fn answer_for(&self, authority: &Authority) -> bool {
        match self {
            Self::Any => true,
            Self::Only(hosts) => hosts.contains(&authority.host().to_ascii_lowercase()),
        }
    }
}

/// Refuses requests for other hosts.
pub(super) async fn for_this_host(
    State(hosts): State<Hosts>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let mut named = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return Err(Problem::bad_request("a request needs one `host` header"));
    };
    let Ok(host) = Authority::try_from(host.as_bytes()) else {
        return Err(Problem::bad_request("the `host` header is no host"));
    };
    let target = request.uri().authority();
    if !hosts.answer_for(&host) || target.is_some_and(|target| !hosts.answer_for(target)) {
        let detail = "requests for this host are not answered here: use 127.0.0.1 or localhost";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    Ok(next.run(request).await)
}

/// Gives up on a request that takes too long. What must be finished runs in a task of its own.
pub(super) async fn in_time(request: Request, next: Next) -> Result<Response, Problem> {
    timeout(DEADLINE, next.run(request)).await.map_err(|_| {
        tracing::warn!(deadline = ?DEADLINE, "a request to the admin API was given up");
        Problem::unavailable("the gateway could not answer in time; try again later, and see its log")
    })
}

/// Tells browsers what to do with the answer.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
