//! The store on disk: opening it, and reading it back. Reading goes on while the writer writes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use sled::{Batch, Db};
use sluicegate_core::{
    SessionId,
    sessions::{
        EntryPage, ExportPage, KeptEntry, ReadError, SessionFilter, SessionPage, SessionReader, SessionSummary,
    },
};

use crate::{
    error::StoreError,
    format::{self, VERSION, VERSION_KEY},
};

/// The folder's name within the data folder.
const FOLDER: &str = "record";
/// The most memory that the store's cache takes, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How often the store tidies up. Writing to disk does not depend on it; see the writer.
const TIDY_MILLISECONDS: u64 = 1000;
/// How long a store that was just closed may take to let go of its files.
const RELEASE: Duration = Duration::from_secs(2);
/// The most sessions on a page.
const MAX_PAGE_SESSIONS: usize = 1000;
/// The most sessions that are looked at for one page.
const MAX_SCANNED_SESSIONS: usize = 20_000;
/// A page of entries is full at this many entries,
const PAGE_ENTRIES: usize = 1000;
/// or at this many bytes of them.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// The open store. Clones share it; it closes with the last one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// The fields are dropped in this order: the lock goes last.
struct Inner {
    db: Db,
    /// The store's file once more, to force it to disk.
    file: File,
    _lock: File,
}

impl Store {
    /// Opens the store under `data_dir` and makes it if there is none. Blocks on the disk; after a
    /// crash it may take seconds.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = data_dir.join(FOLDER);
        let refuse = |source| StoreError::Folder { path: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(refuse)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(refuse)?;
        Self::open_folder(&folder, data_dir)
    }

    /// Opens the store for reading alone, where no gateway has it open. Never makes one. Blocks on
    /// the disk; after a crash it may take seconds.
    pub fn open_existing(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = data_dir.join(FOLDER);
        if !folder.is_dir() {
            return Err(StoreError::Missing(data_dir.to_owned()));
        }
        Self::open_folder(&folder, data_dir)
    }

    fn open_folder(folder: &Path, data_dir: &Path) -> Result<Self, StoreError> {
        let lock = lock(folder.join("lock"), data_dir)?;
        let db = open_sled(folder)?;
        check_version(&db)?;
        let path = folder.join("db");
        let file = File::open(&path).map_err(|source| StoreError::Folder { path, source })?;
        Ok(Self(Arc::new(Inner { db, file, _lock: lock })))
    }

