//! The one thread that writes. It gathers entries by session, writes them in batches, and forces
//! them to disk when somebody waits for that or the flush interval is over, whichever is first.
//! Everybody who waits at that moment shares the one write (group commit). In between it signs heads
//! and removes what retention says.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use sled::Batch;
use sluicegate_core::{
    SessionId,
    record::{Entry, RecordError},
};
use tokio::sync::oneshot;

use crate::{
    approvals::Index,
    error::StoreError,
    live::Live,
    mark::Mark,
    proof::SigningKey,
    recorder::Pace,
    recovery,
    retention::{self, Rules, Sizes},
    shared::{LastWord, Message, QUEUE_BYTES, Shared},
    store::Store,
};

/// Gathered entries of this many bytes are written even if nobody waits and no time is over.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long an entry may stay off the disk when nobody waits for it.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// How long entries for which nobody waits gather before they are taken, so that not each of them wakes the
/// writer's thread.
const GATHER: Duration = Duration::from_millis(10);
/// The most silent sessions that are kept in mind; beyond it they are looked up when they go on.
const MAX_LIVE: usize = 4096;
/// How long closing waits for entries that were accepted and are not in the queue yet.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long retention rests when there is more to remove, so that entries come first.
const REST: Duration = Duration::from_millis(50);

pub(crate) struct Writer {
    pub(crate) store: Store,
    key: SigningKey,
    mark: Mark,
    inbox: Receiver<Message>,
    shared: Arc<Shared>,
    live: HashMap<SessionId, Live>,
    dirty: Vec<SessionId>,
    approvals: Index,
    pub(crate) sizes: Sizes,
    pub(crate) batch: Batch,
    /// Room to pack entries in.
    packed: Vec<u8>,
    /// Permits of the queue to give back once their entries are written, and how many entries that are.
    held: usize,
    gathered: u64,
    waiting: Vec<oneshot::Sender<()>>,
    signing: Vec<(SessionId, SyncSender<()>)>,
    /// When the oldest entry came that is not on disk.
    unsynced: Option<Instant>,
    pace: Pace,
    /// When heads are signed next; none while every entry has one.
    heads_due: Option<Instant>,
    /// What is kept, and when it is looked for what is not.
    rules: Rules,
    tidy_due: Instant,
    closing: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// A writer that has first ended, in the record, the sessions which a crash cut off.
    pub(crate) fn start(
        store: Store,
        key: SigningKey,
        mark: Mark,
        inbox: Receiver<Message>,
        shared: Arc<Shared>,
        pace: Pace,
    ) -> Result<Self, StoreError> {
        let mut writer = Self {
            sizes: Sizes::load(&store)?,
            store,
            key,
            mark,
            inbox,
            shared,
            live: HashMap::new(),
            dirty: Vec::new(),
            approvals: Index::default(),
            batch: Batch::default(),
            packed: Vec::new(),
            held: 0,
            gathered: 0,
            waiting: Vec::new(),
            signing: Vec::new(),
            unsynced: None,
            pace,
            heads_due: None,
            rules: Rules::default(),
            tidy_due: Instant::now() + pace.tidy,
            closing: None,
        };
        recovery::run(&mut writer)?;
        Ok(writer)
    }

    /// The key that signs heads.
    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Writes until it is closed or fails.
    pub(crate) fn run(mut self) {
        self.shared.written_here();
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
            let message = self.inbox.recv_timeout(self.due().saturating_duration_since(Instant::now()));
            match message {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            self.take_waiting()?;
            if let Some(done) = self.closing.take() {
                self.last_call()?;
                let _ = done.send(());
                return Ok(());
            }
            if self.heads_due.is_some_and(|due| due <= Instant::now()) {
                self.sign_all()?;
            }
            let overdue = self.unsynced.is_some_and(|since| since.elapsed() >= FLUSH_INTERVAL);
            if overdue || !self.waiting.is_empty() || !self.signing.is_empty() {
                self.sync()?;
            } else if self.held >= BATCH_BYTES {
                self.write()?;
            }
            self.tidy()?;
            thread::park_timeout(GATHER);
        }
    }

