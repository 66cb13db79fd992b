//! The one thread that writes. It gathers entries by session, writes them in batches, and forces
//! them to disk when somebody waits for that or the flush interval is over, whichever is first.
//! Everybody who waits at that moment shares the one write (group commit).

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use sled::Batch;
use sluicegate_core::{
    SessionId,
    record::{self, Closed, Entry, Event, RecordError},
    sessions::SessionSummary,
};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::{error::StoreError, format, store::Store};

/// The most bytes of entries that are queued or gathered and not yet written. Beyond it, whoever
/// appends waits.
pub(crate) const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// Gathered entries of this many bytes are written even if nobody waits and no time is over.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long an entry may stay off the disk when nobody waits for it.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// The most sessions that are kept in mind; beyond it they are looked up when they go on.
const MAX_LIVE: usize = 4096;
/// How long closing waits for entries that were accepted and are not in the queue yet.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What is said to who appends to a record that was closed as it should be.
pub(crate) const CLOSED: &str = "it was closed because the gateway stops";

/// What the writer is told.
#[allow(clippy::large_enum_variant, reason = "nearly every message is an entry, so boxing it would only cost")]
pub(crate) enum Message {
    /// An entry, and the permits of the queue that it holds.
    Entry(Entry, u32),
    /// Somebody waits for everything before it to be on disk.
    Flush(oneshot::Sender<()>),
    /// No entry is accepted any more: write the last ones and end.
    Close(oneshot::Sender<()>),
}

