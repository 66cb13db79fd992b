//! The files of the key that signs the record: `record.key`, which nobody but its owner may read, and
//! `record.pub`, for whoever verifies.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sluicegate_core::file::write_whole;
use zeroize::Zeroizing;

use crate::{
    error::StoreError,
    proof::{MAX_FILE_BYTES, PublicKey, SigningKey},
};

const PRIVATE: &str = "record.key";
/// The public key's name within the data folder.
pub const PUBLIC_KEY_FILE: &str = "record.pub";

/// The key under `data_dir`; a new one where there is none. Both files are on disk when this returns.
pub(crate) fn load_or_make(data_dir: &Path) -> Result<SigningKey, StoreError> {
    let (private, public) = (data_dir.join(PRIVATE), data_dir.join(PUBLIC_KEY_FILE));
    let key = match read_private(&private)? {
        Some(key) => key,
        None if public.exists() => {
            let why = "it is missing, though `record.pub` is there: restore it from a backup, or move `record.pub` \
                       away, which you need to verify older exports, to begin with a new key";
            return Err(StoreError::Key { path: private, why });
        }
        None => {
            let made = SigningKey::generate().map_err(StoreError::NoKey)?;
            write(&private, made.as_ref(), 0o600)?;
            tracing::info!(path = %private.display(), "made the key that signs the record; keep a backup of it");
            SigningKey::from_pkcs8(made.as_ref()).map_err(StoreError::NoKey)?
        }
    };
    if !public.exists() {
        write(&public, key.public().to_pem().as_bytes(), 0o644)?;
    } else if read_public(&public)? != *key.public() {
        let why = "it is not the public half of `record.key`: move it away, and it is written anew";
        return Err(StoreError::Key { path: public, why });
    }
    Ok(key)
}

/// The public key under `data_dir`.
pub(crate) fn public(data_dir: &Path) -> Result<PublicKey, StoreError> {
    read_public(&data_dir.join(PUBLIC_KEY_FILE))
}

fn read_private(path: &Path) -> Result<Option<SigningKey>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(refuse(path, source)),
    };
    let mode = file.metadata().map_err(|source| refuse(path, source))?.permissions().mode();
    if mode & 0o077 != 0 {
        let why = "others may read it: `chmod 600` it, and if they may have read it, move it and `record.pub` away";
        return Err(StoreError::Key { path: path.to_owned(), why });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(|source| refuse(path, source))?;
    SigningKey::from_pkcs8(&bytes).map(Some).map_err(StoreError::NoKey)
}

fn read_public(path: &Path) -> Result<PublicKey, StoreError> {
    let file = File::open(path).map_err(|source| refuse(path, source))?;
    PublicKey::read(file).map_err(StoreError::NoKey)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    write_whole(path, bytes, mode).map_err(|source| refuse(path, source))
}

fn refuse(path: &Path, source: io::Error) -> StoreError {
    StoreError::KeyFile { path: PathBuf::from(path), source }
}
