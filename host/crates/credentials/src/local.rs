//! Secrets that are on this machine: in the environment, in a file, or with a helper program.

use std::{path::Path, sync::Arc};

use rustix::fs::{Access, access};
use secrecy::SecretString;
use sluicegate_core::secret::SecretSource;

use crate::{HelperFault, SecretError, helpers::Helpers};

/// The most bytes that a secret file may hold.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The secret, where nobody has to be asked for it; none for a helper's or Vault's. Blocking.
pub fn at_hand(source: &SecretSource) -> Option<Result<SecretString, SecretError>> {
    match source {
        SecretSource::Env(name) => Some(variable(name)),
        SecretSource::File(path) => Some(file(path)),
        SecretSource::Exec(_) | SecretSource::Vault { .. } => None,
    }
}

/// Whether a secret is there, as far as can be told without running or asking anybody. Blocking.
pub fn check(source: &SecretSource) -> Result<(), SecretError> {
    match source {
        SecretSource::Exec(helper) => is_program(&helper.program).map_err(|why| SecretError::Helper {
            program: helper.program.clone(),
            fault: HelperFault::NotStarted(why),
        }),
        source => at_hand(source).map_or(Ok(()), |read| read.map(drop)),
    }
}

/// The secret now. Cancel-safe.
pub(crate) async fn read(helpers: &Arc<Helpers>, source: &SecretSource) -> Result<SecretString, SecretError> {
    if let SecretSource::Exec(helper) = source {
        return helpers.ask(helper).await;
    }
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || at_hand(&source)).await;
    read.ok().flatten().unwrap_or(Err(SecretError::Interrupted))
}

fn variable(name: &str) -> Result<SecretString, SecretError> {
    std::env::var(name).map(SecretString::from).map_err(|_| SecretError::Env(name.to_owned()))
}

fn file(path: &Path) -> Result<SecretString, SecretError> {
    let refuse = |why: String| SecretError::File { path: path.to_owned(), why };
    let size = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(refuse(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    let mut text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
    let kept = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(kept);
    Ok(SecretString::from(text))
}

fn is_program(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    access(path, Access::EXEC_OK).map_err(|_| "it is not executable for who runs the gateway".to_owned())
}
