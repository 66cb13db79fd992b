//! The digest of a command: what an approval covers, and nothing else. It is keyed, because it is shown
//! where literals are hidden, and short literals could be guessed from a plain hash.

use std::fmt;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;

use crate::{
    admission::Session,
    command::{Command, Parameter},
    hex,
};

/// What is hashed first, so that the digest is no other thing's.
const DOMAIN: &[u8] = b"sluicegate command 1";

/// What the key is derived from the deployment's with.
const KEY_DOMAIN: &[u8] = b"sluicegate command digest key 1";

/// The key with which commands are digested. Never shown.
pub struct DigestKey(SecretBox<[u8; 32]>);

impl DigestKey {
    /// The key that belongs to the deployment's own key.
    pub fn derive(deployment: &[u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(keyed(deployment, KEY_DOMAIN).finalize().into_bytes().into())))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

fn keyed(key: &[u8; 32], first: &[u8]) -> Hmac<Sha256> {
    // A key of one hash's length needs no hashing of its own (RFC 2104): it is padded to the block.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(first);
    mac
}

/// HMAC-SHA-256, in hexadecimal, of who, where to, the exact text and parameters, as they look and as they were
/// sent, the settings it is read by, and the facts that were found: the same text may mean another relation tomorrow. None where the
/// facts cannot be written.
pub(crate) fn of(key: &DigestKey, session: &Session, command: &Command) -> Option<String> {
    let mut hash = keyed(key.0.expose_secret(), DOMAIN);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for text in [&session.identity.user, &*session.target, session.protocol, command.verb, &command.text] {
        part(text.as_bytes());
    }
    if let Some(token) = &session.identity.token {
        // The name may come to be somebody else's, the subject never.
        part(token.issuer.as_bytes());
        part(token.subject.as_bytes());
    }
    if let Some(actor) = &session.identity.actor {
        part(b"actor");
        part(actor.as_bytes());
    }
    part(command.context.words().as_bytes());
    part(&command.wire);
    for parameter in &command.parameters {
        match parameter {
            Parameter::Null => part(b"null"),
            Parameter::Text(text) => {
                part(b"text");
                part(text.as_bytes());
            }
            Parameter::Opaque(bytes) => {
                part(b"opaque");
                part(bytes);
            }
        }
    }
    for resource in &command.resources {
        part(b"resource");
        part(resource.as_bytes());
    }
    if let Some(sql) = &command.sql {
        part(b"sql");
        // Facts have no maps and no floating-point numbers: equal ones are written alike.
        part(&rmp_serde::to_vec_named(sql.as_ref()).ok()?);
    }
    Some(hex(&hash.finalize().into_bytes()))
}
