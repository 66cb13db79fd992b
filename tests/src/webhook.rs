//! A receiver of webhooks: a real HTTP server that keeps what it was sent, and fails as often as a test
//! wants before it takes anything.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::programs::eventually;

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// When.
    pub at: Instant,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What it was answered.
    pub answered: StatusCode,
}

/// The receiver. It ends when it is dropped.
pub struct Webhook {
    url: String,
    inbox: Arc<Inbox>,
    // Dropped last: the server runs in it.
    _runtime: tokio::runtime::Runtime,
}

struct Inbox {
    deliveries: Mutex<Vec<Delivery>>,
    failures: AtomicUsize,
}

impl Webhook {
    /// Starts on a free port of 127.0.0.1. The first `failures` requests are answered 503.
    pub fn start(failures: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let inbox = Arc::new(Inbox { deliveries: Mutex::default(), failures: AtomicUsize::new(failures) });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has free ports");
        let url = format!("http://{}/hook", listener.local_addr().expect("a bound socket has an address"));
        let router = Router::new().fallback(receive).with_state(Arc::clone(&inbox));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, inbox, _runtime: runtime }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What came so far, in order.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.inbox.deliveries.lock().expect("nobody panics with the inbox").clone()
    }

    /// Waits for this many requests.
    pub fn wait_for(&self, count: usize) -> Vec<Delivery> {
        eventually(&format!("{count} deliveries arrive"), Duration::from_secs(30), || self.deliveries().len() >= count);
        self.deliveries()
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let fails = inbox.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let answered = if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT };
    let delivery = Delivery { at: Instant::now(), headers, body, answered };
    inbox.deliveries.lock().expect("nobody panics with the inbox").push(delivery);
    answered
}

impl Delivery {
    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", self.headers));
        value.to_str().expect("a header of text")
    }

    /// The signature that it ought to have with this secret, by the specification of Standard Webhooks:
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
    pub fn signature(&self, secret: &str) -> String {
        let key = secret.strip_prefix("whsec_").and_then(|key| BASE64_STANDARD.decode(key).ok()).expect("a secret");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
        for part in [self.header("webhook-id"), ".", self.header("webhook-timestamp"), "."] {
            mac.update(part.as_bytes());
        }
        mac.update(&self.body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}
