//! The gateway's own credentials for what it connects to: read from the environment, from files, from helper
//! programs and from Vault (or OpenBao), each time anew or for as long as they say they hold. Credentials that
//! Vault lends belong to one connection, and end with it. What comes from here is shown to nobody: errors say
//! where a secret was looked for and what went wrong there, in words of their own.

mod error;
mod helper;
mod helpers;
mod local;
mod vault;

use std::{future::Future, sync::Arc};

use arc_swap::ArcSwapOption;
use secrecy::SecretString;
use sluicegate_core::{
    scope,
    secret::{LeaseSource, SecretSource, VaultPath},
};
use tokio::task::JoinHandle;

pub use self::{
    error::{HelperFault, SecretError, VaultFault},
    local::{at_hand, check},
    vault::{Lent, Vault, VaultAddress, VaultAddressError, VaultConfig, VaultError, VaultLease},
};
use self::{helpers::Helpers, vault::Leases};

/// Fetches secrets. One for the gateway, shared by all who need one.
#[derive(Default)]
pub struct Credentials {
    helpers: Arc<Helpers>,
    vault: ArcSwapOption<Vault>,
    leases: Arc<Leases>,
}

impl Credentials {
    /// Without Vault.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes Vault ready as it is configured, and reaches for nobody. Blocking: reads the authorities.
    pub fn prepare_vault(&self, config: &VaultConfig) -> Result<Vault, VaultError> {
        Vault::new(config, Arc::clone(&self.helpers))
    }

    /// Puts a configuration in force: asks this Vault from now on, and every helper anew. Leases stay with the
    /// Vault that gave them.
    pub fn configure(&self, vault: Option<Vault>) {
        self.vault.store(vault.map(Arc::new));
        self.helpers.forget_all();
    }

    /// Reads a secret now, so that a rotated one is seen by the next session; what a helper gave is used until
    /// shortly before it expires. Takes 10 seconds at most for a helper or an answer of Vault. Cancel-safe.
    pub async fn read(&self, source: &SecretSource) -> Result<SecretString, SecretError> {
        match source {
            SecretSource::Vault { path, key } => Ok(self.vault(path)?.value(path, key).await?),
            source => local::read(&self.helpers, source).await,
        }
    }

    /// Has a user name and a password lent for one connection. They are given back when the lease is dropped,
    /// also where the caller gives up before they came. Takes 20 seconds at most. Cancel-safe.
    pub async fn lend(&self, source: &LeaseSource) -> Result<Lent, SecretError> {
        let vault = self.vault(&source.vault)?;
        let (leases, path) = (Arc::clone(&self.leases), source.vault.clone());
        // In a task of its own: what was lent to a caller who went away is dropped there, and so given back.
        let lending = spawn(async move { leases.lend(vault, &path).await });
        lending.await.map_err(|_| SecretError::Interrupted)?
    }

    /// The target refused this secret, so that what is kept of it is of no more use.
    pub fn refused(&self, source: &SecretSource) {
        if let SecretSource::Exec(helper) = source {
            self.helpers.forget(helper);
        }
    }

    /// Gives back what is still lent. Takes 10 seconds at most; what is left then is in the log, and ends when
    /// Vault ends it. To be called once the sessions have ended.
    pub async fn close(&self) {
        self.leases.close().await;
    }

    fn vault(&self, path: &VaultPath) -> Result<Arc<Vault>, SecretError> {
        self.vault.load_full().ok_or_else(|| SecretError::NoVault(path.clone()))
    }
}

/// Works in a task of its own for the session that the caller works for, so that log lines say so.
fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match scope::session() {
        Some(session) => tokio::spawn(scope::in_session(session, work)),
        None => tokio::spawn(work),
    }
}
