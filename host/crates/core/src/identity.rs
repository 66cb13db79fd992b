//! Who is calling: the identity an authenticator proved, and the principals that `allow` rules and
//! approvals name.

use std::{fmt, future::Future, pin::Pin, str::FromStr};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A person or job whose secret has been verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name, unique among identities.
    pub user: String,
    /// The groups it belongs to.
    pub groups: Vec<String>,
}

/// What verifying a secret came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// The secret is this identity's.
    Verified(Identity),
    /// It is not, or there is no such user.
    Wrong,
    /// It could not be verified now: too much else is being verified. Tells nothing about it.
    Busy,
}

/// Verifies secrets. Implemented by the identity crate.
pub trait Authenticator: Send + Sync {
    /// The identity of `user` if `secret` is theirs. An unknown user takes as long as a wrong
    /// secret, and finds no room as often. Cancel-safe.
    fn verify<'a>(
        &'a self,
        user: &'a str,
        secret: SecretString,
    ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>>;
}

/// Session tokens of the administration API: short-lived secrets for people who have proven who they
/// are. Implemented by the identity crate.
pub trait Tokens: Send + Sync {
    /// A new token for this identity, and when it expires, in milliseconds since the Unix epoch. None
    /// where no more tokens can be given out now.
    fn issue(&self, identity: &Identity) -> Option<(SecretString, i64)>;
    /// The identity as it is now, if the token is valid and its user is still who it was given to.
    fn verify(&self, token: &SecretString) -> Option<Identity>;
    /// Ends a token.
    fn revoke(&self, token: &SecretString);
}

/// One user, or every member of a group: `user:alice`, `group:engineering`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The user of that name.
    User(String),
    /// Every identity that carries the group.
    Group(String),
}

impl Principal {
    /// Whether the identity is this user or belongs to this group.
    pub fn covers(&self, identity: &Identity) -> bool {
        match self {
            Self::User(name) => *name == identity.user,
            Self::Group(name) => identity.groups.contains(name),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

/// The text is neither `user:NAME` nor `group:NAME`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` names nobody: write `user:NAME` or `group:NAME`")]
pub struct PrincipalError(String);

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("user", name)) if !name.is_empty() => Ok(Self::User(name.to_owned())),
            Some(("group", name)) if !name.is_empty() => Ok(Self::Group(name.to_owned())),
            _ => Err(PrincipalError(text.to_owned())),
        }
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
