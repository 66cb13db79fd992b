//! A token: what it is before it is verified, how it is verified (RFC 7515, RFC 7519, OpenID Connect Core section 3.1.3.7),
//! and what it then says.

use std::{str::FromStr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    ClaimsVerificationError as Claims, ClientId, IssuerUrl, JsonWebTokenType, Nonce,
    SignatureVerificationError as Signature,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm as Algorithm},
};
use serde_json::{Map, Value};

use super::issuer::Issuer;

/// The most bytes of a token that is looked at.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far the clocks of an issuer and of the gateway may differ.
const SKEW: Duration = Duration::from_secs(30);

/// Signatures that only the issuer can make. Those with a shared secret, and `none`, are not among them.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];

/// What a token says it is: an ID token, or an access token (RFC 9068, section 2.1). Others, such as those
/// that end sessions, prove nothing.
const TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// What makes a token prove something else than who it is for: it ends a session (OpenID Connect Back-Channel Logout 1.0),
/// or it is good only together with a key (RFC 7800).
const OTHER_PURPOSES: [&str; 2] = ["events", "cnf"];
/// What changes from token to token, and so says nothing of whom they are for.
const PASSING: [&str; 8] = ["exp", "iat", "nbf", "jti", "auth_time", "nonce", "at_hash", "sid"];

/// Why a token proves nothing. Never quotes it: whoever logs in could write anything into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it lacks what every token has")]
    Malformed,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
    #[error("it is not for this gateway, or not for it alone")]
    Audience,
    #[error("it is signed with a key that the issuer does not have")]
    UnknownKey,
    #[error("its signature is not its issuer's")]
    Signature,
    #[error("it is signed in a way that proves nothing")]
    Algorithm,
    #[error("it is a token for another purpose")]
    Purpose,
    #[error("its issuer's words are not as they should be")]
    Other,
}

impl From<Claims> for TokenError {
    fn from(error: Claims) -> Self {
        match error {
            Claims::Expired(_) => Self::Expired,
            Claims::InvalidAudience(_) => Self::Audience,
            Claims::SignatureVerification(Signature::NoMatchingKey) => Self::UnknownKey,
            Claims::SignatureVerification(Signature::DisallowedAlg(_) | Signature::NoSignature) => Self::Algorithm,
            Claims::SignatureVerification(_) => Self::Signature,
            Claims::Unsupported(_) => Self::Purpose,
            _ => Self::Other,
        }
    }
}

/// What verifies tokens of an issuer that are for this audience alone.
pub(crate) fn verifier(audience: ClientId, issuer: IssuerUrl, keys: CoreJsonWebKeySet) -> CoreIdTokenVerifier<'static> {
    let types = TYPES.iter().filter_map(|name| JsonWebTokenType::new((*name).to_owned()).normalize().ok());
    CoreIdTokenVerifier::new_public_client(audience, issuer, keys)
        .set_allowed_algs(ALGORITHMS)
        .set_allowed_jose_types(types)
        .set_time_fn(|| chrono::Utc::now() - SKEW)
}

/// A text that is built like a token.
pub(super) struct Unverified<'t> {
    text: &'t str,
    claims: Map<String, Value>,
}

/// What a token says that was verified.
pub(super) struct Facts {
    subject: String,
    expires_at: i64,
    claims: Map<String, Value>,
}

impl<'t> Unverified<'t> {
    /// None where it is some other secret: a token's three parts begin with two JSON objects.
    pub fn read(text: &'t str) -> Option<Self> {
        if text.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut parts = text.split('.');
        let (header, claims) = (object(parts.next()?)?, object(parts.next()?)?);
        let _signature = parts.next()?;
        let is_token = parts.next().is_none() && header.contains_key("alg");
        is_token.then_some(Self { text, claims })
    }

    /// Whose it claims to be.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Whether one of these keys has signed it, and it is for this audience and valid now.
    pub fn verify(&self, issuer: &Issuer, keys: &CoreJsonWebKeySet) -> Result<Facts, TokenError> {
        let token = CoreIdToken::from_str(self.text).map_err(|_| TokenError::Malformed)?;
        let verifier = verifier(ClientId::new(issuer.audience.clone()), issuer.issuer().clone(), keys.clone());
        // A nonce binds a token to the login in which it was asked for, which was not here.
        let claims = token.claims(&verifier, |_: Option<&Nonce>| Ok(()))?;
        if OTHER_PURPOSES.iter().any(|claim| self.claims.contains_key(*claim)) {
            return Err(TokenError::Purpose);
        }
        let latest = (chrono::Utc::now() + SKEW).timestamp();
        match self.claims.get("nbf").map(Value::as_f64) {
            Some(None) => return Err(TokenError::Malformed),
            Some(Some(begins)) if begins > latest as f64 => return Err(TokenError::Early),
            _ => {}
        }
        let (subject, expires_at) = (claims.subject().to_string(), claims.expiration().timestamp_millis());
        Ok(Facts { subject, expires_at, claims: self.claims.clone() })
    }
}

impl Facts {
    /// The issuer's own name for whom it is for.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When the token ends, in milliseconds since the Unix epoch.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// Who acts for whom it is for now, by the issuer's own name (RFC 8693, section 4.1); none where they act themselves. An
    /// error where that cannot be told.
    pub fn actor(&self) -> Result<Option<&str>, TokenError> {
        let Some(act) = self.claims.get("act") else { return Ok(None) };
        let actor = act.get("sub").and_then(Value::as_str).filter(|actor| !actor.is_empty());
        actor.map(Some).ok_or(TokenError::Malformed)
    }

    /// A claim that is a text.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// The texts of a claim that is one, or a list of some.
    pub fn texts(&self, claim: &str) -> Vec<String> {
        self.claims.get(claim).map(values).unwrap_or_default()
    }

    /// Whether the issuer has seen that the email address is theirs.
    pub fn email_is_verified(&self) -> bool {
        self.texts("email_verified") == ["true"]
    }

    /// What the token says of whom it is for, as texts: what passes with it is left out, and an email address that
    /// may be anybody's.
    pub fn claims(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let lasting = |name: &str| !PASSING.contains(&name) && (name != "email" || self.email_is_verified());
        let all = self.claims.iter().map(|(name, value)| (name.as_str(), values(value)));
        all.filter(move |(name, values)| !values.is_empty() && lasting(name))
    }
}

/// A part that is a JSON object.
fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn values(value: &Value) -> Vec<String> {
    let single = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().filter_map(single).collect(),
        value => single(value).into_iter().collect(),
    }
}
