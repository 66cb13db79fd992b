//! A record in memory, which can also be slow or broken.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sluicegate_core::{
    Approval, ApprovalId, SessionId,
    record::{Appended, Closed, Entry, Event, RecordError, RecordFuture, Recorder, Refused},
    sessions::{
        ApprovalFilter, ApprovalPage, ApprovalReader, EntryPage, ExportPage, KeptEntry, ReadError, SessionFilter,
        SessionPage, SessionReader, SessionSummary,
    },
};
use uuid::Uuid;

/// A session that can be read.
pub const KNOWN: SessionId = SessionId(Uuid::from_u128(7));
/// A session whose entries cannot be read.
pub const BROKEN: SessionId = SessionId(Uuid::from_u128(8));
/// A session whose export breaks off.
pub const TORN: SessionId = SessionId(Uuid::from_u128(10));
/// A session that retention has removed.
pub const REMOVED: SessionId = SessionId(Uuid::from_u128(11));
/// A session that does not exist.
pub const UNKNOWN: SessionId = SessionId(Uuid::from_u128(9));

/// Keeps entries, and answers about sessions with what it was asked.
#[derive(Default)]
pub struct Ledger {
    entries: Mutex<Vec<Entry>>,
    broken: AtomicBool,
    disk: Mutex<Duration>,
}

impl Ledger {
    /// From now on nothing can be written, or again.
    pub fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// From now on the disk takes this long.
    pub fn slow_down(&self, disk: Duration) {
        *self.disk.lock().unwrap() = disk;
    }

    /// Who was not let in, oldest first.
    pub fn refusals(&self) -> Vec<Refused> {
        let refused = |entry: &Entry| match &entry.event {
            Event::Refused(refused) => Some(refused.clone()),
            _ => None,
        };
        self.entries.lock().unwrap().iter().filter_map(refused).collect()
    }

    fn state(&self) -> Result<(), RecordError> {
        if self.broken.load(Ordering::SeqCst) { Err(RecordError("the disk is full".to_owned())) } else { Ok(()) }
    }

    /// Every approval, newest first.
    fn approvals(&self) -> Vec<Approval> {
        let mut all: Vec<Approval> = Vec::new();
        for entry in self.entries.lock().unwrap().iter() {
            let ours = all.iter_mut().filter(|approval| approval.session == entry.session);
            ours.for_each(|approval| approval.note(&entry.event, entry.at));
            if let Event::Held(approval) = &entry.event {
                all.push(approval.as_ref().clone());
            }
        }
        all.sort_by_key(|approval| std::cmp::Reverse(approval.id));
        all
    }
}

impl Recorder for Ledger {
    fn append(&self, entry: Entry) -> Appended<'_> {
        Appended::Later(Box::pin(async move {
            self.state()?;
            self.entries.lock().unwrap().push(entry);
            Ok(())
        }))
    }

    fn flush(&self) -> RecordFuture<'_> {
        Box::pin(async move {
            let disk = *self.disk.lock().unwrap();
            tokio::time::sleep(disk).await;
            self.state()
        })
    }
}

impl ApprovalReader for Ledger {
    fn list_approvals(&self, filter: &ApprovalFilter) -> Result<ApprovalPage, ReadError> {
        let wanted = |a: &Approval| filter.before.is_none_or(|before| a.id < before) && filter.wants(a);
        let mut items: Vec<_> = self.approvals().into_iter().filter(wanted).collect();
        let more = items.len() > filter.limit;
        items.truncate(filter.limit);
        let next = items.last().map(|a| a.id).filter(|_| more);
        Ok(ApprovalPage { items, next })
    }

    fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, ReadError> {
        Ok(self.approvals().into_iter().find(|approval| approval.id == id))
    }
}

impl SessionReader for Ledger {
    fn list(&self, filter: &SessionFilter) -> Result<SessionPage, ReadError> {
        let mut summary = SessionSummary::new(KNOWN, filter.since.unwrap_or(1));
        summary.user = filter.user.clone().unwrap_or_default();
        summary.target = filter.target.clone().unwrap_or_default();
        summary.rows = filter.limit as u64;
        summary.closed_at = filter.until;
        summary.named = filter.table.clone().into_iter().collect();
        summary.ended = filter.verdict.map(|verdict| format!("{verdict:?}"));
        Ok(SessionPage { items: vec![summary], next: filter.before })
    }

    fn summary(&self, session: SessionId) -> Result<Option<SessionSummary>, ReadError> {
        if session == BROKEN {
            return Err(ReadError("a block does not decompress".to_owned()));
        }
        Ok((session == KNOWN).then(|| SessionSummary::new(session, 1)))
    }

    fn removed(&self, session: SessionId) -> Result<Option<i64>, ReadError> {
        Ok((session == REMOVED).then_some(1_795_000_000_000))
    }

    fn entries(&self, session: SessionId, from: u64) -> Result<EntryPage, ReadError> {
        let event = Event::Closed(Closed { commands: from, reason: "the client left".to_owned() });
        let entry = KeptEntry { number: from, hash: "00".repeat(32), entry: Entry { session, at: 5, event } };
        Ok(EntryPage { entries: vec![entry], next: Some(from + 1) })
    }

    fn export(&self, session: SessionId, from: u64) -> Result<ExportPage, ReadError> {
        match (session, from) {
            (TORN, 2) => Err(ReadError("a block does not decompress".to_owned())),
            (KNOWN | TORN, 0..=2) => {
                let lines = vec![format!("{{\"line\":{}}}", 2 * from), format!("{{\"line\":{}}}", 2 * from + 1)];
                Ok(ExportPage { lines, next: (from < 2).then_some(from + 1) })
            }
            _ => Ok(ExportPage { lines: Vec::new(), next: None }),
        }
    }

    fn public_key(&self) -> String {
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n".to_owned()
    }
}
