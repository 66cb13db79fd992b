//! The store on disk: opening it, and the few ways in which it is read and written. Reading goes on while
//! the writer writes. What it answers to others is in `read.rs` and `export.rs`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    ops::RangeInclusive,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc},
    thread,
    time::{Duration, Instant},
};

use sled::{Batch, Db, IVec};
use sluicegate_core::{Approval, ApprovalId, SessionId, sessions::SessionSummary};

use crate::{
    error::StoreError,
    format::{self, BLOCK, HEAD, VERSION, VERSION_KEY},
    keyfile, live,
    mark::Mark,
    proof::{PublicKey, SignedHead, SigningKey},
    shared::Message,
    upgrade,
};

/// The folder's name within the data folder.
const FOLDER: &str = "record";
/// The most memory that the store's cache takes, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How often the store tidies up. Writing to disk does not depend on it; see the writer.
const TIDY_MILLISECONDS: u64 = 1000;
/// How long a store that was just closed may take to let go of its files.
const RELEASE: Duration = Duration::from_secs(2);
/// How long an export waits for the writer to sign a head.
const SIGNING: Duration = Duration::from_secs(5);

/// The open store. Clones share it; it closes with the last one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// The fields are dropped in this order: the lock goes last.
struct Inner {
    db: Db,
    /// The store's file once more, to force it to disk.
    file: File,
    key: PublicKey,
    /// The writer's inbox, where there is a writer.
    writer: OnceLock<Weak<mpsc::Sender<Message>>>,
    _lock: File,
}

impl Store {
    /// Opens the store under `data_dir` for the writer, with the key that signs and its mark; makes them if
    /// there are none, and brings a store of an older format up to date.
    pub(crate) fn open(data_dir: &Path) -> Result<(Self, SigningKey, Mark), StoreError> {
        let folder = data_dir.join(FOLDER);
        let refuse = |source| StoreError::Folder { path: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(refuse)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(refuse)?;
        let lock = lock(folder.join("lock"), data_dir)?;
        let key = keyfile::load_or_make(data_dir)?;
        let store = Self::with(open_sled(&folder)?, &folder, lock, *key.public())?;
        let found = version(&store.0.db)?;
        let mark = Mark::open(&store, data_dir)?;
        if mark.tells_loss() {
            tracing::error!(
                "the record lacks what was on disk before: its files were damaged, removed or replaced by older ones; it goes on with what is left"
            );
        }
        match found {
            None => {
                store.0.db.insert(VERSION_KEY, &VERSION.to_be_bytes())?;
            }
            Some(VERSION) => {}
            Some(_) => upgrade::run(&store, &key)?,
        }
        Ok((store, key, mark))
    }

    /// Opens the store for reading alone, where no gateway has it open. Never makes one. Blocks on
    /// the disk; after a crash it may take seconds.
    pub fn open_existing(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = data_dir.join(FOLDER);
        if !folder.is_dir() {
            return Err(StoreError::Missing(data_dir.to_owned()));
        }
        let lock = lock(folder.join("lock"), data_dir)?;
        unless_damaged(|| {
            let db = open_sled(&folder)?;
            if let Some(older @ ..VERSION) = version(&db)? {
                return Err(StoreError::Older(older));
            }
            Self::with(db, &folder, lock, keyfile::public(data_dir)?)
        })
    }

    fn with(db: Db, folder: &Path, lock: File, key: PublicKey) -> Result<Self, StoreError> {
        let path = folder.join("db");
        let file = File::open(&path).map_err(|source| StoreError::Folder { path, source })?;
        Ok(Self(Arc::new(Inner { db, file, key, writer: OnceLock::new(), _lock: lock })))
    }

    /// The public key with which exports are verified.
    pub(crate) fn key(&self) -> &PublicKey {
        &self.0.key
    }

    /// Has exports ask this writer for signed heads.
    pub(crate) fn attach(&self, writer: Weak<mpsc::Sender<Message>>) {
        let _ = self.0.writer.set(writer);
    }

    /// Has the writer sign a head over all that the session has, if there is a writer and it can.
    pub(crate) fn ask_for_head(&self, session: SessionId) {
        let Some(writer) = self.0.writer.get().and_then(Weak::upgrade) else { return };
        let (done, is_done) = mpsc::sync_channel(1);
        if writer.send(Message::Sign(session, done)).is_ok() {
            drop(writer);
            let _ = is_done.recv_timeout(SIGNING);
        }
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

    /// One value.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        Ok(self.0.db.get(key)?)
    }

    /// Everything whose key begins so.
    pub(crate) fn scan(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec), StoreError>> {
        self.0.db.scan_prefix(prefix).map(|found| found.map_err(StoreError::from))
    }

    /// Everything whose key is in this range.
    pub(crate) fn range(
        &self,
        keys: impl std::ops::RangeBounds<Vec<u8>>,
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec), StoreError>> {
        self.0.db.range(keys).map(|found| found.map_err(StoreError::from))
    }

    /// The sessions that are marked as open.
    pub(crate) fn open_sessions(&self) -> Result<Vec<SessionId>, StoreError> {
        self.scan(b"o").map(|found| format::session_of(&found?.0)).collect()
    }

    /// The summary of a session.
    pub(crate) fn find(&self, session: SessionId) -> Result<Option<SessionSummary>, StoreError> {
        self.get(&format::session_key(b's', session))?.map(|bytes| format::unpack(&bytes)).transpose()
    }

    /// An approval.
    pub(crate) fn find_approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.get(&format::approval_key(id))?.map(|bytes| format::unpack(&bytes)).transpose()
    }

