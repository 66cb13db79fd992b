//! Reading the record back: what a listing of sessions shows, and the port behind which the store
//! answers. Every answer is a page, so that neither a long history nor a long session has to fit
//! in memory.

use serde::{Deserialize, Serialize};

use crate::{
    admission::SessionId,
    record::{Entry, Event},
};

/// One session in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// The session.
    pub id: SessionId,
    /// Who; for a session that was refused, the name as claimed.
    pub user: String,
    /// Where to; for a session that was refused, the target as asked for.
    pub target: String,
    /// The protocol.
    pub protocol: String,
    /// The client's address.
    pub client: String,
    /// What the client calls itself; empty for a session that was refused.
    pub application: String,
    /// When it opened or was refused, in milliseconds since the Unix epoch.
    pub opened_at: i64,
    /// When it ended; none while it is open.
    pub closed_at: Option<i64>,
    /// Why it was not let in; none where it was.
    pub refused: Option<String>,
    /// Commands decided, denied ones included.
    pub commands: u64,
    /// Commands and results that were denied.
    pub denied: u64,
    /// Commands that waited for an approval.
    pub held: u64,
    /// Rows that reached the client.
    pub rows: u64,
    /// Values masked.
    pub masked: u64,
}

impl SessionSummary {
    /// A session of which nothing is known yet.
    pub fn new(id: SessionId, opened_at: i64) -> Self {
        Self {
            id,
            user: String::new(),
            target: String::new(),
            protocol: String::new(),
            client: String::new(),
            application: String::new(),
            opened_at,
            closed_at: None,
            refused: None,
            commands: 0,
            denied: 0,
            held: 0,
            rows: 0,
            masked: 0,
        }
    }

    /// Takes in the session's next entry.
    pub fn note(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Opened(opened) => {
                self.user.clone_from(&opened.user);
                self.target.clone_from(&opened.target);
                self.protocol.clone_from(&opened.protocol);
                self.client.clone_from(&opened.client);
                self.application.clone_from(&opened.application);
                self.opened_at = entry.at;
            }
            Event::Refused(refused) => {
                self.user.clone_from(&refused.user);
                self.target.clone_from(&refused.target);
                self.protocol.clone_from(&refused.protocol);
                self.client.clone_from(&refused.client);
                self.opened_at = entry.at;
                self.closed_at = Some(entry.at);
                self.refused = Some(refused.reason.clone());
            }
            Event::Command(command) => {
                self.commands += 1;
                self.denied += u64::from(command.denial.is_some());
            }
            Event::Outcome(outcome) => {
                self.denied += u64::from(outcome.denial.is_some());
                self.rows = self.rows.saturating_add(outcome.rows);
                self.masked = self.masked.saturating_add(outcome.masked);
            }
            Event::Held(_) => self.held += 1,
            Event::Governed(_) | Event::Answered(_) | Event::HoldEnded(_) => {}
            Event::Closed(_) => self.closed_at = Some(entry.at),
        }
    }
}

/// Which sessions to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only this user's.
    pub user: Option<String>,
    /// Only those to this target.
    pub target: Option<String>,
    /// Only those older than this one: the `next` of the page before.
    pub before: Option<SessionId>,
    /// How many at most.
    pub limit: usize,
}

/// Some sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPage {
    /// The sessions. There may be fewer than asked for, even none, while `next` says that older
    /// ones are still to be looked through.
    pub items: Vec<SessionSummary>,
    /// The `before` of the next page; none at the end.
    pub next: Option<SessionId>,
}

/// Some entries of one session, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the next page begins; none at the end.
    pub next: Option<u64>,
}

/// The record could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the record cannot be read: {0}")]
pub struct ReadError(pub String);

/// Reads the record, also while it is written. What was appended within the last flush interval
/// may not be seen yet. Calls block on the disk.
pub trait SessionReader: Send + Sync {
    /// Lists sessions.
    fn list(&self, filter: &SessionFilter) -> Result<SessionPage, ReadError>;
    /// One session; none if there is no such session.
    fn summary(&self, session: SessionId) -> Result<Option<SessionSummary>, ReadError>;
    /// The session's entries from a page's `next` on, or from 0; empty if there is no such session.
    fn entries(&self, session: SessionId, from: u64) -> Result<EntryPage, ReadError>;
}
