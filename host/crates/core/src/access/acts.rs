//! What people do about access, in the record: each act is a session of its own of the protocol `access`, so that it is
//! listed, exported and proven as all others are.

use uuid::Uuid;

use super::Access;
use crate::{
    admission::SessionId,
    denial::Denial,
    identity::{Identity, Proven},
    record::{self, Closed, CommandEntry, Entry, Event, Opened, Outcome, RecordError},
};

/// The protocol that acts are recorded under.
pub(super) const PROTOCOL: &str = "access";

/// Something that somebody does.
pub(super) struct Act<'a> {
    pub identity: &'a Identity,
    /// Where they are.
    pub client: &'a str,
    pub target: &'a str,
    pub verb: &'static str,
    /// What, in words.
    pub text: &'a str,
}

impl Access {
    /// Records an act that needs nobody's approval; it is on disk when this returns.
    pub(super) async fn record(&self, act: &Act<'_>) -> Result<(), RecordError> {
        let session = self.begin(act).await?;
        self.conclude(session, "done", None).await
    }

    /// Records that an act is about to be done.
    pub(super) async fn begin(&self, act: &Act<'_>) -> Result<SessionId, RecordError> {
        let session = SessionId(Uuid::now_v7());
        let proven = Proven::from(act.identity.clone());
        let opened = Opened {
            target: act.target.to_owned(),
            protocol: PROTOCOL.to_owned(),
            client: act.client.to_owned(),
            ..Opened::of(&proven)
        };
        let command = CommandEntry {
            sequence: 1,
            verb: act.verb.to_owned(),
            text: act.text.to_owned(),
            cut: false,
            resources: Vec::new(),
            parameters: 0,
            values: Vec::new(),
            denial: None,
            approval: None,
            opinions: Vec::new(),
        };
        for event in [Event::Opened(opened), Event::Command(command)] {
            self.append(session, event).await?;
        }
        Ok(session)
    }

    /// Records what came of it; on disk when this returns.
    pub(super) async fn conclude(
        &self,
        session: SessionId,
        status: &str,
        denial: Option<Denial>,
    ) -> Result<(), RecordError> {
        let failed = denial.is_some();
        let outcome = Outcome { sequence: 1, status: status.to_owned(), failed, denial, ..Outcome::default() };
        let closed = Closed { commands: 1, reason: status.to_owned() };
        for event in [Event::Outcome(outcome), Event::Closed(closed)] {
            self.append(session, event).await?;
        }
        self.parts.recorder.flush().await
    }

    async fn append(&self, session: SessionId, event: Event) -> Result<(), RecordError> {
        self.parts.recorder.append(Entry { session, at: record::now(), event }).await
    }
}
