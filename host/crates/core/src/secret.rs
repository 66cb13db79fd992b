//! Where a secret is read from, in words. The value itself is never part of the configuration, of a log line
//! or of an error; who reads it is the host's to say.

use std::{fmt, path::Path, path::PathBuf};

use serde::Deserialize;

/// What a secret is called at a place that keeps several together, where nothing else is said.
const DEFAULT_KEY: &str = "password";
/// The longest path in Vault, in bytes.
const MAX_PATH: usize = 512;

/// `{ env = "NAME" }`, `{ file = "path" }`, `{ exec = ["program", "argument"] }`, or
/// `{ vault = "secret/data/orders", key = "password" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum SecretSource {
    /// An environment variable's name.
    Env(String),
    /// A file's path; a trailing line break is not part of the secret.
    File(PathBuf),
    /// A program that prints the secret.
    Exec(Helper),
    /// A place in Vault where values are kept.
    Vault {
        /// The place.
        path: VaultPath,
        /// Which of the values there it is.
        key: String,
    },
}

/// A program that prints a secret, and what it is told. Cheap to compare; a key of caches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Helper {
    /// The program itself: a path, which is not looked for anywhere else.
    pub program: PathBuf,
    /// Its arguments. Everybody on the machine can read them, so that they are no place for a secret.
    pub arguments: Vec<String>,
}

/// `{ vault = "database/creds/orders" }`: where a user name and a password are lent for each session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSource {
    /// The place.
    pub vault: VaultPath,
}

/// A path in Vault, as its API has it after `/v1/`: 1 to 512 bytes, of parts that are not empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct VaultPath(String);

impl SecretSource {
    /// Makes paths independent of the working folder.
    pub fn resolve(&mut self, base: &Path) {
        match self {
            Self::File(path) => *path = base.join(&path),
            Self::Exec(helper) => helper.program = base.join(&helper.program),
            Self::Env(_) | Self::Vault { .. } => {}
        }
    }
}

impl VaultPath {
    /// Its parts, between slashes.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a source. Quotes nothing but keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// None of the sources, or several of them.
    #[error("a secret has one source: `env`, `file`, `exec` or `vault`")]
    Sources,
    /// Nothing to run.
    #[error("`exec` is a list of a program and its arguments: `exec = [\"helpers/password\", \"orders\"]`")]
    NoProgram,
    /// A key without a place.
    #[error("`key` says which value of a place in Vault it is, and goes together with `vault` alone")]
    Key,
    /// Not a path.
    #[error(
        "a path in Vault is what follows `/v1/` in its API, such as `secret/data/orders`, without `/` at either end"
    )]
    Path,
}

/// A source as the configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    env: Option<String>,
    file: Option<PathBuf>,
    exec: Option<Vec<String>>,
    vault: Option<VaultPath>,
    key: Option<String>,
}

impl TryFrom<Written> for SecretSource {
    type Error = SourceError;

    fn try_from(written: Written) -> Result<Self, SourceError> {
        let Written { env, file, exec, vault, key } = written;
        if key.is_some() && vault.is_none() {
            return Err(SourceError::Key);
        }
        match (env, file, exec, vault) {
            (Some(name), None, None, None) => Ok(Self::Env(name)),
            (None, Some(path), None, None) => Ok(Self::File(path)),
            (None, None, Some(command), None) => {
                let mut words = command.into_iter();
                let program = words.next().filter(|program| !program.is_empty()).ok_or(SourceError::NoProgram)?;
                Ok(Self::Exec(Helper { program: program.into(), arguments: words.collect() }))
            }
            (None, None, None, Some(path)) => {
                Ok(Self::Vault { path, key: key.unwrap_or_else(|| DEFAULT_KEY.to_owned()) })
            }
            _ => Err(SourceError::Sources),
        }
    }
}

impl TryFrom<String> for VaultPath {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        let good = text.len() <= MAX_PATH && text.split('/').all(is_part) && !text.starts_with("v1/");
        if good { Ok(Self(text)) } else { Err(SourceError::Path) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(source: serde_json::Value) -> Result<SecretSource, String> {
        serde_json::from_value(source).map_err(|error| error.to_string())
    }

    #[test]
    fn each_source_is_read_and_its_paths_start_from_the_folder() {
        let mut helper = read(json!({ "exec": ["bin/helper", "orders"] })).unwrap();
        helper.resolve(Path::new("/etc/gate"));
        let expected = Helper { program: "/etc/gate/bin/helper".into(), arguments: vec!["orders".to_owned()] };
        assert_eq!(helper, SecretSource::Exec(expected));
        let mut file = read(json!({ "file": "secret" })).unwrap();
        file.resolve(Path::new("/etc/gate"));
        assert_eq!(file, SecretSource::File("/etc/gate/secret".into()));
        assert_eq!(read(json!({ "env": "X" })).unwrap(), SecretSource::Env("X".to_owned()));
        let SecretSource::Vault { path, key } = read(json!({ "vault": "secret/data/orders" })).unwrap() else {
            panic!("a place in Vault")
        };
        assert_eq!((path.to_string().as_str(), key.as_str()), ("secret/data/orders", "password"));
    }

    #[test]
    fn what_is_not_one_source_is_refused_with_its_reason() {
        for (source, error) in [
            (json!({}), SourceError::Sources),
            (json!({ "env": "X", "file": "y" }), SourceError::Sources),
            (json!({ "exec": ["x"], "vault": "secret/data/x" }), SourceError::Sources),
            (json!({ "exec": [] }), SourceError::NoProgram),
            (json!({ "exec": [""] }), SourceError::NoProgram),
            (json!({ "file": "x", "key": "y" }), SourceError::Key),
            (json!({ "vault": "" }), SourceError::Path),
            (json!({ "vault": "/secret/data/x" }), SourceError::Path),
            (json!({ "vault": "secret/../sys/seal" }), SourceError::Path),
            (json!({ "vault": "v1/secret/data/x" }), SourceError::Path),
            (json!({ "vault": "x".repeat(513) }), SourceError::Path),
        ] {
            assert_eq!(read(source.clone()).unwrap_err(), error.to_string(), "{source}");
        }
        assert!(read(json!({ "value": "x" })).is_err() && read(json!("x")).is_err());
    }
}