/// What the writer shares with those who append.
pub(crate) struct Shared {
    /// The queue's free bytes. Closed once nothing can be appended any more.
    pub(crate) room: Semaphore,
    ended: OnceLock<String>,
    failing: Notify,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { room: Semaphore::new(QUEUE_BYTES), ended: OnceLock::new(), failing: Notify::new() }
    }

    /// Why nothing can be appended any more.
    pub(crate) fn ended(&self) -> Option<RecordError> {
        self.ended.get().map(|why| RecordError(why.clone()))
    }

    /// Ends appending for good, as it should end.
    pub(crate) fn end(&self) {
        self.ended.get_or_init(|| CLOSED.to_owned());
        self.room.close();
    }

    /// Ends appending for good, and says so once: from now on the gate lets nothing pass.
    pub(crate) fn fail(&self, why: &str) -> RecordError {
        if self.ended.set(why.to_owned()).is_ok() {
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
struct LastWord(Arc<Shared>);

impl Drop for LastWord {
    fn drop(&mut self) {
        if self.0.ended().is_none() {
            self.0.fail("its writer stopped unexpectedly");
        }
    }
}

/// A session that goes on.
struct Live {
    summary: SessionSummary,
    next_block: u64,
    /// The entries of the block that is being filled.
    block: Vec<u8>,
    dirty: bool,
}

pub(crate) struct Writer {
    store: Store,
    inbox: Receiver<Message>,
    shared: Arc<Shared>,
    live: HashMap<SessionId, Live>,
    dirty: Vec<SessionId>,
    batch: Batch,
    /// Permits of the queue to give back once their entries are written.
    held: usize,
    waiting: Vec<oneshot::Sender<()>>,
    /// When the oldest entry came that is not on disk.
    unsynced: Option<Instant>,
    closing: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// A writer that has first ended, in the record, the sessions which a crash cut off.
    pub(crate) fn start(store: Store, inbox: Receiver<Message>, shared: Arc<Shared>) -> Result<Self, StoreError> {
        let mut writer = Self {
            store,
            inbox,
            shared,
            live: HashMap::new(),
            dirty: Vec::new(),
            batch: Batch::default(),
            held: 0,
            waiting: Vec::new(),
            unsynced: None,
            closing: None,
        };
        for session in writer.store.open_sessions()? {
            let commands = writer.store.find(session)?.map_or(0, |summary| summary.commands);
            let reason = "the gateway stopped before the session ended".to_owned();
            let event = Event::Closed(Closed { commands, reason });
            writer.gather(&Entry { session, at: record::now(), event })?;
        }
        writer.sync()?;
        Ok(writer)
    }

    /// Writes until it is closed or fails.
    pub(crate) fn run(mut self) {
        let last_word = LastWord(Arc::clone(&self.shared));
        match self.serve() {
            Ok(()) => last_word.0.end(),
            Err(error) => {
                let RecordError(why) = error.into();
                if last_word.0.ended().is_some() {
                    tracing::error!(error = why, "the end of the record may be missing");
                }
                last_word.0.fail(&why);
            }
        }
    }

    fn serve(&mut self) -> Result<(), StoreError> {
        loop {
            let message = match self.unsynced {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => self.inbox.recv_timeout(FLUSH_INTERVAL.saturating_sub(since.elapsed())),
            };
            match message {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            self.take_waiting()?;
            if let Some(done) = self.closing.take() {
                self.last_call()?;
                let _ = done.send(());
                return Ok(());
            }
            let overdue = self.unsynced.is_some_and(|since| since.elapsed() >= FLUSH_INTERVAL);
            if overdue || !self.waiting.is_empty() {
                self.sync()?;
            } else if self.held >= BATCH_BYTES {
                self.write()?;
            }
        }
    }

    /// Takes what is queued, up to a batch, so that it shares one write.
    fn take_waiting(&mut self) -> Result<(), StoreError> {
        while self.held < BATCH_BYTES
            && let Ok(message) = self.inbox.try_recv()
        {
            self.take(message)?;
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), StoreError> {
        match message {
            Message::Entry(entry, permits) => {
                self.held += permits as usize;
                self.unsynced.get_or_insert_with(Instant::now);
                self.gather(&entry)?;
            }
            Message::Flush(done) => self.waiting.push(done),
            Message::Close(done) => self.closing = Some(done),
        }
        Ok(())
    }

    fn gather(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let live = match self.live.entry(entry.session) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(place) => place.insert(Live::find(&self.store, entry)?),
        };
        live.summary.note(entry);
        format::encode(entry, &mut live.block)?;
        if live.block.len() >= format::BLOCK_BYTES {
            live.cut_block(&mut self.batch);
        }
        if !std::mem::replace(&mut live.dirty, true) {
            self.dirty.push(entry.session);
        }
        Ok(())
    }

    /// Writes what was gathered: blocks and summaries together or not at all.
    fn write(&mut self) -> Result<(), StoreError> {
        for session in self.dirty.drain(..) {
            let Some(live) = self.live.get_mut(&session) else { continue };
            live.dirty = false;
            live.cut_block(&mut self.batch);
            self.batch.insert(format::summary_key(session), format::encode_summary(&live.summary)?);
            if live.summary.closed_at.is_some() {
                self.batch.remove(format::open_key(session));
                self.live.remove(&session);
            } else {
                self.batch.insert(format::open_key(session), &[]);
            }
        }
        self.store.write(std::mem::take(&mut self.batch))?;
        self.shared.room.add_permits(std::mem::take(&mut self.held));
        if self.live.len() > MAX_LIVE {
            self.live.clear();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.write()?;
        self.store.sync()?;
        self.unsynced = None;
        for done in self.waiting.drain(..) {
            let _ = done.send(());
        }
        Ok(())
    }

    /// Writes until every entry that was accepted has come: then all permits are back.
    fn last_call(&mut self) -> Result<(), StoreError> {
        let start = Instant::now();
        loop {
            self.take_waiting()?;
            self.sync()?;
            if self.shared.room.available_permits() >= QUEUE_BYTES || start.elapsed() >= LAST_CALL {
                return Ok(());
            }
            if let Ok(message) = self.inbox.recv_timeout(Duration::from_millis(5)) {
                self.take(message)?;
            }
        }
    }
}

impl Live {
    /// The session of this entry, from the store if it was there before.
    fn find(store: &Store, entry: &Entry) -> Result<Self, StoreError> {
        let (summary, next_block) = match store.find(entry.session)? {
            Some(summary) => (summary, store.next_block(entry.session)?),
            None => (SessionSummary::new(entry.session, entry.at), 0),
        };
        Ok(Self { summary, next_block, block: Vec::new(), dirty: false })
    }

    fn cut_block(&mut self, batch: &mut Batch) {
        if !self.block.is_empty() {
            batch.insert(format::block_key(self.summary.id, self.next_block), format::seal(&self.block));
            self.next_block += 1;
            self.block.clear();
        }
    }
}
