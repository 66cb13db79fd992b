//! Who is calling: the identity an authenticator proved, and the principals that `allow` rules and
//! approvals name.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, str::FromStr};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::TicketId;

/// Who somebody is whose secret has been verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name, unique among identities.
    pub user: String,
    /// The groups it belongs to.
    pub groups: Vec<String>,
    /// What it is.
    #[serde(default)]
    pub kind: Kind,
    /// The person who answers for a service or an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The agent that acts for this person, by its issuer's name for it (the claim `act` of RFC 8693, section 4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What it was proven by where that was an issuer's token; none for a built-in user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Box<TokenFacts>>,
}

/// What an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A human.
    #[default]
    Person,
    /// A program that does what it was written for: a CI job, a deployment, an application.
    Service,
    /// A program that decides by itself what it does, alone or for a person.
    Agent,
}

impl Kind {
    /// Its word in the configuration, in the record and for policies.
    pub fn word(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
            Self::Agent => "agent",
        }
    }
}

/// What an issuer says of somebody in a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// The issuer's URL.
    pub issuer: String,
    /// The issuer's own name for it, which never becomes somebody else's.
    pub subject: String,
    /// The claims that `allow` rules may ask for, each with its values as texts. Where the issuer has a prefix,
    /// so have their names.
    pub claims: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user of the configuration.
    pub fn builtin(user: impl Into<String>, groups: Vec<String>) -> Self {
        Self { user: user.into(), groups, kind: Kind::Person, owner: None, actor: None, token: None }
    }

    /// Whether the other is this very identity, whatever else was said of it when it was proven.
    pub fn is(&self, other: &Self) -> bool {
        (&self.user, &self.actor, self.subject()) == (&other.user, &other.actor, other.subject())
    }

    /// Whether one person stands behind both: they have the same name or owner, or the same subject, under whatever name, or one
    /// acts in both.
    pub fn is_same_person(&self, other: &Self) -> bool {
        let person = |identity: &Self| identity.owner.as_ref().unwrap_or(&identity.user).clone();
        if self.user == other.user || person(self) == person(other) {
            return true;
        }
        // Whoever acts for somebody is there too.
        let (Some((issuer, own)), Some((other_issuer, others))) = (self.subject(), other.subject()) else {
            return false;
        };
        let own = [Some(own), self.actor.as_deref()];
        issuer == other_issuer
            && [Some(others), other.actor.as_deref()].iter().flatten().any(|name| own.contains(&Some(*name)))
    }

    /// The issuer, and its name for whom a token is for.
    fn subject(&self) -> Option<(&str, &str)> {
        self.token.as_ref().map(|token| (&*token.issuer, &*token.subject))
    }
}

/// An identity, and what it was proven by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Who it is.
    pub identity: Identity,
    /// How that was proven.
    pub basis: Basis,
}

/// What the proof was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Basis {
    /// Which of those that ever had the name it is, or the issuer's configuration: see [`Directory`].
    pub life: u64,
    /// When the token or ticket ends, in milliseconds since the Unix epoch; none for a user's secret.
    pub expires_at: Option<i64>,
    /// Whether sessions end then too.
    pub ends_sessions: bool,
    /// The ticket, where it was one.
    pub ticket: Option<TicketId>,
}

impl From<Identity> for Proven {
    fn from(identity: Identity) -> Self {
        Self { identity, basis: Basis::default() }
    }
}

impl Proven {
    /// How it was proven, as the record says it.
    pub fn authentication(&self) -> String {
        match (&self.basis.ticket, &self.identity.token) {
            (Some(ticket), _) => format!("ticket {ticket}"),
            (None, None) => "secret".to_owned(),
            (None, Some(token)) => format!("token of {} for {}", token.issuer, token.subject),
        }
    }
}

/// Who people are now. Implemented by the identity crate.
pub trait Directory: Send + Sync {
    /// The identity as it is now, with the groups of now; none where it is nobody any more: the user was
    /// removed or has another secret, or tokens of the issuer no longer count as they did.
    fn standing(&self, identity: &Identity, life: u64) -> Option<Identity>;

    /// The user of the configuration of this name, and which life it is in.
    fn called(&self, name: &str) -> Option<(Identity, u64)>;
}

