//! What the command line keeps for a person on their own machine: their logins ([`logins`]) and the local ports of
//! `connect` ([`ports`]). Files of theirs alone, replaced whole at once, and changed by one process at a time.

pub mod logins;
pub mod ports;

use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use zeroize::Zeroizing;

/// The most bytes of a file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The bits of a mode by which others may do anything, and those by which they may write.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// The folder with what is kept.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Held while what is kept is read and changed. Other processes wait.
pub struct Lock(#[expect(dead_code, reason = "closing it gives the lock back")] File);

/// A secret that is written into a file.
#[derive(Clone)]
pub struct Kept(pub SecretString);

impl Folder {
    /// `sluicegate` in XDG_CONFIG_HOME, which is `~/.config` where that is not set (XDG Base Directory Specification).
    /// Made where it is not there, and refused where others could replace what is in it.
    pub fn open() -> anyhow::Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let base = base.context("there is no place for logins: set HOME or XDG_CONFIG_HOME")?;
        let folder = base.join("sluicegate");
        let unusable = || format!("the folder `{}` cannot be used", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(unusable)?;
        let metadata = folder.metadata().with_context(unusable)?;
        if metadata.uid() != owner() || metadata.mode() & OTHERS_WRITE != 0 {
            bail!("others may write to the folder `{0}`: make it yours alone with `chmod 700 {0}`", folder.display());
        }
        Ok(Self(folder))
    }

    /// Waits until nobody else reads and changes what is kept. Blocking.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("`{}` cannot be opened", path.display()))?;
        file.lock().with_context(|| format!("`{}` cannot be locked", path.display()))?;
        Ok(Lock(file))
    }

    /// Reads a file; one that is not there holds nothing. One that others may read is refused, for what is in it may be
    /// theirs already.
    fn read<T: DeserializeOwned + Default>(&self, name: &str) -> anyhow::Result<T> {
        let path = self.0.join(name);
        let unreadable = || format!("`{}` cannot be read", path.display());
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
            opened => opened.with_context(unreadable)?,
        };
        let metadata = file.metadata().with_context(unreadable)?;
        if metadata.uid() != owner() || metadata.mode() & OTHERS != 0 {
            bail!(
                "others may read `{0}`: run `chmod 600 {0}`, and log in again if anybody may have done so",
                path.display()
            );
        }
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_FILE_BYTES).read_to_end(&mut text).with_context(unreadable)?;
        // What is wrong is not said: the words could be somebody's token.
        serde_json::from_slice(&text)
            .map_err(|_| anyhow::anyhow!("`{}` is damaged: remove it, and log in again", path.display()))
    }

    /// Replaces a file, whole at once and for its owner alone.
    fn write(&self, _: &Lock, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let path = self.0.join(name);
        self.put(&path, value).with_context(|| format!("`{}` cannot be written", path.display()))
    }

    fn put(&self, path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(value)?);
        // Made with the mode 0600.
        let mut fresh = tempfile::NamedTempFile::new_in(&self.0)?;
        fresh.write_all(&text)?;
        fresh.as_file().sync_all()?;
        fresh.persist(path)?;
        File::open(&self.0)?.sync_all()?;
        Ok(())
    }
}

/// Whose files they have to be.
fn owner() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a secret)")
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::from(text)))
    }
}
