//! Reading the record back: what listings of sessions and approvals show, and the ports behind which
//! the store answers. Every answer is a page, so that neither a long history nor a long session has to fit
//! in memory.

use serde::{Deserialize, Serialize};

use utoipa::ToSchema;

use crate::{
    admission::SessionId,
    approval::{Approval, ApprovalId, ApprovalState},
    denial::DenialKind,
    record::{Entry, Event},
};

/// One session in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Why it ended; none while it is open. `interrupted` where the gateway did not live to see it.
    pub ended: Option<String>,
    /// Why it was not let in; none where it was.
    pub refused: Option<String>,
    /// Commands decided, denied ones included.
    pub commands: u64,
    /// Commands and results that were denied; not those that their own client gave up.
    pub denied: u64,
    /// Commands that waited for an approval.
    pub held: u64,
    /// Rows that reached the client.
    pub rows: u64,
    /// Values masked.
    pub masked: u64,
    /// The relations and other resources that commands named, each once, at most [`MAX_NAMED`].
    pub named: Vec<String>,
    /// Whether there were more.
    pub named_cut: bool,
    /// How many entries the record has of it.
    pub entries: u64,
}

/// The most resources that a summary lists.
pub const MAX_NAMED: usize = 128;

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
            ended: None,
            named: Vec::new(),
            named_cut: false,
            entries: 0,
        }
    }

    /// Takes in the session's next entry.
    pub fn note(&mut self, entry: &Entry) {
        self.entries += 1;
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
                self.ended = Some("refused".to_owned());
                self.refused = Some(refused.reason.clone());
            }
            Event::Command(command) => {
                self.commands += 1;
                self.denied += u64::from(command.denial.is_some());
                for name in &command.resources {
                    match self.named.len() {
                        _ if self.named.contains(name) => {}
                        MAX_NAMED.. => self.named_cut = true,
                        _ => self.named.push(name.clone()),
                    }
                }
            }
            Event::Outcome(outcome) => {
                // Who cancels or goes away refuses nothing.
                let denied = outcome.denial.as_ref().is_some_and(|denial| denial.kind != DenialKind::Cancelled);
                self.denied += u64::from(denied);
                self.rows = self.rows.saturating_add(outcome.rows);
                self.masked = self.masked.saturating_add(outcome.masked);
            }
            Event::Held(_) => self.held += 1,
            Event::Governed(_) | Event::Answered(_) | Event::HoldEnded(_) => {}
            Event::Closed(closed) => {
                self.closed_at = Some(entry.at);
                self.ended = Some(closed.reason.clone());
            }
        }
    }
}

/// What came of a session's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionVerdict {
    /// The session itself was not let in.
    Refused,
    /// A command or a result was denied.
    Denied,
    /// A command waited for an approval.
    Held,
    /// A value was masked.
    Masked,
    /// None of these.
    Allowed,
}

impl SessionVerdict {
    /// Every verdict, the gravest first.
    pub const ALL: [Self; 5] = [Self::Refused, Self::Denied, Self::Held, Self::Masked, Self::Allowed];

    /// Its word in the API and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Held => "held",
            Self::Masked => "masked",
            Self::Allowed => "allowed",
        }
    }
}

impl SessionSummary {
    /// Whether this came of it.
    pub fn has(&self, verdict: SessionVerdict) -> bool {
        match verdict {
            SessionVerdict::Refused => self.refused.is_some(),
            SessionVerdict::Denied => self.denied > 0,
            SessionVerdict::Held => self.held > 0,
            SessionVerdict::Masked => self.masked > 0,
            SessionVerdict::Allowed => self.refused.is_none() && self.denied == 0 && self.held == 0 && self.masked == 0,
        }
    }

    /// Whether a command named this relation: `schema.name`, or the name alone. A summary that lists
    /// only some of them may have named any.
    pub fn may_name(&self, table: &str) -> bool {
        let is = |name: &String| name == table || name.rsplit_once('.').is_some_and(|(_, name)| name == table);
        self.named_cut || self.named.iter().any(is)
    }
}

