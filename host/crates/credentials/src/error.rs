//! Why a secret could not be had: where it was looked for and what went wrong there, never what was found. Texts
//! are the gateway's own. What a helper or Vault says itself may hold a secret, and is not quoted.

use std::{path::PathBuf, process::ExitStatus};

use sluicegate_core::secret::VaultPath;

use crate::{helper, vault};

/// Why there is no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, empty, or not UTF-8.
    #[error("the environment variable `{0}` is not set, or is empty: export it before starting the gateway")]
    Env(String),
    /// The file cannot be read, is too large or is not UTF-8.
    #[error("the secret file `{path}` cannot be used: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The helper did not answer as it should.
    #[error("the helper `{program}` gave no secret")]
    Helper {
        /// The program.
        program: PathBuf,
        /// The reason.
        #[source]
        fault: HelperFault,
    },
    /// Vault did not answer as it should.
    #[error("Vault gave nothing at `{path}`")]
    Vault {
        /// What it was asked for.
        path: VaultPath,
        /// The reason.
        #[source]
        fault: VaultFault,
    },
    /// There is a place in Vault and no Vault.
    #[error("`{0}` is a place in Vault, and there is no [vault]: add it with `address` and `token`")]
    NoVault(VaultPath),
    /// The gateway is ending, or the disk does not answer.
    #[error("reading the secret was interrupted, or took too long")]
    Interrupted,
}

/// Why a helper gave no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HelperFault {
    /// It is not there, or not a program.
    #[error("it cannot be run: {0}; `exec` names a program by its path from the configuration's folder")]
    NotStarted(String),
    /// It took too long, or waited too long for others to end.
    #[error("it did not end within {} seconds, and was killed", helper::LIMIT.as_secs())]
    Timeout,
    /// It printed too much.
    #[error("it printed more than {} bytes, and was killed", helper::MAX_OUTPUT)]
    Long,
    /// Its output could not be read.
    #[error("its output cannot be read: {0}")]
    Output(String),
    /// It failed.
    #[error("it failed ({0}); run it by hand to read what it says, which is not logged because it may hold secrets")]
    Failed(ExitStatus),
    /// Not what it should print.
    #[error(
        "what it printed is not JSON with a text `secret` that is not empty, such as {{\"secret\": \"...\", \"expires_at\": \"2026-01-31T08:00:00Z\"}}"
    )]
    Answer,
    /// Not a time.
    #[error("its `expires_at` is not a time of RFC 3339, such as `2026-01-31T08:00:00Z`")]
    Time,
    /// Of no more use.
    #[error("its secret has expired already; compare the clocks")]
    Expired,
}

/// Why Vault gave nothing, or did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultFault {
    /// The token for it cannot be had.
    #[error("the token of [vault] cannot be had")]
    Token(#[source] Box<SecretError>),
    /// The token cannot be sent.
    #[error("the token of [vault] has characters that no token has")]
    NotAToken,
    /// What was lent is not any more.
    #[error("the lease is gone: somebody has revoked it, or what it was lent by")]
    Gone,
    /// Too many others ask it.
    #[error("too many requests wait for it already; try again in a moment")]
    Crowded,
    /// It cannot be reached, or does not speak HTTP.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It refuses.
    #[error("it refuses the token of [vault] (status 403): the token has expired, or no policy of it allows this path")]
    Forbidden,
    /// There is nothing.
    #[error(
        "there is nothing (status 404); the path has the mount first, and of a KV engine of version 2 `data` after it"
    )]
    Nothing,
    /// It answers otherwise.
    #[error("it answers with the status {0}")]
    Status(u16),
    /// It answers with too much.
    #[error("its answer is longer than {} bytes", vault::MAX_ANSWER)]
    Long,
    /// It answers with something else.
    #[error("its answer is not that of a KV engine of version 2: the path has `data` after the mount")]
    NotKeyValue,
    /// There is no such value.
    #[error("there is no value `{0}` that is a text; name the right one by `key`")]
    NoKey(String),
    /// It lends nothing there.
    #[error(
        "its answer is not a lease of a `username` and a `password`: the path is that of a role, such as `database/creds/NAME`"
    )]
    NotALease,
}
