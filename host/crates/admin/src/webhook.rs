//! Announces each hold to a URL, signed as Standard Webhooks have it, so that a chat or a pager can
//! tell the approvers. An announcement is a help and no part of the decision: where it fails, the hold
//! stands and listings show it.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use hyper::{
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
};
use reqwest::{Client, Url, redirect::Policy};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Serialize;
use sha2::Sha256;
use sluicegate_core::{Approval, ApprovalId, ApprovalState, Approvals, Chain, approvals::Announcer, record};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::webhook_url::WebhookUrl;

/// What a secret begins with; base64 of the key follows.
const SECRET_PREFIX: &str = "whsec_";
/// How many bytes a key has, as the specification says.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Announcements under way or waiting for their next try; further ones are dropped.
const MAX_QUEUED: usize = 1000;
/// Requests at once, so that a slow receiver delays others but exhausts nothing.
const MAX_SENDING: usize = 8;
/// How often an announcement is tried.
const TRIES: u32 = 8;
/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The wait after the first try; each further one is three times as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Where to announce.
pub struct WebhookConfig {
    /// Where to.
    pub url: WebhookUrl,
    /// `whsec_` and the base64 of 24 to 64 random bytes.
    pub secret: SecretString,
}

impl WebhookConfig {
    /// Whether the secret is one that may be used. Reaches for nobody.
    pub fn check(&self) -> Result<(), WebhookError> {
        key(&self.secret).ok_or(WebhookError::Secret).map(drop)
    }
}

/// Why there can be no webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The secret is not in the form of the specification.
    #[error(
        "the webhook's secret must be `whsec_` and base64 of 24 to 64 random bytes: `echo whsec_$(openssl rand -base64 32)` makes one"
    )]
    Secret,
    /// The HTTP client could not be set up.
    #[error("the webhook's HTTP client cannot be set up; check that this machine has trusted certificates")]
    Client(#[source] reqwest::Error),
}

/// Announces holds. Announcements not yet made when the gateway stops are lost, as are the holds.
pub struct Webhook {
    sender: Arc<Sender>,
    room: Arc<Semaphore>,
}

struct Sender {
    client: Client,
    url: Url,
    key: SecretSlice<u8>,
    approvals: OnceLock<Weak<Approvals>>,
    sending: Semaphore,
}

/// The body: what happened, when, and the approval as the record shows it.
#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: &'a Approval,
}

struct Announcement {
    approval: ApprovalId,
    expires_at: i64,
    body: Bytes,
}

impl Webhook {
    /// Checks the configuration and reads the system's trusted certificates. Blocking.
    pub fn new(config: &WebhookConfig) -> Result<Self, WebhookError> {
        let url = config.url.url().clone();
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));
        let client = if url.scheme() == "https" { client.https_only(true) } else { client.no_proxy() };
        let sender = Sender {
            client: client.build().map_err(WebhookError::Client)?,
            url,
            key: key(&config.secret).ok_or(WebhookError::Secret)?,
            approvals: OnceLock::new(),
            sending: Semaphore::new(MAX_SENDING),
        };
        let room = Arc::new(Semaphore::new(MAX_QUEUED));
        Ok(Self { sender: Arc::new(sender), room })
    }

    /// Tells where to look whether an approval is still waited for; once it is not, it is not announced
    /// any more. Until this is called, its expiry alone counts.
    pub fn follow(&self, approvals: &Arc<Approvals>) {
        let _ = self.sender.approvals.set(Arc::downgrade(approvals));
    }
}

impl Announcer for Webhook {
    fn pending(&self, approval: &Approval) {
        let id = approval.id;
        let Ok(runtime) = Handle::try_current() else {
            tracing::error!(approval = %id, "a hold is not announced: it was asked for outside the runtime");
            return;
        };
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::error!(approval = %id, "a hold is not announced: {MAX_QUEUED} others wait for the webhook already");
            return;
        };
        let timestamp = jiff::Timestamp::from_millisecond(approval.requested_at).unwrap_or_default().to_string();
        let payload = Payload { kind: "approval.pending", timestamp, data: approval };
        let body = match serde_json::to_vec(&payload) {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                tracing::error!(approval = %id, %error, "a hold is not announced: it cannot be written as JSON");
                return;
            }
        };
        let announcement = Announcement { approval: id, expires_at: approval.expires_at, body };
        let sender = Arc::clone(&self.sender);
        runtime.spawn(async move {
            sender.announce(announcement).await;
            drop(place);
        });
    }
}

