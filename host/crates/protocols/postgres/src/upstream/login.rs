//! As whom a connection logs in: the target's own role, or one that is lent for this connection.

use secrecy::SecretString;
use sluicegate_credentials::{Lent, VaultLease};

use super::DialError;
use crate::config::{self, Target};

/// Got before anything is dialled, once for all addresses.
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: Option<SecretString>,
    /// To be kept for as long as the connection lives.
    pub(super) lease: Option<VaultLease>,
}

impl Login {
    /// Reads the password, or has a role lent. Takes 20 seconds at most. Cancel-safe.
    pub(super) async fn of(target: &Target) -> Result<Self, DialError> {
        let credentials = target.credentials();
        match &target.config().login {
            config::Login::Role { username, password } => {
                let password = match password {
                    Some(source) => Some(credentials.read(source).await?),
                    None => None,
                };
                Ok(Self { username: username.clone(), password, lease: None })
            }
            config::Login::Lent(source) => {
                let Lent { username, password, lease } = credentials.lend(source).await?;
                Ok(Self { username, password: Some(password), lease: Some(lease) })
            }
        }
    }
}

/// The server refused the login: a password that was kept may have been changed since.
pub(super) fn refused(target: &Target) {
    if let config::Login::Role { password: Some(source), .. } = &target.config().login {
        target.credentials().refused(source);
    }
}
