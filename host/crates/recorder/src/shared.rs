//! What those who append share with the writer: the messages, the queue's room, and the word that
//! recording has ended.

use std::{
    sync::{Arc, OnceLock, mpsc},
    thread::Thread,
};

use sluicegate_core::{
    SessionId,
    record::{Entry, RecordError},
};
use sluicegate_metrics::RecordMetrics;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::retention::Rules;

/// The most bytes of entries that are queued or gathered and not yet written. Beyond it, whoever
/// appends waits.
pub(crate) const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// What is said to who appends to a record that was closed as it should be.
pub(crate) const CLOSED: &str = "it was closed because the gateway stops";

/// What the writer is told.
#[allow(clippy::large_enum_variant, reason = "nearly every message is an entry, so boxing it would only cost")]
pub(crate) enum Message {
    /// An entry, and the permits of the queue that it holds.
    Entry(Entry, u32),
    /// Somebody waits for everything before it to be on disk.
    Flush(oneshot::Sender<()>),
    /// Somebody waits for a signed head over everything before it in this session.
    Sign(SessionId, mpsc::SyncSender<()>),
    /// What is kept, from now on.
    Retention(Rules),
    /// No entry is accepted any more: write the last ones and end.
    Close(oneshot::Sender<()>),
}

/// What the writer shares with those who append.
pub(crate) struct Shared {
    /// The queue's free bytes. Closed once nothing can be appended any more.
    pub(crate) room: Semaphore,
    ended: OnceLock<String>,
    failing: Notify,
    writer: OnceLock<Thread>,
    pub(crate) metrics: Arc<RecordMetrics>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            room: Semaphore::new(QUEUE_BYTES),
            ended: OnceLock::new(),
            failing: Notify::new(),
            writer: OnceLock::new(),
            metrics: Arc::default(),
        }
    }

    /// This thread is the writer.
    pub(crate) fn written_here(&self) {
        let _ = self.writer.set(std::thread::current());
    }

    /// Wakes the writer where it lets entries gather: somebody waits for it.
    pub(crate) fn hurry(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Why nothing can be appended any more.
    pub(crate) fn ended(&self) -> Option<RecordError> {
        self.ended.get().map(|why| RecordError(why.clone()))
    }

    /// Whether it ended because something failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.ended.get().is_some_and(|why| why != CLOSED)
    }

    /// Ends appending for good, as it should end.
    pub(crate) fn end(&self) {
        self.ended.get_or_init(|| CLOSED.to_owned());
        self.room.close();
    }

    /// Ends appending for good, and says so once: from now on the gate lets nothing pass.
    pub(crate) fn fail(&self, why: &str) -> RecordError {
        if self.ended.set(why.to_owned()).is_ok() {
            self.metrics.failed();
            tracing::error!(error = %RecordError(why.to_owned()), "nothing passes the gateway any more");
        }
        self.room.close();
        self.failing.notify_waiters();
        self.ended().unwrap_or_else(|| RecordError(why.to_owned()))
    }

    /// Waits until appending ends because something failed. Cancel-safe.
    pub(crate) async fn failed(&self) -> RecordError {
        loop {
            // Made before the look, so that a failure between the two is heard.
            let failing = self.failing.notified();
            if let Some(why) = self.ended.get().filter(|why| *why != CLOSED) {
                return RecordError(why.clone());
            }
            failing.await;
        }
    }
}

/// Whatever ends the thread, a panic in the store included, nobody may go on waiting for it.
pub(crate) struct LastWord(pub(crate) Arc<Shared>);

impl Drop for LastWord {
    fn drop(&mut self) {
        if self.0.ended().is_none() {
            self.0.fail("its writer stopped unexpectedly");
        }
    }
}
