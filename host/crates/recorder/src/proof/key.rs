//! The gateway's key for its record: Ed25519, by ring.

use std::{
    fmt,
    io::{self, Read},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

use super::chain::Hash;

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// Bytes of a public key.
const PUBLIC_BYTES: usize = 32;
/// The most bytes of a key's file.
pub(crate) const MAX_FILE_BYTES: u64 = 4096;
/// Bytes of a signature.
pub(super) const SIGNATURE_BYTES: usize = 64;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no public key.
    #[error("this is not an Ed25519 public key in PEM: take `record.pub` from the gateway's data folder")]
    Public,
    /// The public key's file cannot be read.
    #[error("the public key cannot be read; check its file")]
    Io(#[from] io::Error),
    /// The bytes are no private key.
    #[error("this is not an Ed25519 private key in PKCS#8: restore `record.key` from a backup")]
    Private,
    /// The system gave no randomness.
    #[error("no key could be made because the system gave no random numbers")]
    Random,
}

/// SHA-256 of a public key's SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum`
/// prints it.
pub type Fingerprint = Hash;

/// The public key with which exports are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

impl PublicKey {
    /// Reads a key's file, 4 KiB of it at most. Blocks on the reader.
    pub fn read(file: impl Read) -> Result<Self, KeyError> {
        let mut pem = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut pem)?;
        Self::from_pem(&pem)
    }

    /// Reads a key in PEM, as `record.pub` has it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let body = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(KeyError::Public)?;
        let der = BASE64_STANDARD.decode(body.trim()).map_err(|_| KeyError::Public)?;
        let key = der.strip_prefix(&SPKI_PREFIX).ok_or(KeyError::Public)?;
        key.try_into().map(Self).map_err(|_| KeyError::Public)
    }

    /// Writes the key in PEM.
    pub fn to_pem(&self) -> String {
        format!("{BEGIN}\n{}\n{END}\n", BASE64_STANDARD.encode(self.der()))
    }

    /// What the key is called.
    pub fn fingerprint(&self) -> Fingerprint {
        Hash::of(&[&self.der()])
    }

    /// Whether the signature of this message is this key's.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }

    fn der(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.0].concat()
    }
}

/// The private key that signs heads. Its `Debug` shows the public half alone.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
    fingerprint: Fingerprint,
}

impl SigningKey {
    /// Makes a key, in PKCS#8.
    pub fn generate() -> Result<impl AsRef<[u8]>, KeyError> {
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)
    }

    /// Reads a key in PKCS#8 as [`SigningKey::generate`] made it.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| KeyError::Private)?;
        let public = PublicKey(pair.public_key().as_ref().try_into().map_err(|_| KeyError::Private)?);
        Ok(Self { pair, public, fingerprint: public.fingerprint() })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What the key is called.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut bytes = [0; SIGNATURE_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        bytes
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_comes_back_from_pem_and_nothing_else_does() {
        let key = SigningKey::from_pkcs8(SigningKey::generate().unwrap().as_ref()).unwrap();
        let pem = key.public().to_pem();
        assert_eq!(PublicKey::from_pem(&pem).unwrap(), *key.public());
        for wrong in ["", "x", BEGIN, &pem.replace("MCow", "MCox"), &pem.replace("PUBLIC", "PRIVATE"), &pem[..60]] {
            assert!(PublicKey::from_pem(wrong).is_err(), "{wrong}");
        }
        assert!(SigningKey::from_pkcs8(b"no key").is_err());
    }

    #[test]
    fn debug_does_not_show_the_private_half() {
        let pkcs8 = SigningKey::generate().unwrap();
        // RFC 5958: version, algorithm, and then the seed of 32 bytes behind its two tags.
        let seed = &pkcs8.as_ref()[16..48];
        let shown = format!("{:?}", SigningKey::from_pkcs8(pkcs8.as_ref()).unwrap());
        assert!(shown.contains("public") && !shown.contains(&format!("{}, {}, {}", seed[0], seed[1], seed[2])));
    }
}
