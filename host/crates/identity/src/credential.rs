//! Secrets and their hashes: argon2id (RFC 9106) in PHC string format. A hash brings its own cost,
//! so the cost is bounded before anything is computed with it.

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHasher, Version,
    password_hash::{PasswordHash, SaltString},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// The most bytes that a secret may have.
pub const MAX_SECRET_BYTES: usize = 1024;

/// The most memory that verifying one secret may take, in KiB: 256 MiB.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// The most work that verifying one secret may be: memory times passes, in KiB. 1 GiB takes a
/// second or so.
const MAX_WORK_KIB: u64 = 1024 * 1024;
/// The most lanes. They are computed one after the other, so more of them buy nothing here.
const MAX_LANES: u32 = 16;
/// Shorter digests could be met by chance or by search.
const MIN_DIGEST_BYTES: usize = 16;
/// The shortest salt that argon2 takes.
const MIN_SALT_BYTES: usize = argon2::MIN_SALT_LEN;
const SALT_BYTES: usize = argon2::RECOMMENDED_SALT_LEN;
/// The longest salt that the PHC string format has room for: 64 characters of base64.
const MAX_SALT_BYTES: usize = 48;

/// What is needed to verify one secret.
pub(crate) struct Credential {
    argon2: Argon2<'static>,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// What is wrong with a hash. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashProblem {
    /// Not the PHC string format, or without salt or digest.
    #[error("it is not a complete PHC string such as `$argon2id$v=19$m=19456,t=2,p=1$SALT$DIGEST`")]
    Format,
    /// Another algorithm or version.
    #[error("it is not argon2id, version 19")]
    Algorithm,
    /// Parameters that argon2 does not have, or that cannot go together.
    #[error("its parameters are not those of argon2id")]
    Parameters,
    /// It costs more than the gateway is ready to pay for each sign-in.
    #[error("it costs too much to verify: at most m={MAX_MEMORY_KIB}, p={MAX_LANES} and m times t={MAX_WORK_KIB}")]
    TooCostly,
    /// Its digest is so short that other secrets match it, or its salt is missing.
    #[error("its salt is shorter than {MIN_SALT_BYTES} bytes or its digest than {MIN_DIGEST_BYTES}")]
    TooShort,
}

/// Why a secret could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Empty, or longer than [`MAX_SECRET_BYTES`].
    #[error("a secret has between 1 and {MAX_SECRET_BYTES} bytes: choose another")]
    Length,
    /// The system has no randomness for the salt.
    #[error("the system gave no random bytes for the salt: {0}")]
    Random(getrandom::Error),
    /// argon2 refused.
    #[error("the secret could not be hashed: {0}")]
    Argon2(argon2::password_hash::Error),
}

/// Hashes a secret for `secret_hash` with the parameters that OWASP recommends (19 MiB, 2 passes,
/// 1 lane) and a fresh salt. Blocks for some tens of milliseconds.
///
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
pub fn hash_secret(secret: SecretString) -> Result<String, HashError> {
    if !is_plausible(&secret) {
        return Err(HashError::Length);
    }
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(HashError::Random)?;
    let salt = SaltString::encode_b64(&salt).map_err(HashError::Argon2)?;
    let hash = recommended().hash_password(secret.expose_secret().as_bytes(), &salt).map_err(HashError::Argon2)?;
    Ok(hash.to_string())
}

/// Whether a secret has a length that one may have.
pub(crate) fn is_plausible(secret: &SecretString) -> bool {
    (1..=MAX_SECRET_BYTES).contains(&secret.expose_secret().len())
}

fn recommended() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

