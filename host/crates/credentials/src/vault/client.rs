//! Requests to Vault: bounded in time and size, to no other place, and with nothing of the answers' own words in
//! errors.

use std::{path::PathBuf, time::Duration};

use reqwest::{
    Certificate, Client, Method, Response, StatusCode,
    header::{HeaderName, HeaderValue},
    redirect::Policy,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sluicegate_core::Chain;
use tokio::{sync::Semaphore, time::timeout};
use zeroize::Zeroizing;

use super::{VaultAddress, VaultConfig};
use crate::VaultFault;

/// How long one answer may take. Giving back credentials includes what the database does.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer: what a KV engine keeps at one place has some 1 MiB at most.
pub(crate) const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// Requests at once.
const MAX_REQUESTS: usize = 32;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Tells an agent that it was not a browser that was led to it.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// The body of an answer, which may hold a secret.
pub(super) type Answer = Zeroizing<Vec<u8>>;

/// Why Vault cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Its authorities cannot be read.
    #[error("the authorities `{path}` of [vault] cannot be used: {why}")]
    Ca {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A namespace that cannot be sent.
    #[error("the `namespace` of [vault] has characters that no namespace has")]
    Namespace,
    /// The client cannot be set up.
    #[error("the HTTP client for [vault] cannot be set up; check that this machine has trusted certificates")]
    Client(#[source] reqwest::Error),
}

/// The way to one Vault.
pub(super) struct Http {
    client: Client,
    /// A crowd that comes back to the gateway is not to be one at Vault.
    turns: Semaphore,
    address: VaultAddress,
    namespace: Option<HeaderValue>,
}

impl Http {
    /// Blocking.
    pub fn new(config: &VaultConfig) -> Result<Self, VaultError> {
        let mut client = Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));
        client = match config.address.is_plaintext() {
            // No proxy leads to this machine.
            true => client.no_proxy(),
            false => client.https_only(true),
        };
        if let Some(path) = &config.ca {
            let refuse = |why: String| VaultError::Ca { path: path.clone(), why };
            let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
            let authorities = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if authorities.is_empty() {
                return Err(refuse("it holds no certificate".to_owned()));
            }
            client = client.tls_built_in_root_certs(false);
            client = authorities.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
        }
        let namespace = config.namespace.as_deref().map(HeaderValue::from_str).transpose();
        Ok(Self {
            turns: Semaphore::new(MAX_REQUESTS),
            client: client.build().map_err(VaultError::Client)?,
            address: config.address.clone(),
            namespace: namespace.map_err(|_| VaultError::Namespace)?,
        })
    }

    /// One request, and the body of an answer that says it was done. Cancel-safe; Vault may have done it all the
    /// same.
    pub async fn send<'a>(
        &self,
        method: Method,
        parts: impl IntoIterator<Item = &'a str>,
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<Answer, VaultFault> {
        // It is never closed.
        let _turn = timeout(TIMEOUT, self.turns.acquire()).await.map_err(|_| VaultFault::Crowded)?;
        let mut token = HeaderValue::from_str(token.expose_secret()).map_err(|_| VaultFault::NotAToken)?;
        token.set_sensitive(true);
        let mut request = self.client.request(method, self.address.api(parts)).header(TOKEN, token);
        request = request.header(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            request = request.header(NAMESPACE, namespace);
        }
        if let Some(body) = body {
            let json = HeaderValue::from_static("application/json");
            request = request.header(reqwest::header::CONTENT_TYPE, json).body(body.to_string());
        }
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {}
            StatusCode::FORBIDDEN => return Err(VaultFault::Forbidden),
            StatusCode::NOT_FOUND => return Err(VaultFault::Nothing),
            StatusCode::BAD_REQUEST => {
                let said: Refusal = serde_json::from_slice(&read(response).await?).unwrap_or_default();
                let gone = said.errors.iter().any(|error| GONE.iter().any(|words| error.contains(words)));
                return Err(if gone { VaultFault::Gone } else { VaultFault::Status(400) });
            }
            other => return Err(VaultFault::Status(other.as_u16())),
        }
        read(response).await
    }
}

/// What Vault says of a request that it does not do.
/// <https://developer.hashicorp.com/vault/api-docs#error-response>
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<String>,
}

/// What it says of a lease that is not there any more; other errors of the same status pass.
const GONE: [&str; 2] = ["lease not found", "lease expired"];

async fn read(mut response: Response) -> Result<Answer, VaultFault> {
    let mut answer = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if answer.len() + chunk.len() > MAX_ANSWER {
            return Err(VaultFault::Long);
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn unreachable(error: reqwest::Error) -> VaultFault {
    VaultFault::Unreachable(Chain(&error.without_url()).to_string())
}