/// Which sessions to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only this user's.
    pub user: Option<String>,
    /// Only those to this target.
    pub target: Option<String>,
    /// Only those of which this came.
    pub verdict: Option<SessionVerdict>,
    /// Only those that may have named this table.
    pub table: Option<String>,
    /// Only those that opened at this time or later, in milliseconds since the Unix epoch.
    pub since: Option<i64>,
    /// Only those that opened before this time, in milliseconds since the Unix epoch.
    pub until: Option<i64>,
    /// Only those older than this one: the `next` of the page before.
    pub before: Option<SessionId>,
    /// How many at most.
    pub limit: usize,
}

impl SessionFilter {
    /// Whether it asks for this session; the page, that is `before` and `limit`, aside.
    pub fn wants(&self, session: &SessionSummary) -> bool {
        is_named(self.user.as_ref(), &session.user)
            && is_named(self.target.as_ref(), &session.target)
            && self.verdict.is_none_or(|verdict| session.has(verdict))
            && self.table.as_ref().is_none_or(|table| session.may_name(table))
            && self.since.is_none_or(|since| session.opened_at >= since)
            && self.until.is_none_or(|until| session.opened_at < until)
    }
}

fn is_named(wanted: Option<&String>, name: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == name)
}

/// Some sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionPage {
    /// The sessions. There may be fewer than asked for, even none, while `next` says that older
    /// ones are still to be looked through.
    pub items: Vec<SessionSummary>,
    /// The `before` of the next page; none at the end.
    pub next: Option<SessionId>,
}

/// One entry as the record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptEntry {
    /// Its place in the session, from 0.
    pub number: u64,
    /// The chain's hash up to and with it: SHA-256, in hexadecimal.
    pub hash: String,
    /// The entry; in JSON its fields stand beside these.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Some entries of one session, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<KeptEntry>,
    /// The number with which the next page begins; none at the end.
    pub next: Option<u64>,
}

/// Some lines of a session's export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPage {
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// Where the next page begins; none at the end.
    pub next: Option<u64>,
}

/// Which approvals to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// Only those that stand so.
    pub state: Option<ApprovalState>,
    /// Only this requester's.
    pub requester: Option<String>,
    /// Only those for this target.
    pub target: Option<String>,
    /// Only those older than this one: the `next` of the page before.
    pub before: Option<ApprovalId>,
    /// How many at most.
    pub limit: usize,
}

impl ApprovalFilter {
    /// Whether it asks for this approval; the page, that is `before` and `limit`, aside.
    pub fn wants(&self, approval: &Approval) -> bool {
        self.state.is_none_or(|state| state == approval.state)
            && is_named(self.requester.as_ref(), &approval.requester)
            && is_named(self.target.as_ref(), &approval.target)
    }
}

/// Some approvals, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalPage {
    /// The approvals. There may be fewer than asked for while `next` says that there are older ones.
    pub items: Vec<Approval>,
    /// The `before` of the next page; none at the end.
    pub next: Option<ApprovalId>,
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
    /// When retention removed the session, in milliseconds since the Unix epoch; none where it did not.
    fn removed(&self, session: SessionId) -> Result<Option<i64>, ReadError>;
    /// The session's entries from this number on; empty if there is no such session.
    fn entries(&self, session: SessionId, from: u64) -> Result<EntryPage, ReadError>;
    /// The session's export with its proof, from a page's `next` on, or from 0. Empty if there is no
    /// such session.
    fn export(&self, session: SessionId, from: u64) -> Result<ExportPage, ReadError>;
    /// The public key with which exports are verified, as PEM.
    fn public_key(&self) -> String;
}

/// Reads ended and pending approvals back from the record. Calls block on the disk.
pub trait ApprovalReader: Send + Sync {
    /// Lists approvals.
    fn list_approvals(&self, filter: &ApprovalFilter) -> Result<ApprovalPage, ReadError>;
    /// One approval; none if there is no such approval.
    fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, ReadError>;
}
