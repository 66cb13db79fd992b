//! The digest of a command: what an approval covers, and nothing else.

use sha2::{Digest, Sha256};

use crate::{
    admission::Session,
    command::{Command, Parameter},
    hex,
};

/// What is hashed first, so that the digest is no other thing's.
const DOMAIN: &[u8] = b"sluicegate command 1";

/// SHA-256, in hexadecimal, of who, where to, the exact text and parameters, the settings it is read
/// by, and the facts that were found: the same text may mean another relation tomorrow. None where the
/// facts cannot be written.
pub(crate) fn of(session: &Session, command: &Command) -> Option<String> {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(DOMAIN);
    for text in [&session.identity.user, &*session.target, session.protocol, command.verb, &command.text] {
        part(text.as_bytes());
    }
    part(command.context.as_bytes());
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
    Some(hex(&hash.finalize()))
}