/// What verifying a secret came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// The secret is this identity's.
    Verified(Proven),
    /// It is not, or there is no such user.
    Wrong,
    /// It is a token that proves nothing. Why is for the record and the log, not for the client.
    Rejected(String),
    /// It could not be verified now: too much else is being verified. Tells nothing about it.
    Busy,
}

/// Verifies secrets. Implemented by the identity crate.
pub trait Authenticator: Send + Sync {
    /// Whether a secret is such that somebody could come upon it by trying: not one that is long and random, nor a signature.
    fn is_guessable(&self, _secret: &SecretString) -> bool {
        true
    }

    /// The identity of `user` if `secret` is theirs. An unknown user takes as long as a wrong
    /// secret, and finds no room as often. Cancel-safe.
    fn verify<'a>(
        &'a self,
        user: &'a str,
        secret: SecretString,
    ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>>;

    /// Whose token this is, by the name in it. Where no issuer is trusted, it is nobody's. Cancel-safe.
    fn verify_token<'a>(&'a self, token: SecretString) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        drop(token);
        Box::pin(std::future::ready(Verification::Rejected("no issuer's tokens count here".to_owned())))
    }
}

/// Session tokens of the administration API: short-lived secrets for people who have proven who they
/// are. Implemented by the identity crate.
pub trait Tokens: Send + Sync {
    /// A new token for whoever was proven, and when it expires, in milliseconds since the Unix epoch. None
    /// where they are not that any more, or no more tokens can be given out now.
    fn issue(&self, proven: &Proven) -> Option<(SecretString, i64)>;
    /// The identity as it is now, if the token is valid and its user is still who it was given to.
    fn verify(&self, token: &SecretString) -> Option<Proven>;
    /// Ends a token.
    fn revoke(&self, token: &SecretString);
}

/// One user, every member of a group, or whoever an issuer says something of: `user:alice`, `group:engineering`,
/// `issuer:https://id.example.com`, `subject:248289761001`, `claim:repository=acme/shop`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The user of that name.
    User(String),
    /// Every identity that carries the group.
    Group(String),
    /// Everybody with a token of that issuer.
    Issuer(String),
    /// The subject of that name; where its issuer has a prefix, so has it.
    Subject(String),
    /// Everybody of whose token a claim has, or holds, that value.
    Claim {
        /// The claim's name; where the issuer has a prefix, so has it.
        name: String,
        /// The value, as text.
        value: String,
    },
}

impl Principal {
    /// Whether the identity is one that is meant.
    pub fn covers(&self, identity: &Identity) -> bool {
        let token = identity.token.as_deref();
        match self {
            Self::User(name) => *name == identity.user,
            Self::Group(name) => identity.groups.contains(name),
            Self::Issuer(url) => token.is_some_and(|token| token.issuer == *url),
            Self::Subject(subject) => token.is_some_and(|token| token.subject == *subject),
            Self::Claim { name, value } => {
                token.and_then(|token| token.claims.get(name)).is_some_and(|values| values.contains(value))
            }
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Issuer(url) => write!(f, "issuer:{url}"),
            Self::Subject(subject) => write!(f, "subject:{subject}"),
            Self::Claim { name, value } => write!(f, "claim:{name}={value}"),
        }
    }
}

/// The text is none of the forms of [`Principal`].
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` names nobody: write `user:NAME` or `group:NAME`, or for tokens `issuer:URL`, `subject:NAME` or `claim:NAME=VALUE`"
)]
pub struct PrincipalError(String);

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("user", name)) if !name.is_empty() => Ok(Self::User(name.to_owned())),
            Some(("group", name)) if !name.is_empty() => Ok(Self::Group(name.to_owned())),
            Some(("issuer", url)) if !url.is_empty() => Ok(Self::Issuer(url.to_owned())),
            Some(("subject", subject)) if !subject.is_empty() => Ok(Self::Subject(subject.to_owned())),
            Some(("claim", claim)) => match claim.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    Ok(Self::Claim { name: name.to_owned(), value: value.to_owned() })
                }
                _ => Err(PrincipalError(text.to_owned())),
            },
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
