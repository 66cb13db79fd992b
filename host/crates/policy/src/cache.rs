//! Compiled code on disk, so that a restart does not compile again. Loading machine code is as good
//! as running it, so an entry counts only if this gateway wrote it: folder and files belong to its
//! user alone, and each entry carries a MAC under a key that nobody else can read.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

const MAGIC: &[u8; 8] = b"sluicec1";
const MAC_BYTES: usize = 32;
/// More than any policy compiles to.
const MAX_ENTRY: u64 = 512 << 20;
/// Older entries are removed beyond this many.
const MAX_ENTRIES: usize = 64;

/// The cache of one data folder.
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

impl Cache {
    /// Opens or makes the cache. An error means that compiled code cannot be kept safely there.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let dir = data_dir.join("cache");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        private(&fs::symlink_metadata(&dir)?, "the folder")?;
        let key = key(&data_dir.join("policy-cache.key"))?;
        Ok(Self { dir, key })
    }

    /// The compiled component of a module, if there is a good entry. A bad one is removed.
    pub(crate) fn load(&self, engine: &Engine, context: &str, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        match self.read(&path, context, digest) {
            Ok(code) => match restore(engine, &code) {
                Ok(component) => return Some(component),
                Err(error) => discard(&path, &error.to_string()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => discard(&path, &error.to_string()),
        }
        None
    }

    /// Keeps a compiled component. A failure costs time at the next start and nothing else.
    pub(crate) fn store(&self, component: &Component, context: &str, digest: &str) {
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| self.write(&code, context, digest));
        if let Err(error) = kept {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled policy code could not be kept; it will be compiled again at the next start");
        }
        self.prune();
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.code"))
    }

    fn read(&self, path: &Path, context: &str, digest: &str) -> io::Result<Vec<u8>> {
        let mut file = open(path)?;
        let metadata = file.metadata()?;
        private(&metadata, "the entry")?;
        if metadata.len() > MAX_ENTRY {
            return Err(io::Error::other("the entry is larger than compiled code can be"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        (&mut file).take(MAX_ENTRY).read_to_end(&mut bytes)?;
        let head = MAGIC.len() + MAC_BYTES;
        let (Some(magic), Some(mac), Some(code)) =
            (bytes.get(..MAGIC.len()), bytes.get(MAGIC.len()..head), bytes.get(head..))
        else {
            return Err(io::Error::other("the entry is cut short"));
        };
        if magic != MAGIC || self.mac(context, digest, code)?.verify_slice(mac).is_err() {
            return Err(io::Error::other("the entry was not written by this gateway in its present version"));
        }
        bytes.drain(..head);
        Ok(bytes)
    }

    fn write(&self, code: &[u8], context: &str, digest: &str) -> io::Result<()> {
        let mac = self.mac(context, digest, code)?.finalize().into_bytes();
        let path = self.path(digest);
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        let written = create(&temporary).and_then(|mut file| {
            file.write_all(MAGIC)?;
            file.write_all(&mac)?;
            file.write_all(code)?;
            fs::rename(&temporary, &path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Over everything that must match, each part with its length.
    fn mac(&self, context: &str, digest: &str, code: &[u8]) -> io::Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(io::Error::other)?;
        for part in [context.as_bytes(), digest.as_bytes(), code] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Ok(mac)
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut entries: Vec<_> =
            entries.flatten().filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(MAX_ENTRIES);
        for (_, path) in entries.into_iter().take(surplus) {
            let _ = fs::remove_file(path);
        }
    }
}

#[allow(unsafe_code, reason = "loading cached machine code; its MAC was verified, so this gateway compiled it")]
fn restore(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `Cache::read` has verified that these bytes came from `Component::serialize` in a
    // process that holds the key, for an engine of the same compatibility hash.
    unsafe { Component::deserialize(engine, code) }
}

fn discard(path: &Path, why: &str) {
    tracing::warn!(entry = %path.display(), why, "a cache entry is not used; it is removed and the policy compiled again");
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(entry = %path.display(), %error, "the cache entry could not be removed; remove it by hand");
    }
}

fn key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    match open(path) {
        Ok(mut file) => {
            private(&file.metadata()?, "the key file")?;
            file.read_exact(&mut key)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
            create(path)?.write_all(&key)?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}

/// A symbolic link is an error: it could lead to a file that somebody else writes.
fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).custom_flags(no_follow()).open(path)
}

fn create(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(no_follow()).open(path)
}

fn no_follow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

fn private(metadata: &fs::Metadata, what: &str) -> io::Result<()> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{what} belongs to another user")));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("{what} is open to other users; remove their permissions")));
    }
    Ok(())
}
