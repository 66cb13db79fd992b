//! The folder where the gateway keeps its state. It is the owner's alone, and so is the key with
//! which values are hashed for the `hash` mask.

use std::{
    fs::{self, DirBuilder},
    io::Read,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sluicegate_core::file::write_whole;
use zeroize::Zeroizing;

const MASK_KEY: &str = "mask.key";
/// How long the key is.
pub const KEY_BYTES: usize = 32;

/// Why the state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Others may look into the folder.
    #[error(
        "other users can open the data folder `{path}` (mode {mode:o}): run `chmod 700` on it, or choose another `data_dir`"
    )]
    Exposed {
        /// The folder or the file in it.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else owns the folder.
    #[error(
        "the data folder `{path}` belongs to another user (uid {owner}): run the gateway as that user, or choose another `data_dir`"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The key is not one.
    #[error(
        "`{0}` does not hold the {KEY_BYTES} bytes of a key: restore it from a backup, or remove it and hashed values will change"
    )]
    Key(PathBuf),
    /// The system refuses.
    #[error("the data folder cannot be used: {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The system has no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Makes the folder with mode 0700 where it is missing, and refuses one that others can open.
pub fn prepare(path: &Path) -> Result<(), DataDirError> {
    let io = |source| DataDirError::Io { path: path.to_owned(), source };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(io)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(DataDirError::Foreign { path: path.to_owned(), owner: metadata.uid() });
    }
    refuse_exposed(path, &metadata)
}

/// The deployment's key for the `hash` mask, made on first use. Whoever has it can try guesses
/// against hashed values, and who loses it gets other hashes for the same values.
pub fn mask_key(data_dir: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, DataDirError> {
    let path = data_dir.join(MASK_KEY);
    let io = |source| DataDirError::Io { path: path.clone(), source };
    match fs::File::open(&path) {
        Ok(mut file) => {
            refuse_exposed(&path, &file.metadata().map_err(io)?)?;
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            let mut beyond = [0];
            let whole = file.read_exact(key.as_mut_slice()).is_ok() && file.read(&mut beyond).map_err(io)? == 0;
            if whole { Ok(key) } else { Err(DataDirError::Key(path.clone())) }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_key(&path),
        Err(error) => Err(io(error)),
    }
}

fn make_key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, DataDirError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(key.as_mut_slice()).map_err(DataDirError::Random)?;
    let written = write_whole(path, key.as_slice(), 0o600);
    written.map_err(|source| DataDirError::Io { path: path.to_owned(), source })?;
    Ok(key)
}

fn refuse_exposed(path: &Path, metadata: &fs::Metadata) -> Result<(), DataDirError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_owner_s_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/data");
        prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let error = prepare(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 700") && error.contains("750"), "{error}");
    }

    #[test]
    fn the_key_is_made_once_and_guarded() {
        let temp = tempfile::tempdir().unwrap();
        let key = mask_key(temp.path()).unwrap();
        assert_eq!(*key, *mask_key(temp.path()).unwrap());
        assert!(key.iter().any(|byte| *byte != 0));
        let path = temp.path().join(MASK_KEY);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(mask_key(temp.path()), Err(DataDirError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [1; KEY_BYTES + 1]).unwrap();
        assert!(matches!(mask_key(temp.path()), Err(DataDirError::Key(_))));
    }
}
