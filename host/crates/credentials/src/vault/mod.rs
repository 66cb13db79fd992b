//! HashiCorp Vault, or OpenBao, which has the same API: values of a KV engine of version 2, and credentials that
//! a database engine lends for a time.
//!
//! * [`config`] is what `[vault]` says, [`client`] how it is asked.
//! * [`lease`] is the life of what was lent.
//!
//! <https://developer.hashicorp.com/vault/api-docs>

mod client;
mod config;
mod lease;

use std::{collections::HashMap, sync::Arc, time::Duration};

use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use sluicegate_core::secret::{SecretSource, VaultPath};

use self::client::Http;
pub(crate) use self::{client::MAX_ANSWER, lease::Leases};
pub use self::{
    client::VaultError,
    config::{VaultAddress, VaultAddressError, VaultConfig},
    lease::{Lent, VaultLease},
};
use crate::{SecretError, VaultFault, helpers::Helpers, local};

/// The longest time of a lease that is counted: some years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A Vault to ask.
pub struct Vault {
    http: Http,
    token: SecretSource,
    helpers: Arc<Helpers>,
}

/// What was lent, as Vault says it.
struct Loan {
    id: String,
    time: Duration,
    renewable: bool,
    username: String,
    password: SecretString,
}

/// An answer of a KV engine. <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version>
#[derive(Deserialize)]
struct Kept {
    data: KeptData,
}

#[derive(Deserialize)]
struct KeptData {
    data: HashMap<String, Value>,
    #[serde(rename = "metadata")]
    _metadata: IgnoredAny,
}

/// An answer of a database engine.
/// <https://developer.hashicorp.com/vault/api-docs/secret/databases#generate-credentials>
#[derive(Deserialize)]
struct LoanAnswer {
    lease_id: String,
    lease_duration: u64,
    renewable: bool,
    data: LoanData,
}

/// What any engine says of what it lends.
#[derive(Deserialize)]
struct Unwanted {
    #[serde(default)]
    lease_id: String,
}

#[derive(Deserialize)]
struct LoanData {
    username: Option<String>,
    password: Option<String>,
}

/// <https://developer.hashicorp.com/vault/api-docs/system/leases#renew-lease>
#[derive(Deserialize)]
struct Renewed {
    lease_duration: u64,
    renewable: bool,
}

impl Vault {
    pub(crate) fn new(config: &VaultConfig, helpers: Arc<Helpers>) -> Result<Self, VaultError> {
        Ok(Self { http: Http::new(config)?, token: config.token.clone(), helpers })
    }

    /// The value of this key, now. Takes 10 seconds at most, and as long again for the token.
    pub(crate) async fn value(&self, path: &VaultPath, key: &str) -> Result<SecretString, SecretError> {
        let found = async {
            let body = self.ask(Method::GET, path.parts(), None).await?;
            let kept: Result<Kept, _> = serde_json::from_slice(&body);
            let Ok(kept) = kept else {
                self.return_unwanted(&body).await;
                return Err(VaultFault::NotKeyValue);
            };
            match kept.data.data.into_iter().find(|(name, _)| name == key) {
                Some((_, Value::String(text))) if !text.is_empty() => Ok(SecretString::from(text)),
                _ => Err(VaultFault::NoKey(key.to_owned())),
            }
        };
        found.await.map_err(|fault| SecretError::Vault { path: path.clone(), fault })
    }

    async fn lend(&self, path: &VaultPath) -> Result<Loan, VaultFault> {
        let body = self.ask(Method::GET, path.parts(), None).await?;
        let answer: Result<LoanAnswer, _> = serde_json::from_slice(&body);
        let Ok(answer) = answer else {
            self.return_unwanted(&body).await;
            return Err(VaultFault::NotALease);
        };
        let LoanAnswer { lease_id: id, lease_duration, renewable, data } = answer;
        match (data.username, data.password.map(SecretString::from)) {
            (Some(username), Some(password)) if !id.is_empty() && lease_duration > 0 => {
                Ok(Loan { id, time: time(lease_duration), renewable, username, password })
            }
            _ => {
                self.return_unwanted(&body).await;
                Err(VaultFault::NotALease)
            }
        }
    }

    /// Gives back what a path lent from which something else was wanted. Where this fails it ends by its own time.
    async fn return_unwanted(&self, body: &[u8]) {
        if let Ok(Unwanted { lease_id }) = serde_json::from_slice(body)
            && !lease_id.is_empty()
        {
            let _ = self.revoke(&lease_id, true).await;
        }
    }

    /// Asks for as much time again as there was at first. Returns how much there is from now, and whether it can
    /// be renewed once more.
    async fn renew(&self, id: &str, wanted: Duration) -> Result<(Duration, bool), VaultFault> {
        let body = json!({ "lease_id": id, "increment": wanted.as_secs() });
        let body = self.ask(Method::PUT, ["sys", "leases", "renew"], Some(&body)).await?;
        let renewed: Renewed = serde_json::from_slice(&body).map_err(|_| VaultFault::NotALease)?;
        Ok((time(renewed.lease_duration), renewed.renewable))
    }

    /// Returns once what was lent is gone, also from the database; or, where nobody is to wait for it, once Vault has
    /// taken it upon itself.
    async fn revoke(&self, id: &str, waits: bool) -> Result<(), VaultFault> {
        let body = json!({ "lease_id": id, "sync": waits });
        self.ask(Method::PUT, ["sys", "leases", "revoke"], Some(&body)).await.map(drop)
    }

    async fn ask<'a>(
        &self,
        method: Method,
        parts: impl IntoIterator<Item = &'a str>,
        body: Option<&Value>,
    ) -> Result<client::Answer, VaultFault> {
        let token = local::read(&self.helpers, &self.token).await;
        let token = token.map_err(|error| VaultFault::Token(Box::new(error)))?;
        let answer = self.http.send(method, parts, &token, body).await;
        if matches!(answer, Err(VaultFault::Forbidden))
            && let SecretSource::Exec(helper) = &self.token
        {
            // It may have been withdrawn before its time.
            self.helpers.forget(helper);
        }
        answer
    }
}

fn time(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST)
}
