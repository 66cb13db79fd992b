//! Watches the policies folder on a thread of its own. Events only say when to look; what changed is
//! found by reading, so a lost event costs a few seconds and nothing else.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};

use crate::registry::Registry;

/// A file is read when nothing has happened to the folder for this long, ...
const SETTLE: Duration = Duration::from_millis(100);
/// ... or at last after this long.
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);
/// How often to look without an event.
const POLL: Duration = Duration::from_secs(2);

/// The watching thread; it ends when this is dropped.
pub(crate) struct Watch {
    events: Sender<Event>,
}

enum Event {
    Changed,
    Stop,
}

impl Watch {
    pub(crate) fn start(dir: PathBuf, registry: Arc<Mutex<Registry>>) -> io::Result<Self> {
        let (events, received) = mpsc::channel();
        let sender = events.clone();
        thread::Builder::new().name("policy-watch".into()).spawn(move || {
            let mut watcher = watcher(&dir, &sender);
            while let Some(every) = next(&received) {
                // The folder may not have been there at the start.
                if watcher.is_none() && dir.is_dir() {
                    watcher = self::watcher(&dir, &sender);
                }
                registry.lock().unwrap_or_else(PoisonError::into_inner).rescan(every);
            }
        })?;
        Ok(Self { events })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
    }
}

/// Waits for the next time to look. `Some(true)` after events, `Some(false)` without one, none at
/// the end.
fn next(events: &Receiver<Event>) -> Option<bool> {
    match events.recv_timeout(POLL) {
        Ok(Event::Changed) => {}
        Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
        Err(RecvTimeoutError::Timeout) => return Some(false),
    }
    let since = Instant::now();
    while since.elapsed() < SETTLE_AT_MOST {
        match events.recv_timeout(SETTLE) {
            Ok(Event::Changed) => {}
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    Some(true)
}

fn watcher(dir: &Path, events: &Sender<Event>) -> Option<RecommendedWatcher> {
    let events = events.clone();
    let handler = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(&event.kind)) {
            let _ = events.send(Event::Changed);
        }
    };
    let watching = notify::recommended_watcher(handler).and_then(|mut watcher| {
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching
        .inspect_err(|error| {
            tracing::warn!(dir = %dir.display(), %error, "the policies folder is looked at every few seconds, because it cannot be watched");
        })
        .ok()
}

/// Reading a file is no change; otherwise our own looking would call for the next.
fn is_change(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if !matches!(access, AccessKind::Close(AccessMode::Write)))
}
