//! A client of the administration API: over TCP or over the owner's socket, as whoever a test says, with
//! exactly the headers and bytes that a test says. Calls block, and may be made from async tests too.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::users;

/// The header of a request with a JSON body.
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 20;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The API as one caller sees it.
#[derive(Debug, Clone)]
pub struct Api {
    to: To,
    authorization: Option<String>,
}

#[derive(Debug, Clone)]
enum To {
    Port(u16),
    Socket(PathBuf),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Api {
    /// The API on a port of 127.0.0.1, called without credentials.
    pub fn on_port(port: u16) -> Self {
        Self { to: To::Port(port), authorization: None }
    }

    /// The API on the owner's socket, called without credentials.
    pub fn on_socket(path: PathBuf) -> Self {
        Self { to: To::Socket(path), authorization: None }
    }

    /// The port; there is none on a socket.
    pub fn port(&self) -> u16 {
        match &self.to {
            To::Port(port) => *port,
            To::Socket(path) => panic!("{} has no port", path.display()),
        }
    }

    /// The same, as one of [`users::USERS`] by HTTP Basic.
    pub fn basic(&self, user: &str) -> Self {
        self.basic_with(user, users::secret(user))
    }

    /// The same, with any name and secret by HTTP Basic.
    pub fn basic_with(&self, user: &str, secret: &str) -> Self {
        self.authorized(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}"))))
    }

    /// The same, with a token.
    pub fn bearer(&self, token: &str) -> Self {
        self.authorized(format!("Bearer {token}"))
    }

    fn authorized(&self, authorization: String) -> Self {
        Self { to: self.to.clone(), authorization: Some(authorization) }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], Bytes::new())
    }

    /// POST with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &JSON, body.to_string().into())
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], Bytes::new())
    }

    /// Approves or denies an approval.
    pub fn answer(&self, approval: &str, approve: bool, note: &str) -> Answer {
        self.try_answer(approval, approve, note).expect("an answer of the API")
    }

    /// The same; none where the connection fails.
    pub fn try_answer(&self, approval: &str, approve: bool, note: &str) -> Option<Answer> {
        let what = if approve { "approve" } else { "deny" };
        let body = serde_json::json!({ "note": note }).to_string().into();
        self.try_call("POST", &format!("/api/v1/approvals/{approval}/{what}"), &JSON, body)
    }

    /// The approvals that wait, newest first, as this caller sees them.
    pub fn pending(&self) -> Vec<Value> {
        self.get("/api/v1/approvals?state=pending&limit=1000").json()["items"].as_array().expect("items").clone()
    }

    /// Any request.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        self.try_call(method, path, headers, body).unwrap_or_else(|| panic!("{method} {path} is not answered"))
    }

    fn try_call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request of a test is well formed");
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { tokio::time::timeout(LIMIT, self.send(request)).await })
        };
        // A thread of its own, because a test's runtime must not be blocked on by another one.
        let answer = std::thread::scope(|scope| scope.spawn(work).join()).expect("no panic while calling the API");
        answer.unwrap_or_else(|_| panic!("{method} {path} has no answer after {LIMIT:?}"))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        match &self.to {
            To::Port(port) => exchange(TcpStream::connect(("127.0.0.1", *port)).await.ok()?, request).await,
            To::Socket(path) => exchange(UnixStream::connect(path).await.ok()?, request).await,
        }
    }
}

/// One request and its answer; none where the connection fails.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Option<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.ok()?.to_bytes();
    drop(sender);
    connection.abort();
    Some(Answer { status: parts.status, headers: parts.headers, body })
}

impl Answer {
    /// The body of an answer that must be 200, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.json_of(200)
    }

    /// The body of an answer that must have this status, as JSON.
    #[track_caller]
    pub fn json_of(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The body of an answer that must be 200, as text.
    #[track_caller]
    pub fn ok_text(&self) -> String {
        assert_eq!(self.status.as_u16(), 200, "{}", self.text());
        self.text()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks that it is a problem of this status in the one form that problems have, and returns its
    /// `detail`.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        let kind = self.headers.get("content-type").map(|value| value.as_bytes().to_vec()).unwrap_or_default();
        assert_eq!(kind, b"application/problem+json", "{}", self.text());
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], status, "{problem}");
        problem["detail"].as_str().unwrap_or_else(|| panic!("no detail: {problem}")).to_owned()
    }
}