    /// Writes a batch, all of it or nothing. It is on disk after the next [`Store::sync`].
    pub(crate) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        Ok(self.0.db.apply_batch(batch)?)
    }

    /// Returns once everything written is on disk. On Linux sled hands its pages to the device but
    /// does not wait for the file's size nor for the device's own cache, hence the second step.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.0.db.flush()?;
        self.0.file.sync_data().map_err(StoreError::Sync)
    }

    /// The sessions that are marked as open.
    pub(crate) fn open_sessions(&self) -> Result<Vec<SessionId>, StoreError> {
        self.0.db.scan_prefix(b"o").keys().map(|key| format::session_of(&key?)).collect()
    }

    /// The summary of a session.
    pub(crate) fn find(&self, session: SessionId) -> Result<Option<SessionSummary>, StoreError> {
        let found = self.0.db.get(format::summary_key(session))?;
        found.map(|bytes| format::decode_summary(&bytes)).transpose()
    }

    /// The number of the block that follows the session's last one.
    pub(crate) fn next_block(&self, session: SessionId) -> Result<u64, StoreError> {
        let blocks = format::block_key(session, 0)..=format::block_key(session, u64::MAX);
        let last = self.0.db.range(blocks).keys().next_back().transpose()?;
        last.map_or(Ok(0), |key| Ok(format::block_number(&key)?.saturating_add(1)))
    }

    fn read_list(&self, filter: &SessionFilter) -> Result<SessionPage, StoreError> {
        let limit = filter.limit.clamp(1, MAX_PAGE_SESSIONS);
        let end = filter.before.map_or_else(|| b"t".to_vec(), format::summary_key);
        let mut page = SessionPage { items: Vec::new(), next: None };
        let mut last = None;
        for (scanned, found) in self.0.db.range(b"s".to_vec()..end).rev().enumerate() {
            if page.items.len() == limit || scanned == MAX_SCANNED_SESSIONS {
                page.next = last;
                break;
            }
            let summary = format::decode_summary(&found?.1)?;
            last = Some(summary.id);
            let wanted = |filter: &Option<String>, is: &str| filter.as_deref().is_none_or(|name| name == is);
            if wanted(&filter.user, &summary.user) && wanted(&filter.target, &summary.target) {
                page.items.push(summary);
            }
        }
        Ok(page)
    }

    fn read_entries(&self, session: SessionId, from: u64) -> Result<EntryPage, StoreError> {
        let blocks = format::block_key(session, 0)..=format::block_key(session, u64::MAX);
        let mut page = EntryPage { entries: Vec::new(), next: None };
        let (mut bytes, mut number) = (0, 0);
        for block in self.0.db.range(blocks) {
            let (_, sealed) = block?;
            if page.entries.len() >= PAGE_ENTRIES || bytes >= PAGE_BYTES {
                page.next = Some(number);
                break;
            }
            let mut entries = Vec::new();
            bytes += format::open(session, &sealed, &mut entries)?;
            for entry in entries {
                if number >= from {
                    page.entries.push(KeptEntry { number, hash: String::new(), entry });
                }
                number += 1;
            }
        }
        Ok(page)
    }
}

impl SessionReader for Store {
    fn list(&self, filter: &SessionFilter) -> Result<SessionPage, ReadError> {
        Ok(self.read_list(filter)?)
    }

    fn summary(&self, session: SessionId) -> Result<Option<SessionSummary>, ReadError> {
        Ok(self.find(session)?)
    }

    fn entries(&self, session: SessionId, from: u64) -> Result<EntryPage, ReadError> {
        Ok(self.read_entries(session, from)?)
    }

    fn export(&self, _session: SessionId, _from: u64) -> Result<ExportPage, ReadError> {
        Err(ReadError("exports are not there yet".to_owned()))
    }

    fn public_key(&self) -> String {
        String::new()
    }
}

/// The lock that tells a running gateway. sled has one too, but reports it as any other error.
fn lock(path: PathBuf, data_dir: &Path) -> Result<File, StoreError> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    match open {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StoreError::Running(data_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(StoreError::Folder { path, source }),
        },
        Err(source) => Err(StoreError::Folder { path, source }),
    }
}

/// Opens sled. The store that this process closed a moment ago may still hold its files, because
/// sled's own threads outlive it a little.
fn open_sled(folder: &Path) -> Result<Db, StoreError> {
    let start = Instant::now();
    loop {
        let config =
            sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(TIDY_MILLISECONDS));
        match config.open() {
            Err(sled::Error::Io(error)) if error.kind() == io::ErrorKind::Other && start.elapsed() < RELEASE => {
                thread::sleep(Duration::from_millis(20));
            }
            other => return Ok(other?),
        }
    }
}

/// Refuses a store of another format. A store that is still empty gets this one.
fn check_version(db: &Db) -> Result<(), StoreError> {
    let Some(bytes) = db.get(VERSION_KEY)? else {
        if !db.is_empty() {
            return Err(StoreError::Damaged("its format's number is missing"));
        }
        db.insert(VERSION_KEY, &VERSION.to_be_bytes())?;
        return Ok(());
    };
    let found = bytes.as_ref().try_into().map(u32::from_be_bytes);
    match found.map_err(|_| StoreError::Damaged("its format's number cannot be read"))? {
        VERSION => Ok(()),
        found if found > VERSION => Err(StoreError::Newer { found, known: VERSION }),
        _ => Err(StoreError::Damaged("its format's number was never used")),
    }
}
