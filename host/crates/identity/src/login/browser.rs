//! A login in the browser of this machine (RFC 8252): the issuer sends it back to a port that is open for this login alone. Others
//! on this machine can reach the port too, so that only what knows the login's `state` counts.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{HeaderValue, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use openidconnect::{
    AuthenticationFlow, AuthorizationCode, CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    core::CoreResponseType,
};
use reqwest::Url;
use subtle::ConstantTimeEq;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{Granted, LoginError, Provider, error::refusal};

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long one connection may take to say what it wants.
const CONNECTION: Duration = Duration::from_secs(10);
/// Connections at once: browsers open some in advance.
const MAX_CONNECTIONS: usize = 16;
/// Where the browser comes back to.
const PATH: &str = "/callback";

/// A login that waits for a browser.
pub struct BrowserLogin<'p> {
    provider: &'p Provider,
    listener: TcpListener,
    redirect: RedirectUrl,
    url: Url,
    /// Leads to the same, once.
    door: Arc<Door>,
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

/// A place on the login's own port that leads the first one who comes to the issuer: whoever starts a browser has its
/// address in the arguments, which everybody on the machine can read, and the issuer's has the `state` in it.
struct Door {
    path: String,
    leads_to: String,
    used: AtomicBool,
}

impl Door {
    fn open<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let known = bool::from(request.uri().path().as_bytes().ct_eq(self.path.as_bytes()));
        if !known || request.method() != Method::GET || self.used.swap(true, Ordering::SeqCst) {
            return None;
        }
        let mut found = page(StatusCode::SEE_OTHER, "Go on at the issuer.");
        found.headers_mut().insert(LOCATION, HeaderValue::from_str(&self.leads_to).ok()?);
        Some(found)
    }
}

/// What a browser brought back, of which nothing is known but that it knows the login's `state`.
struct Returned {
    code: Result<AuthorizationCode, LoginError>,
    issuer: Option<String>,
}

impl Provider {
    /// Begins a login: opens a port on 127.0.0.1 for it.
    pub async fn browser(&self) -> Result<BrowserLogin<'_>, LoginError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(LoginError::Port)?;
        let port = listener.local_addr().map_err(LoginError::Port)?.port();
        let redirect = RedirectUrl::new(format!("http://127.0.0.1:{port}{PATH}")).map_err(|_| LoginError::Answer)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let client = self.client.clone().set_redirect_uri(redirect.clone());
        let mut request = client
            .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
            .add_scopes(self.scopes.iter().cloned())
            .set_pkce_challenge(challenge);
        if self.scopes.iter().any(|scope| scope.as_str() == "offline_access") {
            // Without a word of consent there is no offline access (OpenID Connect Core 1.0, section 11).
            request = request.add_prompt(openidconnect::core::CoreAuthPrompt::Consent);
        }
        let (url, state, nonce) = request.url();
        let (path, leads_to) = (format!("/{}", CsrfToken::new_random().secret()), url.to_string());
        let door = Arc::new(Door { path, leads_to, used: AtomicBool::new(false) });
        Ok(BrowserLogin { provider: self, listener, redirect, url, door, state, nonce, verifier })
    }
}

impl BrowserLogin<'_> {
    /// Where the browser has to go.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Where a program on this machine is told to go, whose arguments others can read: it leads there once.
    pub fn local_url(&self) -> String {
        let port = self.redirect.url().port().unwrap_or_default();
        format!("http://127.0.0.1:{port}{}", self.door.path)
    }

    /// Waits for the browser, 10 minutes at most, and gets the token. Cancel-safe.
    pub async fn finish(self) -> Result<Granted, LoginError> {
        let returned = timeout(PATIENCE, returned(&self.listener, &self.state, &self.door)).await;
        let returned = returned.map_err(|_| LoginError::Late(PATIENCE.as_secs() / 60))??;
        let Self { provider, redirect, nonce, verifier, .. } = self;
        // What another issuer answered is not shown to this one (RFC 9207, section 2.4).
        match returned.issuer {
            Some(issuer) if issuer != provider.issuer.as_str() => return Err(LoginError::OtherIssuer),
            None if provider.names_itself => return Err(LoginError::OtherIssuer),
            _ => {}
        }
        let client = provider.client.clone().set_redirect_uri(redirect);
        let request = client.exchange_code(returned.code?).set_pkce_verifier(verifier);
        let answer = request.request_async(&provider.wire).await?;
        provider.granted(&answer, |found| match found {
            Some(found) if bool::from(found.secret().as_bytes().ct_eq(nonce.secret().as_bytes())) => Ok(()),
            _ => Err("another nonce".to_owned()),
        })
    }
}