    /// The bytes of a session's blocks, as counted when they were written.
    pub(crate) fn bytes_of(&self, summary: &SessionSummary) -> Result<u64, StoreError> {
        let open = self.get(&format::session_key(b'o', summary.id))?;
        let counted = match open {
            Some(counted) => Some(counted),
            None => self.get(&format::ended_key(live::target_of(summary), summary.id))?,
        };
        Ok(counted.map_or(0, |value| format::numbers(&value).0))
    }

    /// The session's blocks, each with the number of its first entry, from the block on that has entry
    /// `from`, or else from the last one.
    pub(crate) fn blocks(
        &self,
        session: SessionId,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, IVec), StoreError>> + use<>, StoreError> {
        let key = |number| format::numbered_key(BLOCK, session, number);
        let first = self.range(key(0)..=key(from)).next_back().transpose()?;
        let first = first.map_or_else(|| Ok(0), |(found, _)| format::number_of(&found))?;
        let blocks = self.0.db.range(key(first)..=key(u64::MAX));
        Ok(blocks.map(|found| {
            let (key, sealed) = found?;
            Ok((format::number_of(&key)?, sealed))
        }))
    }

    /// The session's heads whose last entry is one of these.
    pub(crate) fn heads(
        &self,
        session: SessionId,
        numbers: RangeInclusive<u64>,
    ) -> impl DoubleEndedIterator<Item = Result<SignedHead, StoreError>> + use<> {
        let key = |number| format::numbered_key(HEAD, session, number);
        self.0.db.range(key(*numbers.start())..=key(*numbers.end())).map(move |found| {
            let (key, value) = found?;
            format::decode_head(session, format::number_of(&key)?, &value)
        })
    }

    /// The session's last head.
    pub(crate) fn last_head(&self, session: SessionId) -> Result<Option<SignedHead>, StoreError> {
        self.heads(session, 0..=u64::MAX).next_back().transpose()
    }
}

/// Opens and reads a store that may be damaged. sled takes what it does not understand in its files for a
/// mistake of its own, and panics; whoever started the gateway is to read one sentence instead.
pub(crate) fn unless_damaged<T>(open: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // One at a time, so that each puts back what it found.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let usual = panic::take_hook();
    panic::set_hook(Box::new(|panic| tracing::debug!(%panic, "the store cannot be read")));
    let opened = panic::catch_unwind(AssertUnwindSafe(open));
    panic::set_hook(usual);
    opened.unwrap_or(Err(StoreError::Damaged("its files are not what was written")))
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

/// The store's format; none where it is still empty. One that is newer or was never used is refused.
fn version(db: &Db) -> Result<Option<u32>, StoreError> {
    let Some(bytes) = db.get(VERSION_KEY)? else {
        return if db.is_empty() { Ok(None) } else { Err(StoreError::Damaged("its format's number is missing")) };
    };
    let found = bytes.as_ref().try_into().map(u32::from_be_bytes);
    match found.map_err(|_| StoreError::Damaged("its format's number cannot be read"))? {
        0 => Err(StoreError::Damaged("its format's number was never used")),
        found if found > VERSION => Err(StoreError::Newer { found, known: VERSION }),
        found => Ok(Some(found)),
    }
}
