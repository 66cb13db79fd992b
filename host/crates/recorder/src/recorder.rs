//! The recorder that the gate appends to. It only queues; the writer's thread does the rest.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use sluicegate_core::record::{Appended, Entry, RecordError, RecordFuture, Recorder};
use sluicegate_metrics::RecordMetrics;
use tokio::{
    sync::{SemaphorePermit, TryAcquireError, oneshot},
    time::timeout,
};

use crate::{
    bounds,
    error::StoreError,
    retention::{Retention, Rules},
    shared::{Message, QUEUE_BYTES, Shared},
    store::{Store, unless_damaged},
    writer::Writer,
};

/// How long the disk may take before the record counts as lost.
const STALL: Duration = Duration::from_secs(30);
/// What is said then.
const STALLED: &str = "the disk has not taken anything for 30 seconds";

/// How often the writer does what nobody asks it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long an entry of an open session may be without a signed head.
    pub heads: Duration,
    /// How often the writer looks for sessions to remove.
    pub tidy: Duration,
}

impl Default for Pace {
    /// A minute each.
    fn default() -> Self {
        Self { heads: Duration::from_secs(60), tidy: Duration::from_secs(60) }
    }
}

/// Records into the store under the data folder.
///
/// Entries reach the disk within 200 ms, or when somebody calls [`Recorder::flush`]: a crash loses
/// at most that interval, and nothing that a flush has acknowledged. An error of the disk, a full
/// one included, ends recording: from then on every append and flush fails, and so nothing passes the
/// gate. It is not tried again, because sled does not leave an error while it is open; whoever runs
/// the gateway waits for [`SledRecorder::failed`] and ends the process, to be started again.
pub struct SledRecorder {
    store: Store,
    shared: Arc<Shared>,
    /// Taken when the recorder is dropped, which tells the writer to end.
    inbox: Option<Arc<mpsc::Sender<Message>>>,
    writer: Option<JoinHandle<()>>,
}

impl SledRecorder {
    /// Opens the store under `data_dir`, makes it and the key that signs it if there is none, and starts
    /// the writer. Sessions that a crash cut off are ended in the record, and a store of an older format is
    /// brought up to date. Blocks on the disk; after a crash it may take seconds, and an upgrade minutes.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(data_dir, Pace::default())
    }

    /// [`SledRecorder::open`] at another pace.
    pub fn open_with(data_dir: &Path, pace: Pace) -> Result<Self, StoreError> {
        let (inbox, outbox) = mpsc::channel();
        let inbox = Arc::new(inbox);
        let shared = Arc::new(Shared::new());
        let (store, writer) = unless_damaged(|| {
            let (store, key, mark) = Store::open(data_dir)?;
            let writer = Writer::start(store.clone(), key, mark, outbox, Arc::clone(&shared), pace)?;
            Ok((store, writer))
        })?;
        store.attach(Arc::downgrade(&inbox));
        let writer = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Folder { path: data_dir.to_owned(), source })?;
        Ok(Self { store, shared, inbox: Some(inbox), writer: Some(writer) })
    }

    /// Reads the record while it is written.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<RecordMetrics> {
        &self.shared.metrics
    }

    /// Whether nothing can be recorded any more.
    pub fn is_ended(&self) -> bool {
        self.shared.ended().is_some()
    }

    /// How many bytes of entries wait to be written, and how many may, to be asked at any time.
    pub fn queue_fill(&self) -> impl Fn() -> (usize, usize) + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || (QUEUE_BYTES.saturating_sub(shared.room.available_permits()), QUEUE_BYTES)
    }

    /// Says what is kept from now on: of these targets so much, of all others and of sessions that were
    /// not let in `default`. Without it everything is kept. What is over it is removed within the pace,
    /// whole ended sessions at a time and the oldest first.
    pub fn set_retention(&self, default: Retention, per_target: HashMap<String, Retention>) {
        // A writer that has ended removes nothing.
        let _ = self.send(Message::Retention(Rules { default, per_target }));
    }

    /// Writes what was appended, forces it to disk and ends the writer. Appending fails from then
    /// on. Cancel-safe: the writer ends all the same.
    pub async fn close(&self) -> Result<(), RecordError> {
        if let Some(ended) = self.shared.ended() {
            return Err(ended);
        }
        self.shared.end();
        let lost = |_| RecordError("the last entries may be missing; the log says why".to_owned());
        self.wait_for(Message::Close).await.map_err(lost)
    }

    /// Waits until recording fails, and says why. Nothing is recorded from then on. Closing is no
    /// failure. Cancel-safe.
    pub async fn failed(&self) -> RecordError {
        self.shared.failed().await
    }

    fn take(&self, mut entry: Entry) -> Appended<'_> {
        let size = match bounds::fit(&mut entry) {
            Ok(size) => size,
            Err(error) => return Appended::Now(Err(error)),
        };
        match self.shared.room.try_acquire_many(size) {
            Ok(room) => Appended::Now(self.enqueue(entry, size, room)),
            Err(TryAcquireError::Closed) => Appended::Now(Err(self.ended())),
            Err(TryAcquireError::NoPermits) => Appended::Later(Box::pin(self.take_later(entry, size))),
        }
    }

    async fn take_later(&self, entry: Entry, size: u32) -> Result<(), RecordError> {
        self.shared.hurry();
        match timeout(STALL, self.shared.room.acquire_many(size)).await {
            Ok(room) => self.enqueue(entry, size, room.map_err(|_| self.ended())?),
            Err(_) => Err(self.shared.fail(STALLED)),
        }
    }

    /// The writer gives the room back.
    fn enqueue(&self, entry: Entry, size: u32, room: SemaphorePermit<'_>) -> Result<(), RecordError> {
        room.forget();
        self.send(Message::Entry(entry, size))
    }

    async fn sync(&self) -> Result<(), RecordError> {
        if let Some(ended) = self.shared.ended() {
            return Err(ended);
        }
        self.wait_for(Message::Flush).await
    }

    async fn wait_for(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) -> Result<(), RecordError> {
        let (done, is_done) = oneshot::channel();
        self.send(message(done))?;
        self.shared.hurry();
        match timeout(STALL, is_done).await {
            Ok(answer) => answer.map_err(|_| self.ended()),
            Err(_) => Err(self.shared.fail(STALLED)),
        }
    }

    fn send(&self, message: Message) -> Result<(), RecordError> {
        let sent = self.inbox.as_ref().is_some_and(|inbox| inbox.send(message).is_ok());
        if sent { Ok(()) } else { Err(self.ended()) }
    }

    fn ended(&self) -> RecordError {
        self.shared.ended().unwrap_or_else(|| self.shared.fail("its writer stopped unexpectedly"))
    }
}

impl Recorder for SledRecorder {
    fn append(&self, entry: Entry) -> Appended<'_> {
        self.take(entry)
    }

    fn flush(&self) -> RecordFuture<'_> {
        Box::pin(self.sync())
    }
}

impl Drop for SledRecorder {
    fn drop(&mut self) {
        drop(self.inbox.take());
        // Where the disk takes nothing, sled and the writer would keep whoever waits for them, and so the
        // process, for ever: sled does not close what it cannot write.
        if self.shared.has_failed() {
            std::mem::forget(self.store.clone());
            return;
        }
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the record's writer ended in a panic");
        }
    }
}