/// What the first browser brings that knows the `state`.
async fn returned(listener: &TcpListener, state: &CsrfToken, door: &Arc<Door>) -> Result<Returned, LoginError> {
    let (sender, mut found) = mpsc::channel(1);
    let (room, state) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), Arc::new(state.clone()));
    // Ends with this future, and so does what was accepted.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(returned) = found.recv() => {
                // The browser still gets its page.
                while timeout(Duration::from_millis(500), connections.join_next()).await.is_ok_and(|next| next.is_some()) {}
                return Ok(returned);
            }
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (sender, state, door) = (sender.clone(), Arc::clone(&state), Arc::clone(door));
        connections.spawn(async move {
            let _place = place;
            let answer = service_fn(|request| {
                let (page, returned) = match door.open(&request) {
                    Some(found) => (found, None),
                    None => read(&request, &state),
                };
                if let Some(returned) = returned {
                    // Whoever comes second with the same state comes too late.
                    let _ = sender.try_send(returned);
                }
                std::future::ready(Ok::<_, Infallible>(page))
            });
            let served = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
            // Whoever hangs up or is silent has brought nothing.
            let _ = timeout(CONNECTION, served).await;
        });
    }
}

/// What a request brings, and the page that it gets.
fn read(request: &Request<Incoming>, state: &CsrfToken) -> (Response<Full<Bytes>>, Option<Returned>) {
    if request.method() != Method::GET || request.uri().path() != PATH {
        return (page(StatusCode::NOT_FOUND, "There is nothing here."), None);
    }
    let query = request.uri().query().unwrap_or_default();
    let Some(mut parameters) = parameters(query) else {
        return (page(StatusCode::BAD_REQUEST, "This is no answer to a login."), None);
    };
    let known = |found: &String| bool::from(found.as_bytes().ct_eq(state.secret().as_bytes()));
    if !parameters.get("state").is_some_and(known) {
        return (page(StatusCode::BAD_REQUEST, "This is no answer to the login that waits here."), None);
    }
    let issuer = parameters.remove("iss");
    let code = match (parameters.remove("code"), parameters.remove("error")) {
        (Some(code), None) => Ok(AuthorizationCode::new(code)),
        (_, Some(error)) => Err(refusal(&error, parameters.get("error_description"))),
        (None, None) => Err(LoginError::Answer),
    };
    let text = if code.is_ok() {
        "You may close this page, and go on in your terminal."
    } else {
        "The login failed: see your terminal."
    };
    (page(StatusCode::OK, text), Some(Returned { code, issuer }))
}

/// A query's parameters; none where one is there twice (RFC 6749, section 3.1).
fn parameters(query: &str) -> Option<HashMap<String, String>> {
    let mut url = Url::parse("http://127.0.0.1/").ok()?;
    url.set_query(Some(query));
    let mut found = HashMap::new();
    for (name, value) in url.query_pairs() {
        if found.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(found)
}

fn page(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let body = format!("<!doctype html><meta charset=utf-8><title>Sluicegate</title><p>{text}</p>");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        // The code is in this page's address, and goes nowhere else.
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
    ] {
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_who_knows_the_way_is_led_to_the_issuer_and_nobody_after_them() {
        let leads_to = "https://id.example.com/auth?state=s".to_owned();
        let door = Door { path: "/secret".to_owned(), leads_to: leads_to.clone(), used: AtomicBool::new(false) };
        let ask = |method: Method, path: &str| Request::builder().method(method).uri(path).body(()).unwrap();
        assert!(door.open(&ask(Method::GET, "/other")).is_none() && door.open(&ask(Method::HEAD, "/secret")).is_none());
        let led = door.open(&ask(Method::GET, "/secret")).unwrap();
        assert_eq!(led.status(), StatusCode::SEE_OTHER);
        assert_eq!(led.headers()[LOCATION], leads_to);
        assert!(door.open(&ask(Method::GET, "/secret")).is_none());
    }

    #[test]
    fn a_parameter_that_is_there_twice_is_no_answer() {
        assert_eq!(parameters("a=1&b=%26").unwrap()["b"], "&");
        assert!(parameters("code=1&state=s&code=2").is_none());
    }
}
