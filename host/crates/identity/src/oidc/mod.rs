//! Tokens of OpenID Connect issuers, shown where a protocol has room for a secret: an ID token, or an access token
//! that is a JWT (RFC 9068). A token proves who its issuer says it is for, and never a built-in user.
//!
//! * [`issuer`] is what the configuration says of an issuer.
//! * [`keys`] gets the keys that it signs with, and notices when they change.
//! * [`token`] verifies a token and reads what it says.

pub(crate) mod issuer;
pub(crate) mod keys;
pub(crate) mod token;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use sluicegate_core::{
    Authenticator, Basis, Directory, Identity, Proven, Verification,
    access::{Tickets, is_ticket},
};

pub use issuer::{InvalidIssuer, Issuer};

use crate::BuiltinUsers;
use keys::{Http, Keys};
use token::{TokenError, Unverified};

/// Everybody who can prove who they are: built-in users by their secrets, all others by tokens, and both by tickets.
pub struct Everybody {
    users: Arc<BuiltinUsers>,
    tickets: Arc<Tickets>,
    http: Http,
    issuers: ArcSwap<Vec<Trusted>>,
    last_life: AtomicU64,
}

/// An issuer whose tokens count, and its keys.
struct Trusted {
    issuer: Issuer,
    keys: Arc<Keys>,
    /// Another one once it is configured otherwise: then its tokens may say something else.
    life: u64,
}

/// The client that gets issuers' keys could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for issuers of tokens cannot be set up; check that this machine has trusted certificates")]
pub struct HttpError(#[source] reqwest::Error);

impl Everybody {
    /// These users, and whoever has a token of these issuers. Nobody is asked for keys yet: an issuer that cannot be
    /// reached keeps no gateway from starting. Blocking: reads the system's trusted certificates.
    pub fn new(users: Arc<BuiltinUsers>, tickets: Arc<Tickets>, issuers: &[Issuer]) -> Result<Self, HttpError> {
        let (http, issuers_now, last_life) = (Http::new().map_err(HttpError)?, ArcSwap::default(), AtomicU64::new(0));
        let everybody = Self { users, tickets, http, issuers: issuers_now, last_life };
        everybody.set_issuers(issuers);
        Ok(everybody)
    }

    /// Replaces the issuers. One that was there before keeps its keys.
    pub fn set_issuers(&self, issuers: &[Issuer]) {
        let before = self.issuers.load();
        let trusted = issuers.iter().map(|issuer| {
            let same = before.iter().find(|trusted| trusted.issuer.url() == issuer.url());
            let keys = same.map_or_else(|| Arc::new(Keys::new(issuer, &self.http)), |same| Arc::clone(&same.keys));
            let life = same.filter(|same| same.issuer == *issuer).map(|same| same.life);
            let life = life.unwrap_or_else(|| self.last_life.fetch_add(1, Ordering::Relaxed) + 1);
            Trusted { issuer: issuer.clone(), keys, life }
        });
        self.issuers.store(Arc::new(trusted.collect()));
    }

    async fn prove(&self, user: &str, secret: SecretString) -> Verification {
        if is_ticket(&secret) {
            let proven = self.tickets.verify(user, &secret);
            let wrong =
                || Verification::Rejected("the ticket is unknown, over, used, revoked or another user's".to_owned());
            return proven.map_or_else(wrong, Verification::Verified);
        }
        let Some(token) = Unverified::read(secret.expose_secret()) else {
            return self.users.verify(user, secret).await;
        };
        verification(self.proven(Some(user), &token).await)
    }

    async fn prove_token(&self, token: SecretString) -> Verification {
        match Unverified::read(token.expose_secret()) {
            Some(token) => verification(self.proven(None, &token).await),
            None => {
                Verification::Rejected("it is neither a session token in force nor a token of an issuer".to_owned())
            }
        }
    }

    /// Whom the token proves, if that is this user, or whoever it is where none is named; or why not.
    async fn proven(&self, user: Option<&str>, token: &Unverified<'_>) -> Result<Proven, Unproven> {
        let issuers = self.issuers.load_full();
        let trusted = issuers.iter().find(|trusted| Some(trusted.issuer.url()) == token.issuer());
        let Some(Trusted { issuer, keys, life }) = trusted else {
            return Err("the token is not of an issuer that is configured".into());
        };
        let known = keys.current().await.ok_or(Unproven::NoKeys)?;
        let verified = match token.verify(issuer, &known.set) {
            // It may be signed with a key that is new.
            Err(TokenError::UnknownKey | TokenError::Signature) => {
                let newer = keys.newer_than(&known).await;
                token.verify(issuer, &newer.unwrap_or(known).set)
            }
            verified => verified,
        };
        let facts = verified.map_err(|error| format!("the token is refused: {error}"))?;
        let prefixes: Vec<_> = issuers.iter().map(|trusted| trusted.issuer.prefix.as_str()).collect();
        let identity = issuer.identity(&facts, &prefixes)?;
        if user.is_some_and(|user| identity.user != user) {
            return Err("the token is for another user than the one that logs in".into());
        }
        if self.users.standing(&identity.user).is_some() {
            return Err("the token is for somebody who has the name of a built-in user".into());
        }
        let expires_at = Some(facts.expires_at());
        let basis = Basis { life: *life, expires_at, ends_sessions: issuer.end_sessions_with_token, ticket: None };
        Ok(Proven { identity, basis })
    }
}

impl Directory for Everybody {
    fn standing(&self, identity: &Identity, life: u64) -> Option<Identity> {
        let Some(token) = &identity.token else { return Directory::standing(&*self.users, identity, life) };
        let issuers = self.issuers.load();
        let trusted = issuers.iter().find(|trusted| trusted.issuer.url() == token.issuer)?;
        let counts = trusted.life == life && self.users.standing(&identity.user).is_none();
        counts.then(|| identity.clone())
    }

    fn called(&self, name: &str) -> Option<(Identity, u64)> {
        self.users.standing(name)
    }
}

/// Why a token does not prove who shows it.
enum Unproven {
    /// For the record and the log.
    Wrong(String),
    /// The issuer's keys cannot be had, which tells nothing about the token.
    NoKeys,
}

fn verification(proven: Result<Proven, Unproven>) -> Verification {
    match proven {
        Ok(proven) => Verification::Verified(proven),
        Err(Unproven::Wrong(why)) => Verification::Rejected(why),
        Err(Unproven::NoKeys) => Verification::Busy,
    }
}

impl<T: Into<String>> From<T> for Unproven {
    fn from(why: T) -> Self {
        Self::Wrong(why.into())
    }
}

impl Authenticator for Everybody {
    fn is_guessable(&self, secret: &SecretString) -> bool {
        !is_ticket(secret) && Unverified::read(secret.expose_secret()).is_none()
    }

    fn verify<'a>(
        &'a self,
        user: &'a str,
        secret: SecretString,
    ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        Box::pin(self.prove(user, secret))
    }

    fn verify_token<'a>(&'a self, token: SecretString) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        Box::pin(self.prove_token(token))
    }
}