    /// When something is to be done even if no message comes.
    fn due(&self) -> Instant {
        let flush = self.unsynced.map(|since| since + FLUSH_INTERVAL);
        [flush, self.heads_due].into_iter().flatten().fold(self.tidy_due, Instant::min)
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
                self.gathered += 1;
                self.unsynced.get_or_insert_with(Instant::now);
                self.gather(&entry)?;
            }
            Message::Flush(done) => self.waiting.push(done),
            Message::Sign(session, done) => self.signing.push((session, done)),
            Message::Retention(rules) => (self.rules, self.tidy_due) = (rules, Instant::now()),
            Message::Close(done) => self.closing = Some(done),
        }
        Ok(())
    }

    /// Takes in an entry. A session that has ended, which its last head says, takes none.
    pub(crate) fn gather(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let open = match self.live.entry(entry.session) {
            hash_map::Entry::Occupied(known) => Some(known.into_mut()).filter(|live| live.summary.closed_at.is_none()),
            hash_map::Entry::Vacant(place) => {
                Live::find(&self.store, entry.session, entry.at)?.map(|live| place.insert(live))
            }
        };
        let Some(live) = open else {
            tracing::error!(session = %entry.session, "an entry of a session that has ended is not recorded");
            return Ok(());
        };
        self.approvals.note(&self.store, entry, &mut self.batch)?;
        live.add(entry, &mut self.packed, &mut self.batch)?;
        if !std::mem::replace(&mut live.dirty, true) {
            self.dirty.push(entry.session);
        }
        Ok(())
    }

    /// Writes what was gathered: blocks, heads, summaries and indexes together or not at all.
    pub(crate) fn write(&mut self) -> Result<(), StoreError> {
        let mut unsigned = false;
        for session in self.dirty.drain(..) {
            let Some(live) = self.live.get_mut(&session) else { continue };
            let sign = self.signing.iter().any(|(wanted, _)| *wanted == session);
            live.put(&self.key, sign, &mut self.sizes, &mut self.batch)?;
            unsigned |= live.is_unsigned();
            if live.summary.closed_at.is_some() {
                self.live.remove(&session);
            }
        }
        if unsigned {
            self.heads_due.get_or_insert_with(|| Instant::now() + self.pace.heads);
        }
        self.sizes.put(&mut self.batch);
        self.store.write(std::mem::take(&mut self.batch))?;
        self.shared.room.add_permits(std::mem::take(&mut self.held));
        self.shared.metrics.written(std::mem::take(&mut self.gathered));
        if self.live.len() > MAX_LIVE {
            self.live.retain(|_, live| live.is_unsigned());
        }
        Ok(())
    }

    /// Writes what was gathered and forces it to disk.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        for (session, _) in &self.signing {
            if let Some(live) = self.live.get_mut(session)
                && live.is_unsigned()
                && !std::mem::replace(&mut live.dirty, true)
            {
                self.dirty.push(*session);
            }
        }
        let began = Instant::now();
        self.mark.advance(&mut self.batch);
        self.write()?;
        self.store.sync()?;
        self.mark.note().map_err(StoreError::Sync)?;
        self.shared.metrics.flushed(began.elapsed());
        self.unsynced = None;
        for done in self.waiting.drain(..) {
            let _ = done.send(());
        }
        for (_, done) in self.signing.drain(..) {
            let _ = done.send(());
        }
        Ok(())
    }

    /// Signs a head for every session that has entries without one.
    fn sign_all(&mut self) -> Result<(), StoreError> {
        self.write()?;
        for live in self.live.values_mut().filter(|live| live.is_unsigned()) {
            live.put(&self.key, true, &mut self.sizes, &mut self.batch)?;
        }
        self.heads_due = None;
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Removes some of what retention says, if it is time.
    fn tidy(&mut self) -> Result<(), StoreError> {
        if self.tidy_due <= Instant::now() {
            let more = retention::pass(&self.store, &self.rules, &mut self.sizes)?;
            self.tidy_due = Instant::now() + if more { REST } else { self.pace.tidy };
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.sign_all()?;
        self.sync()
    }

    /// Writes until every entry that was accepted has come: then all permits are back.
    fn last_call(&mut self) -> Result<(), StoreError> {
        let start = Instant::now();
        loop {
            self.take_waiting()?;
            self.finish()?;
            if self.shared.room.available_permits() >= QUEUE_BYTES || start.elapsed() >= LAST_CALL {
                return Ok(());
            }
            if let Ok(message) = self.inbox.recv_timeout(Duration::from_millis(5)) {
                self.take(message)?;
            }
        }
    }
}
