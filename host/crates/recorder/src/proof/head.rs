//! Heads: that a session's chain stood so at some time, signed.

use sluicegate_core::SessionId;

use super::{
    chain::Hash,
    key::{Fingerprint, PublicKey, SIGNATURE_BYTES, SigningKey},
};

/// What is signed first, so that the signature is no other thing's.
const DOMAIN: &[u8] = b"sluicegate head 1";

/// Where a session's chain stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The session.
    pub session: SessionId,
    /// The number of the last entry.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
    /// When it was signed, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Whether the session had ended, so that no entry follows.
    pub end: bool,
}

impl Head {
    /// Signs it.
    pub fn sign(self, key: &SigningKey) -> SignedHead {
        SignedHead { head: self, signature: key.sign(&self.message()), key: key.fingerprint() }
    }

    fn message(&self) -> Vec<u8> {
        let (number, at) = (self.number.to_be_bytes(), self.at.to_be_bytes());
        [DOMAIN, self.session.0.as_bytes(), &number, &self.hash.0, &at, &[u8::from(self.end)]].concat()
    }
}

/// A head with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHead {
    /// What is signed.
    pub head: Head,
    /// The Ed25519 signature.
    pub signature: [u8; SIGNATURE_BYTES],
    /// The key that signed.
    pub key: Fingerprint,
}

impl SignedHead {
    /// Whether this key signed it.
    pub fn is_by(&self, key: &PublicKey) -> bool {
        key.signed(&self.head.message(), &self.signature)
    }
}
