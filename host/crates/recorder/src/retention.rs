//! Retention: what is older than its target's record may be, or what makes it larger, is removed,
//! whole ended sessions at a time. Of each the last signed head stays, so that a removal can be told from
//! a loss.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sled::Batch;
use sluicegate_core::{SessionId, record};

use crate::{
    error::StoreError,
    format::{self, BLOCK, HEAD},
    proof::SignedHead,
    store::Store,
};

/// The most sessions that one pass removes,
const MAX_REMOVED: usize = 200;
/// or looks at,
const MAX_SCANNED: usize = 10_000;
/// and the most blocks and heads that it deletes.
const MAX_KEYS: usize = 2000;

/// How much is kept. Nothing said keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Sessions that ended longer ago are removed.
    pub age: Option<Duration>,
    /// The most compressed bytes of entries; beyond it the oldest ended sessions are removed. The store's
    /// files take more than that.
    pub size: Option<u64>,
}

/// What retention left of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// When it was removed, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Its last signed head; none where it never had one.
    pub head: Option<SignedHead>,
}

/// What is kept of each target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) default: Retention,
    pub(crate) per_target: HashMap<String, Retention>,
}

impl Rules {
    fn of(&self, target: &str) -> Retention {
        self.per_target.get(target).copied().unwrap_or(self.default)
    }
}

/// How many bytes each target's sessions take.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    bytes: BTreeMap<String, u64>,
    changed: Vec<String>,
}

impl Sizes {
    /// The sizes as stored.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut sizes = Self::default();
        for found in store.scan(b"g") {
            let (key, value) = found?;
            let target = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            sizes.bytes.insert(target, format::numbers(&value).0);
        }
        Ok(sizes)
    }

    pub(crate) fn grow(&mut self, target: &str, by: u64) {
        self.change(target, |bytes| bytes.saturating_add(by));
    }

    fn shrink(&mut self, target: &str, by: u64) {
        self.change(target, |bytes| bytes.saturating_sub(by));
    }

    fn change(&mut self, target: &str, to: impl Fn(u64) -> u64) {
        match self.bytes.get_mut(target) {
            Some(bytes) => *bytes = to(*bytes),
            None => drop(self.bytes.insert(target.to_owned(), to(0))),
        }
        if !self.changed.iter().any(|changed| changed == target) {
            self.changed.push(target.to_owned());
        }
    }

    fn of(&self, target: &str) -> u64 {
        self.bytes.get(target).copied().unwrap_or(0)
    }

    /// Writes what has changed.
    pub(crate) fn put(&mut self, batch: &mut Batch) {
        for target in self.changed.drain(..) {
            let bytes = self.bytes.get(&target).copied().unwrap_or(0);
            batch.insert(format::size_key(&target), &bytes.to_be_bytes());
        }
    }
}

/// Removes some of what has to go, and says whether there is more. Its work is bounded.
pub(crate) fn pass(store: &Store, rules: &Rules, sizes: &mut Sizes) -> Result<bool, StoreError> {
    if sweep(store)? {
        return Ok(true);
    }
    let targets: Vec<_> = sizes.bytes.keys().cloned().collect();
    for target in targets {
        let removed = remove_from(store, &target, rules.of(&target), sizes)?;
        if removed > 0 {
            tracing::info!(target_name = target, sessions = removed, "retention removed sessions from the record");
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_from(store: &Store, target: &str, keep: Retention, sizes: &mut Sizes) -> Result<usize, StoreError> {
    let now = record::now();
    let oldest_kept = keep.age.map(|age| now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
    let mut removed = 0;
    for found in store.scan(&format::ended_prefix(target)).take(MAX_SCANNED) {
        let (key, value) = found?;
        let (session, (bytes, ended_at)) = (format::ended_of(&key)?, format::numbers(&value));
        let too_large = keep.size.is_some_and(|size| sizes.of(target) > size);
        let too_old = oldest_kept.is_some_and(|oldest| ended_at < oldest);
        if !too_large && !too_old {
            // They come in the order in which they opened: what opened later ended later still.
            if oldest_kept.is_none_or(|oldest| opened_at(session) >= oldest) {
                break;
            }
            continue;
        }
        sizes.shrink(target, bytes);
        remove(store, target, session, now, sizes)?;
        removed += 1;
        if removed == MAX_REMOVED {
            break;
        }
    }
    Ok(removed)
}

/// Removes a session from sight. Its blocks may be many and go later.
fn remove(store: &Store, target: &str, session: SessionId, now: i64, sizes: &mut Sizes) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    for found in store.scan(&format::session_key(b'p', session)) {
        let (key, _) = found?;
        batch.remove(format::approval_key(format::asked_of(&key)?));
        batch.remove(key);
    }
    let mut left = now.to_be_bytes().to_vec();
    if let Some(signed) = store.last_head(session)? {
        left.extend_from_slice(&signed.head.number.to_be_bytes());
        left.extend(format::encode_head(&signed));
    }
    batch.insert(format::session_key(b'r', session), left);
    batch.insert(format::session_key(b'x', session), &[]);
    batch.remove(format::session_key(b's', session));
    batch.remove(format::ended_key(target, session));
    sizes.put(&mut batch);
    tracing::debug!(%session, "removed by retention");
    store.write(batch)
}

/// Deletes blocks and heads of removed sessions, and says whether there are more.
fn sweep(store: &Store) -> Result<bool, StoreError> {
    let mut batch = Batch::default();
    let mut deleted = 0;
    for found in store.scan(b"x") {
        let (marker, _) = found?;
        let session = format::session_of(&marker)?;
        for kind in [BLOCK, HEAD] {
            for found in store.scan(&format::session_key(kind, session)) {
                batch.remove(found?.0);
                deleted += 1;
                if deleted == MAX_KEYS {
                    store.write(batch)?;
                    return Ok(true);
                }
            }
        }
        batch.remove(marker);
    }
    store.write(batch)?;
    Ok(false)
}

/// What is left of a session, as stored.
pub(crate) fn read_left(session: SessionId, left: &[u8]) -> Result<Removed, StoreError> {
    let damaged = || StoreError::Damaged("what retention left of a session cannot be read");
    let (at, rest) = left.split_first_chunk().ok_or_else(damaged)?;
    let head = match rest.split_first_chunk() {
        Some((number, head)) => Some(format::decode_head(session, u64::from_be_bytes(*number), head)?),
        None => None,
    };
    Ok(Removed { at: i64::from_be_bytes(*at), head })
}

/// When a session opened, by its id, in milliseconds since the Unix epoch.
fn opened_at(session: SessionId) -> i64 {
    let millis = session.0.get_timestamp().map_or(0, |time| {
        let (seconds, nanos) = time.to_unix();
        seconds.saturating_mul(1000).saturating_add(u64::from(nanos / 1_000_000))
    });
    i64::try_from(millis).unwrap_or(i64::MAX)
}