impl Sender {
    async fn announce(&self, announcement: Announcement) {
        let approval = announcement.approval;
        for tried in 0..TRIES {
            if tried > 0 {
                tokio::time::sleep(wait(tried - 1)).await;
            }
            let Ok(_turn) = self.sending.acquire().await else { return };
            if !self.is_waited_for(&announcement) {
                tracing::debug!(%approval, "a hold that has ended is not announced any more");
                return;
            }
            match self.post(&announcement).await {
                Ok(()) => {
                    tracing::debug!(%approval, "hold announced");
                    return;
                }
                Err(error) => tracing::warn!(%approval, attempt = tried + 1, error, "the webhook did not take a hold"),
            }
        }
        tracing::error!(%approval, "a hold could not be announced: the webhook refused it {TRIES} times");
    }

    fn is_waited_for(&self, announcement: &Announcement) -> bool {
        let in_time = record::now() < announcement.expires_at;
        match self.approvals.get() {
            None => in_time,
            Some(approvals) => {
                let found = approvals.upgrade().and_then(|approvals| approvals.find(announcement.approval));
                in_time && found.is_some_and(|approval| approval.state == ApprovalState::Pending)
            }
        }
    }

    /// One try. The error names no URL, for its path may be a secret.
    async fn post(&self, announcement: &Announcement) -> Result<(), String> {
        let id = format!("msg_{}", announcement.approval);
        let timestamp = (record::now() / 1000).to_string();
        let signature = sign(self.key.expose_secret(), &id, &timestamp, &announcement.body);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(announcement.body.clone());
        let response = request.send().await.map_err(|error| Chain(&error.without_url()).to_string())?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
fn sign(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length; an empty signature would be refused by whoever checks it.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn key(secret: &SecretString) -> Option<SecretSlice<u8>> {
    let key = STANDARD.decode(secret.expose_secret().strip_prefix(SECRET_PREFIX)?).ok()?;
    KEY_BYTES.contains(&key.len()).then(|| SecretSlice::from(key))
}

/// How long to wait before the next try: between half of the full time and all of it, so that what
/// failed together is not tried again together.
fn wait(tried: u32) -> Duration {
    let full = FIRST_WAIT.saturating_mul(3_u32.saturating_pow(tried)).min(LONGEST_WAIT);
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    full.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_reference_libraries() {
        // Worked example of the Standard Webhooks libraries (test vectors of svix and standardwebhooks).
        let key = key(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        let signature =
            sign(key.expose_secret(), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn waits_grow_to_their_bound() {
        for (tried, full) in [(0, 1), (1, 3), (3, 27), (5, 243), (6, 300), (40, 300)] {
            let full = Duration::from_secs(full);
            let waited = wait(tried);
            assert!(waited >= full / 2 && waited <= full, "{waited:?} of {full:?}");
        }
    }

    #[test]
    fn secrets_that_would_not_protect_are_refused() {
        let good = format!("whsec_{}", STANDARD.encode([7; 32]));
        let refused = |secret: &str| {
            let config = WebhookConfig { url: "https://hooks.example.com/".parse().unwrap(), secret: secret.into() };
            let refused = Webhook::new(&config).err().map(|e| e.to_string());
            assert_eq!(config.check().err().map(|e| e.to_string()), refused);
            refused
        };
        assert_eq!(refused(&good), None);
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        for secret in ["", "sesame", "whsec_", "whsec_not base64", &short, &good[6..]] {
            let error = refused(secret).unwrap();
            assert!(error.contains("whsec_") && !error.contains("sesame"), "{error}");
        }
    }
}