impl Credential {
    /// Reads a PHC string and refuses what would be weak or too costly.
    pub(crate) fn parse(phc: &str) -> Result<Self, HashProblem> {
        let hash = PasswordHash::new(phc).map_err(|_| HashProblem::Format)?;
        let (Some(salt), Some(digest)) = (hash.salt, hash.hash) else {
            return Err(HashProblem::Format);
        };
        if Algorithm::try_from(hash.algorithm) != Ok(Algorithm::Argon2id) || hash.version != Some(19) {
            return Err(HashProblem::Algorithm);
        }
        let params = Params::try_from(&hash).map_err(|_| HashProblem::Parameters)?;
        if !params.keyid().is_empty() || !params.data().is_empty() {
            return Err(HashProblem::Parameters);
        }
        let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
        if params.m_cost() > MAX_MEMORY_KIB || params.p_cost() > MAX_LANES || work > MAX_WORK_KIB {
            return Err(HashProblem::TooCostly);
        }
        let mut buffer = [0; MAX_SALT_BYTES];
        let salt = salt.decode_b64(&mut buffer).map_err(|_| HashProblem::Format)?;
        if salt.len() < MIN_SALT_BYTES || digest.len() < MIN_DIGEST_BYTES {
            return Err(HashProblem::TooShort);
        }
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Self { argon2, salt: salt.to_vec(), digest: digest.as_bytes().to_vec() })
    }

    /// A credential of the same cost that no known secret matches.
    pub(crate) fn decoy(&self) -> Result<Self, getrandom::Error> {
        let mut decoy =
            Self { argon2: self.argon2.clone(), salt: self.salt.clone(), digest: vec![0; self.digest.len()] };
        getrandom::fill(&mut decoy.salt)?;
        getrandom::fill(&mut decoy.digest)?;
        Ok(decoy)
    }

    /// A decoy of the recommended cost, for when there are no users to look like.
    pub(crate) fn lone_decoy() -> Result<Self, getrandom::Error> {
        let digest = vec![0; Params::DEFAULT_OUTPUT_LEN];
        Self { argon2: recommended(), salt: vec![0; SALT_BYTES], digest }.decoy()
    }

    /// Whether the secret is the one that was hashed. Blocks for as long as the parameters say;
    /// the comparison takes constant time. `memory` is what it is computed in, made larger where it
    /// has to be; what was in it before does not matter.
    pub(crate) fn matches(&self, secret: &SecretString, memory: &mut Vec<Block>) -> bool {
        let blocks = self.argon2.params().block_count();
        if memory.len() < blocks {
            memory.resize(blocks, Block::default());
        }
        let mut digest = vec![0; self.digest.len()];
        let secret = secret.expose_secret().as_bytes();
        match self.argon2.hash_password_into_with_memory(secret, &self.salt, &mut digest, memory.as_mut_slice()) {
            Ok(()) => digest.ct_eq(&self.digest).into(),
            Err(error) => {
                tracing::error!(%error, "a secret could not be verified, so it is refused");
                false
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn cost(&self) -> (u32, u32, u32, usize) {
        let params = self.argon2.params();
        (params.m_cost(), params.t_cost(), params.p_cost(), self.digest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "c2x1aWNlZ2F0ZXNhbHQ";
    const DIGEST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn problem(phc: &str) -> Option<HashProblem> {
        Credential::parse(phc).err()
    }

    #[test]
    fn a_hash_proves_its_secret_and_no_other() {
        let hash = hash_secret("open sesame".into()).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let credential = Credential::parse(&hash).unwrap();
        // One memory for all, so that each finds what the one before left.
        let mut memory = Vec::new();
        assert!(credential.matches(&"open sesame".into(), &mut memory));
        assert!(!credential.matches(&"open sesam".into(), &mut memory));
        assert!(!credential.decoy().unwrap().matches(&"open sesame".into(), &mut memory));
        assert!(credential.matches(&"open sesame".into(), &mut memory));
        assert_ne!(hash, hash_secret("open sesame".into()).unwrap(), "salts are fresh");
    }

    #[test]
    fn the_vector_of_the_reference_implementation_verifies() {
        // test.c of github.com/P-H-C/phc-winner-argon2: argon2id, v19, t=2, m=2^16, p=1.
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(Credential::parse(phc).unwrap().matches(&"password".into(), &mut Vec::new()));
    }

    #[test]
    fn hashes_that_are_weak_or_too_costly_are_refused() {
        let with = |params: &str| format!("$argon2id$v=19${params}${SALT}${DIGEST}");
        assert_eq!(problem(&with("m=19456,t=2,p=1")), None);
        assert_eq!(problem(&with("m=262144,t=4,p=1")), None);
        assert_eq!(problem(&with("m=262145,t=1,p=1")), Some(HashProblem::TooCostly));
        assert_eq!(problem(&with("m=262144,t=5,p=1")), Some(HashProblem::TooCostly));
        assert_eq!(problem(&with("m=19456,t=4294967295,p=1")), Some(HashProblem::TooCostly));
        assert_eq!(problem(&with("m=19456,t=2,p=17")), Some(HashProblem::TooCostly));
        assert_eq!(problem(&with("m=1,t=1,p=1")), Some(HashProblem::Parameters));
        assert_eq!(problem(&with("m=19456,t=2,p=1,data=AAAA")), Some(HashProblem::Parameters));
        let short = format!("$argon2id$v=19$m=19456,t=2,p=1${SALT}$AAAAAAAAAAAAAAAAAA");
        assert_eq!(problem(&short), Some(HashProblem::TooShort));
        assert_eq!(problem(&with("m=19456,t=2,p=1").replace(SALT, "c2FsdA")), Some(HashProblem::TooShort));
        assert_eq!(problem(&with("m=19456,t=2,p=1").replace("2id", "2i")), Some(HashProblem::Algorithm));
        assert_eq!(problem(&with("m=19456,t=2,p=1").replace("v=19", "v=16")), Some(HashProblem::Algorithm));
        assert_eq!(problem("$argon2id$v=19$m=19456,t=2,p=1"), Some(HashProblem::Format));
        assert_eq!(problem("sesame"), Some(HashProblem::Format));
    }

    #[test]
    fn secrets_have_bounds() {
        assert!(matches!(hash_secret("".into()), Err(HashError::Length)));
        assert!(matches!(hash_secret("x".repeat(MAX_SECRET_BYTES + 1).into()), Err(HashError::Length)));
    }
}
