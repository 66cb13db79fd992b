//! The keys that an issuer signs with: found by its discovery document (OpenID Connect Discovery 1.0, section 4), kept,
//! and got again when they are old or a token names one that is not among them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use openidconnect::{HttpRequest, HttpResponse, core::CoreJsonWebKeySet};
use reqwest::{Client, Method, Request, StatusCode, Url, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use super::issuer::{Issuer, is_trusted};

/// After so long the keys are looked for anew, while those that are known go on counting.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// For so long they count while the issuer cannot be reached.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// So often at most an issuer is asked, whatever tokens come.
const PAUSE: Duration = Duration::from_secs(10);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 1024 * 1024;

/// Gets documents of issuers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http {
    /// For issuers elsewhere.
    far: Client,
    /// For those on this machine, which no proxy leads to.
    near: Client,
}

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: String,
    http: Http,
    known: ArcSwapOption<Known>,
    /// Held by who asks the issuer; others wait for the answer.
    asking: Mutex<Asked>,
}

/// Keys, and when the issuer gave them.
pub(super) struct Known {
    pub set: CoreJsonWebKeySet,
    at: Instant,
}

/// When the issuer was asked last.
type Asked = Option<Instant>;

/// What is needed of a discovery document. Issuers for workloads have not much more.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: Url,
}

/// Why an issuer could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it does not answer as it should")]
    Http(#[from] reqwest::Error),
    #[error("it answers with the status {0}")]
    Status(StatusCode),
    #[error("its answer is longer than {MAX_ANSWER} bytes")]
    Long,
    #[error("its answer is not what it should be")]
    Answer(#[from] serde_json::Error),
    #[error("its discovery document is of another issuer")]
    OtherIssuer,
    #[error("what it names is at a place that is neither https:// nor, as it is itself, on this machine")]
    Place,
}

impl Http {
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = || {
            Client::builder()
                .redirect(Policy::none())
                .timeout(TIMEOUT)
                .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self { far: client().https_only(true).build()?, near: client().no_proxy().build()? })
    }

    /// A document. An issuer elsewhere leads to no place that is reached without TLS.
    pub async fn get<T: DeserializeOwned>(&self, issuer: &Url, url: Url) -> Result<T, FetchError> {
        let request = Request::new(Method::GET, url);
        let (status, answer) = self.answer(issuer, request).await?;
        if status != StatusCode::OK {
            return Err(FetchError::Status(status));
        }
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Any request, as openidconnect makes them. Whatever the answer's status is, it is an answer.
    pub async fn send(&self, issuer: &Url, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let (status, answer) = self.answer(issuer, request.try_into()?).await?;
        let mut response = HttpResponse::new(answer);
        *response.status_mut() = status;
        Ok(response)
    }

    async fn answer(&self, issuer: &Url, request: Request) -> Result<(StatusCode, Vec<u8>), FetchError> {
        if !is_led_to(issuer, request.url()) {
            return Err(FetchError::Place);
        }
        let client = if request.url().scheme() == "https" { &self.far } else { &self.near };
        let mut response = client.execute(request).await?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(FetchError::Long);
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((response.status(), answer))
    }
}

/// Whether an issuer may lead to this place.
pub(crate) fn is_led_to(issuer: &Url, place: &Url) -> bool {
    is_trusted(place) && issuer.scheme() == place.scheme()
}

/// Where an issuer describes itself (OpenID Connect Discovery 1.0, section 4).
pub(crate) fn discovery(issuer: &str) -> Result<Url, FetchError> {
    let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    place.parse().map_err(|_| FetchError::Place)
}

impl Keys {
    /// Those of this issuer, which is not asked yet.
    pub fn new(issuer: &Issuer, http: &Http) -> Self {
        let (known, asking) = Default::default();
        Self { issuer: issuer.url().to_owned(), http: http.clone(), known, asking }
    }

    /// The keys as of some minutes ago, or of a day where the issuer cannot be reached since; none where they cannot
    /// be had, which is in the log. Cancel-safe.
    pub async fn current(self: &Arc<Self>) -> Option<Arc<Known>> {
        match self.known.load_full() {
            Some(known) if known.at.elapsed() < FRESH => Some(known),
            Some(known) if known.at.elapsed() < STALE => {
                // A key that the issuer has withdrawn must not count because nobody came meanwhile.
                Some(self.asked(Some(Arc::clone(&known))).await.unwrap_or(known))
            }
            old => self.asked(old).await,
        }
    }

    /// The keys if they are others than these, for which the issuer is asked unless it was a moment ago. Cancel-safe.
    pub async fn newer_than(self: &Arc<Self>, old: &Arc<Known>) -> Option<Arc<Known>> {
        self.asked(Some(Arc::clone(old))).await
    }

    /// In a task of its own, so that whoever goes away meanwhile does not take the answer along.
    async fn asked(self: &Arc<Self>, old: Option<Arc<Known>>) -> Option<Arc<Known>> {
        tokio::spawn(Arc::clone(self).ask(old)).await.ok().flatten()
    }

    async fn ask(self: Arc<Self>, old: Option<Arc<Known>>) -> Option<Arc<Known>> {
        let mut asked = self.asking.lock().await;
        let known = self.known.load_full();
        // Somebody else got them meanwhile.
        if let Some(known) = known.filter(|known| old.as_ref().is_none_or(|old| !Arc::ptr_eq(old, known))) {
            return Some(known);
        }
        if asked.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        let fetched = self.fetch().await;
        *asked = Some(Instant::now());
        match fetched {
            Ok(set) => {
                let known = Arc::new(Known { set, at: Instant::now() });
                self.known.store(Some(Arc::clone(&known)));
                Some(known)
            }
            Err(error) => {
                let error = sluicegate_core::Chain(&error).to_string();
                tracing::error!(issuer = self.issuer, error, "the keys of an issuer of tokens cannot be had");
                None
            }
        }
    }

    async fn fetch(&self) -> Result<CoreJsonWebKeySet, FetchError> {
        let issuer = self.issuer.parse::<Url>().map_err(|_| FetchError::Place)?;
        let discovered: Discovered = self.http.get(&issuer, discovery(&self.issuer)?).await?;
        if discovered.issuer != self.issuer {
            return Err(FetchError::OtherIssuer);
        }
        self.http.get(&issuer, discovered.jwks_uri).await
    }
}
