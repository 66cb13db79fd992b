//! A built-in user as the configuration writes it. Nothing is checked here but the shape; see
//! [`BuiltinUsers::new`](crate::BuiltinUsers::new) for the rest.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use sluicegate_core::identity::Kind;
use subtle::ConstantTimeEq;

/// One `[[identity.user]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name, unique among users.
    pub name: String,
    /// The groups that the user belongs to.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What the user is.
    #[serde(default)]
    pub kind: Kind,
    /// The person who answers for a service or an agent.
    pub owner: Option<String>,
    /// The argon2id hash of the user's secret, as `sluicegate user hash` prints it. A service or an agent may do without:
    /// then it comes with tickets only.
    pub secret_hash: Option<SecretHash>,
}

impl User {
    /// A person.
    pub fn person(name: impl Into<String>, groups: Vec<String>, secret_hash: SecretHash) -> Self {
        Self { name: name.into(), groups, kind: Kind::Person, owner: None, secret_hash: Some(secret_hash) }
    }
}

/// The hash of a secret, in PHC string format. It is not the secret, but lets one be guessed, so
/// its `Debug` shows nothing and its memory is wiped.
#[derive(Clone)]
pub struct SecretHash(SecretString);

impl SecretHash {
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for SecretHash {
    fn from(phc: String) -> Self {
        Self(SecretString::from(phc))
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_and_its_debug_shows_no_hash() {
        let user: User =
            serde_json::from_str(r#"{"name":"alice","groups":["ops"],"secret_hash":"$argon2id$sesame"}"#).unwrap();
        assert_eq!((user.name.as_str(), user.groups.len()), ("alice", 1));
        assert!(!format!("{user:?}").contains("sesame"));
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let text = r#"{"name":"alice","secret_hash":"x","password":"y"}"#;
        assert!(serde_json::from_str::<User>(text).unwrap_err().to_string().contains("password"));
    }
}
