//! An issuer as the configuration writes it, and how its words become an identity.

use openidconnect::IssuerUrl;
use serde::{Deserialize, de};
use sluicegate_core::{
    Identity,
    identity::{Kind, TokenFacts},
};
use sluicegate_net::is_loopback_host;

use super::token::Facts;
use crate::builtin::is_name;

/// The most groups of one identity.
const MAX_GROUPS: usize = 256;

/// One `[[identity.oidc]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its URL, which its tokens name and under which its keys are found.
    #[serde(deserialize_with = "url")]
    issuer: IssuerUrl,
    /// Whom its tokens have to be for.
    pub audience: String,
    /// The claim with the user's name.
    #[serde(default = "subject")]
    pub username_claim: String,
    /// The claim with the user's groups; none where its users have no groups.
    pub groups_claim: Option<String>,
    /// What those are whom its tokens are for.
    #[serde(default)]
    pub kind: Kind,
    /// The claim with the person who answers for them, where they are services or agents.
    pub owner_claim: Option<String>,
    /// Whether sessions end when the token ends that opened them.
    #[serde(default)]
    pub end_sessions_with_token: bool,
    /// What stands before every name that it gives, so that no other issuer can give the same.
    #[serde(default)]
    pub prefix: String,
    /// Whether people log in with it; issuers for machines have no place for that.
    #[serde(default = "people")]
    pub login: bool,
    /// What a login asks for.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
}

/// Issuers that cannot be used, or not together.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIssuer {
    /// One is there twice.
    #[error("the issuer `{0}` is defined twice; keep one of them")]
    Twice(String),
    /// Two would give the same names.
    #[error(
        "the issuers `{0}` and `{1}` have the same `prefix`, so each could give names that are the other's; give one of them another, such as `prefix = \"ci/\"`"
    )]
    SamePrefix(String, String),
    /// What stands before its names could not be read.
    #[error("the issuer `{0}` needs an `audience`, and a `prefix` of at most {MAX_PREFIX} printable characters")]
    Unusable(String),
    /// A login could not ask for these.
    #[error(
        "the issuer `{0}` has `scopes` that nobody could ask for: `openid` is one of them, and each is one word of printable ASCII"
    )]
    Scopes(String),
}

/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 32;

/// An issuer's URL is one of the two kinds whose answers nobody can change on the way.
#[derive(Debug, thiserror::Error)]
#[error("`issuer` must be an https:// URL without a query; http:// is for issuers on this machine")]
struct NotTrusted;

fn subject() -> String {
    "sub".to_owned()
}

fn people() -> bool {
    true
}

/// Who they are, and a refresh token (OpenID Connect Core 1.0, section 11).
fn scopes() -> Vec<String> {
    ["openid", "profile", "email", "offline_access"].map(str::to_owned).to_vec()
}

/// A scope-token (RFC 6749, section 3.3).
fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn url<'de, D: de::Deserializer<'de>>(deserializer: D) -> Result<IssuerUrl, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = IssuerUrl::new(text).map_err(|_| de::Error::custom(NotTrusted))?;
    if is_trusted(url.url()) && url.url().query().is_none() && url.url().fragment().is_none() {
        Ok(url)
    } else {
        Err(de::Error::custom(NotTrusted))
    }
}

/// Whether nobody between the gateway and this place can answer in its stead.
pub(crate) fn is_trusted(url: &reqwest::Url) -> bool {
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => is_loopback_host(host),
        _ => false,
    }
}

impl Issuer {
    /// Its URL, as its tokens write it.
    pub fn url(&self) -> &str {
        self.issuer.as_str()
    }

    pub(super) fn issuer(&self) -> &IssuerUrl {
        &self.issuer
    }

    /// Checks issuers that are to be used together.
    pub fn check(issuers: &[Self]) -> Result<(), InvalidIssuer> {
        for (index, one) in issuers.iter().enumerate() {
            let printable = one.prefix.len() <= MAX_PREFIX && one.prefix.chars().all(|c| c.is_ascii_graphic());
            if one.audience.is_empty() || !printable {
                return Err(InvalidIssuer::Unusable(one.url().to_owned()));
            }
            if !one.scopes.iter().all(|scope| is_scope(scope)) || !one.scopes.iter().any(|scope| scope == "openid") {
                return Err(InvalidIssuer::Scopes(one.url().to_owned()));
            }
            for other in issuers.iter().skip(index + 1) {
                if one.issuer == other.issuer {
                    return Err(InvalidIssuer::Twice(one.url().to_owned()));
                }
                if one.prefix == other.prefix {
                    return Err(InvalidIssuer::SamePrefix(one.url().to_owned(), other.url().to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Whom a token is for, in the gateway's names; or why it is nobody. `prefixes` are those of all issuers.
    pub(super) fn identity(&self, facts: &Facts, prefixes: &[&str]) -> Result<Identity, String> {
        let claim = &self.username_claim;
        if claim == "email" && !facts.email_is_verified() {
            return Err("the token's email address is not verified".to_owned());
        }
        let name = facts.text(claim).ok_or_else(|| format!("the token has no claim `{claim}` that is a text"))?;
        let groups = match &self.groups_claim {
            Some(claim) => facts.texts(claim),
            None => Vec::new(),
        };
        if groups.len() > MAX_GROUPS {
            return Err(format!("the token has more than {MAX_GROUPS} groups"));
        }
        let named = |name: &str| format!("{}{name}", self.prefix);
        // Where one prefix is how another begins, a name could look as if another issuer had given it.
        let others = || prefixes.iter().filter(|prefix| prefix.len() > self.prefix.len());
        let is_own = |name: &str| !others().any(|prefix| name.starts_with(prefix));
        let (user, subject) = (named(name), named(facts.subject()));
        let groups: Vec<_> = groups.iter().map(|group| named(group)).collect();
        let owner = self.owner_claim.as_ref().map(|claim| {
            // A name that somebody else is known by, and so not with this issuer's prefix.
            let owner = facts.text(claim).filter(|_| claim != "email" || facts.email_is_verified());
            owner.map(str::to_owned).ok_or_else(|| format!("the token has no claim `{claim}` that counts"))
        });
        let owner = owner.transpose()?;
        let actor = facts.actor().map_err(|_| "the token does not say who acts (`act`)".to_owned())?.map(named);
        if owner.as_deref().is_some_and(|owner| !is_name(owner)) {
            return Err("the token has an owner whose name is too long, empty or not printable".to_owned());
        }
        for name in groups.iter().chain([&user, &subject]).chain(&actor) {
            if !is_name(name) {
                return Err("the token has a name that is too long, empty or not printable".to_owned());
            }
            if !is_own(name) {
                return Err("the token has a name that begins with another issuer's `prefix`".to_owned());
            }
        }
        let claims = facts.claims().map(|(name, values)| (named(name), values));
        let claims = claims.filter(|(name, _)| is_own(name)).collect();
        let token = TokenFacts { issuer: self.url().to_owned(), subject, claims };
        // Whoever acts for somebody decides by themselves what they do.
        let kind = if actor.is_some() { Kind::Agent } else { self.kind };
        Ok(Identity { user, groups, kind, owner, actor, token: Some(Box::new(token)) })
    }
}
