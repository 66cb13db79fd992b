//! What can go wrong with the store.

use std::{io, path::PathBuf};

use sluicegate_core::{Chain, record::RecordError, sessions::ReadError};

use crate::proof::KeyError;

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open, which is how a running gateway is noticed.
    #[error("a gateway is running on the data folder `{}`: ask it, or stop it first", .0.display())]
    Running(PathBuf),
    /// Nothing was ever recorded there.
    #[error("there is no record under `{}`: check `data_dir`, or start the gateway once", .0.display())]
    Missing(PathBuf),
    /// The folder or the lock file cannot be used.
    #[error("the record's folder `{}` cannot be used; check who owns it", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It was written by a newer Sluicegate.
    #[error("the record has format {found}, and this Sluicegate knows up to {known}: use the newer version")]
    Newer {
        /// The store's format.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// It was written by an older Sluicegate and only a gateway may bring it up to date.
    #[error("the record has format {0}: start the gateway once, which brings it up to date")]
    Older(u32),
    /// The key that signs the record cannot be used.
    #[error("the record's key `{}` cannot be used: {why}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: &'static str,
    },
    /// The key that signs the record cannot be made or read.
    #[error("the record's key `{}` cannot be made or read; check who owns the data folder", path.display())]
    KeyFile {
        /// The key's file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The key is none.
    #[error("the record's key is not usable")]
    NoKey(#[source] KeyError),
    /// What is stored is not what was written.
    #[error("the record is damaged ({0}): restore the data folder from a backup, or start with another")]
    Damaged(&'static str),
    /// Nothing of the session is signed.
    #[error("nothing of this session is signed yet: start the gateway, which ends and signs it")]
    Unsigned,
    /// The session went away while it was read.
    #[error("the session is not in the record any more: retention may have removed it")]
    Gone,
    /// An entry that cannot be written down.
    #[error("an entry cannot be encoded; please report this")]
    Encode(#[source] rmp_serde::encode::Error),
    /// The store failed.
    #[error("the record's store failed; check the disk's space and health")]
    Sled(#[source] sled::Error),
    /// The disk did not take what was written.
    #[error("the record could not be forced to disk; check the disk's space and health")]
    Sync(#[source] io::Error),
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        Self(Chain(&error).to_string())
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self(Chain(&error).to_string())
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Corruption { .. } => Self::Damaged("a part of it is not what its checksum says"),
            sled::Error::Unsupported(_) => Self::Damaged("its settings cannot be read"),
            other => Self::Sled(other),
        }
    }
}
