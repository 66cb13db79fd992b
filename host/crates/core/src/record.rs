//! The port behind which sessions are recorded, and what is recorded. An entry never holds a secret
//! of the gateway's, a value or a literal that a mask could have hidden from somebody; nor those of
//! statements that are made to carry a password.

use std::{future::Future, pin::Pin, task::Poll};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::TicketId,
    admission::SessionId,
    approval::{Answer, Approval, ApprovalId, ApprovalState},
    denial::Denial,
    identity::{Identity, Kind, Proven},
    policy::Opinion,
};

/// The most bytes of a command's text that are kept.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// When a client may see a command's completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Recording {
    /// Once its entry is in order; a crash may lose the last flush interval.
    #[default]
    Ordered,
    /// Once its entry is on disk.
    Strict,
}

/// One entry of a session's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// The session.
    pub session: SessionId,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Somebody was let in.
    Opened(Opened),
    /// Somebody was not let in.
    Refused(Refused),
    /// Other policies, or other versions of them, govern the session from here on.
    Governed(Governed),
    /// A command was decided; on disk or in order before its bytes go on.
    Command(CommandEntry),
    /// The command waits for people.
    Held(Box<Approval>),
    /// An approver answered; on disk before the answer counts.
    Answered(Answered),
    /// The command waits no longer.
    HoldEnded(HoldEnded),
    /// A command's results ended.
    Outcome(Outcome),
    /// The session ended.
    Closed(Closed),
}

/// Somebody was let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Opened {
    /// The authenticated name.
    pub user: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// What it is.
    #[serde(default)]
    pub kind: Kind,
    /// The person who answers for a service or an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The agent that acts for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The roles that it has on the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The ticket that opened the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketId>,
    /// The target's name.
    pub target: String,
    /// The protocol.
    pub protocol: String,
    /// The client's address.
    pub client: String,
    /// How the identity was proven: `secret` for a built-in user's. Empty in older records.
    #[serde(default)]
    pub authentication: String,
    /// What the client calls itself.
    pub application: String,
    /// The modules that govern it, as `(module, digest)`.
    pub policies: Vec<(String, String)>,
    /// What the policies said about the opening.
    pub opinions: Vec<Opinion>,
}

impl Opened {
    /// What is to be said of who it is; nothing yet of where to.
    pub(crate) fn of(proven: &Proven) -> Self {
        let Identity { user, groups, kind, owner, actor, .. } = proven.identity.clone();
        let (ticket, authentication) = (proven.basis.ticket, proven.authentication());
        Self { user, groups, kind, owner, actor, ticket, authentication, ..Self::default() }
    }
}

/// Other policies, or other versions of them, govern the session from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Governed {
    /// The modules, as `(module, digest)`.
    pub policies: Vec<(String, String)>,
}

/// Somebody was not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// The name as claimed, cut to 128 bytes.
    pub user: String,
    /// The target as asked for, cut to 128 bytes.
    pub target: String,
    /// The protocol.
    pub protocol: String,
    /// The client's address.
    pub client: String,
    /// Why, in full: the client was told less.
    pub reason: String,
    /// What the policies said, where they were asked.
    pub opinions: Vec<Opinion>,
}

/// A command was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandEntry {
    /// Its number in the session.
    pub sequence: u64,
    /// What the protocol does with it.
    pub verb: String,
    /// Its text, with literals replaced where a mask could have hidden them, cut to
    /// [`MAX_TEXT_BYTES`].
    pub text: String,
    /// Whether the text was cut.
    pub cut: bool,
    /// What it names.
    pub resources: Vec<String>,
    /// How many parameters were bound.
    pub parameters: u32,
    /// Their values, where no mask could have hidden them, each cut to 1 KiB.
    pub values: Vec<Option<String>>,
    /// Why it was refused; none where it was allowed or has to wait.
    pub denial: Option<Denial>,
    /// The earlier approval that covers it, where one does.
    pub approval: Option<ApprovalId>,
    /// What the policies said.
    pub opinions: Vec<Opinion>,
}

/// A command's results ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The command's number.
    pub sequence: u64,
    /// Rows that reached the client.
    pub rows: u64,
    /// Bytes of rows that reached the client.
    pub bytes: u64,
    /// Values masked, or columns masked natively times rows.
    pub masked: u64,
    /// The target's own word on how it ended, such as `SELECT 3`, or its error's code.
    pub status: String,
    /// Whether the target reported an error.
    pub failed: bool,
    /// Why the result was refused; none where it was not.
    pub denial: Option<Denial>,
    /// What the policies said about the result.
    pub opinions: Vec<Opinion>,
    /// When its bytes were handed to the target's connection, in milliseconds since the Unix epoch;
    /// none where they never were.
    pub forwarded_at: Option<i64>,
    /// How long it took from then to the end, in microseconds.
    #[serde(default)]
    pub micros: u64,
    /// What the client got, one for each result, within the configured size.
    #[serde(default)]
    pub output: Vec<Output>,
}

/// An approver answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answered {
    /// The approval.
    pub approval: ApprovalId,
    /// The held command's number.
    pub sequence: u64,
    /// The answer.
    pub answer: Answer,
}

/// A command waits no longer. Whether it then ran, its outcome says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldEnded {
    /// The approval.
    pub approval: ApprovalId,
    /// The held command's number.
    pub sequence: u64,
    /// How it ended.
    pub state: ApprovalState,
    /// Why, in a few words.
    pub reason: String,
}

/// The first rows of a command's results, as the client got them; columns that the client sees by
/// an exception are redacted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Output {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows' values as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there were more rows than are kept, or values were shortened.
    pub cut: bool,
}

/// The session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Closed {
    /// Commands decided, denied ones included.
    pub commands: u64,
    /// Why it ended.
    pub reason: String,
}

/// The record could not be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the record cannot be written: {0}")]
pub struct RecordError(pub String);

/// A future of the recorder.
pub type RecordFuture<'a> = Pin<Box<dyn Future<Output = Result<(), RecordError>> + Send + 'a>>;

/// An entry on its way into the record. Most often it is there at once, and nothing waits.
pub enum Appended<'a> {
    /// It was taken, or never will be.
    Now(Result<(), RecordError>),
    /// It waits for room.
    Later(RecordFuture<'a>),
}

impl Future for Appended<'_> {
    type Output = Result<(), RecordError>;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(result) => Poll::Ready(result.clone()),
            Self::Later(waiting) => waiting.as_mut().poll(context),
        }
    }
}

/// Keeps the record. Implemented by the recorder crate.
pub trait Recorder: Send + Sync {
    /// Takes an entry, in order. Waits while the queue is full. Not cancel-safe: an entry whose
    /// future is dropped may or may not be kept.
    fn append(&self, entry: Entry) -> Appended<'_>;
    /// Waits until every entry appended so far is on disk. Cancel-safe.
    fn flush(&self) -> RecordFuture<'_>;
}

/// Cuts text to at most `limit` bytes on a character boundary, and says whether it did.
pub fn cut(text: &str, limit: usize) -> (String, bool) {
    if text.len() <= limit {
        return (text.to_owned(), false);
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text.get(..end).unwrap_or_default().to_owned(), true)
}

/// Whether a character does something to the text around it: control characters, line and paragraph
/// separators, and those that turn the direction of writing.
pub fn rearranges(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Now, in milliseconds since the Unix epoch.
pub fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
