//! Where a secret is read from. The value itself is never part of the configuration, of a log line
//! or of an error.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// The most bytes that a secret file may hold.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SecretSource {
    /// An environment variable's name.
    Env(String),
    /// A file's path; a trailing line break is not part of the secret.
    File(PathBuf),
}

/// Why a secret could not be read. Says where it was looked for, never what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or not UTF-8.
    #[error("the environment variable `{0}` is not set: export it before starting the gateway")]
    Env(String),
    /// The file cannot be read, is too large or is not UTF-8.
    #[error("the secret file `{path}` cannot be used: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

impl SecretSource {
    /// Reads the secret now, so that a rotated file is seen by the next session. Blocking.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => std::env::var(name).map(SecretString::from).map_err(|_| SecretError::Env(name.clone())),
            Self::File(path) => {
                let refuse = |why: String| SecretError::File { path: path.clone(), why };
                let size = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?.len();
                if size > MAX_SECRET_BYTES {
                    return Err(refuse(format!("it is larger than {MAX_SECRET_BYTES} bytes")));
                }
                let mut text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
                let kept = text.trim_end_matches(['\r', '\n']).len();
                text.truncate(kept);
                Ok(SecretString::from(text))
            }
        }
    }
}
