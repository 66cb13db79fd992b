//! Secrets that are on this machine: in the environment, in a file, or with a helper program.

use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

use rustix::fs::{Access, access};
use secrecy::SecretString;
use sluicegate_core::secret::SecretSource;

use crate::{HelperFault, SecretError, helpers::Helpers};

/// The most bytes that a secret file may hold.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// How long reading one may take.
const LIMIT: Duration = Duration::from_secs(10);

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
    let read = tokio::task::spawn_blocking(move || at_hand(&source));
    // A file may be on a disk that does not answer.
    let read = tokio::time::timeout(LIMIT, read).await.ok().and_then(Result::ok);
    read.flatten().unwrap_or(Err(SecretError::Interrupted))
}

fn variable(name: &str) -> Result<SecretString, SecretError> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(SecretString::from(text)),
        _ => Err(SecretError::Env(name.to_owned())),
    }
}

fn file(path: &Path) -> Result<SecretString, SecretError> {
    let refuse = |why: String| SecretError::File { path: path.to_owned(), why };
    // What is no file may have no end, or be waited for.
    if !std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?.is_file() {
        return Err(refuse("it is not a file".to_owned()));
    }
    let (mut text, opened) = (String::new(), File::open(path).map_err(|e| refuse(e.to_string()))?);
    opened.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|e| refuse(e.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    let kept = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(kept);
    if text.is_empty() { Err(refuse("it is empty".to_owned())) } else { Ok(SecretString::from(text)) }
}

fn is_program(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    access(path, Access::EXEC_OK).map_err(|_| "it is not executable for who runs the gateway".to_owned())
}
