//! The machine of one session: frontend messages become commands for the gate, backend messages
//! become results. It does no socket I/O; what is to be written it puts into an [`Outbox`]. Besides
//! its input it waits only for the gate's decision, the record and the catalog.
//!
//! It follows three rules. Nothing that runs is forwarded without a permit. Names are only believed
//! once the server has confirmed them: a message that depends on an answer that is still to come is
//! held until it came. And a refusal happens in the server too, so that its idea of the transaction
//! and the client's are always the same.

mod client;
mod commands;
mod copies;
mod copy_rows;
mod describe;
mod echo;
mod endings;
mod expect;
mod extended;
mod function_call;
mod hold;
mod lookup;
mod masks;
mod notices;
mod objects;
mod outbox;
mod output;
mod probe;
mod reading;
mod results;
mod rows;
mod server;
mod settings;
mod surroundings;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use sluicegate_core::{Command, ForwardPermit, GatedSession, Halt, access::Standing};
use sluicegate_metrics::TargetMetrics;
use sluicegate_sql::Analyser;

pub use self::outbox::{Outbox, Queue};
use self::{
    expect::Expect,
    hold::Holding,
    objects::{Objects, Portal, Recent},
    probe::Probe,
    reading::Pending,
    rows::Tally,
    settings::Settings,
    surroundings::Surroundings,
};
use crate::{
    catalog::{CatalogCache, Known},
    codec::{frame::Frame, mask::HashKey, message::MessageError},
    config::HoldInTransaction,
    interrupt::Interrupt,
    upstream::{Parameters, Reading, names_session},
};

/// The most statements, portals and cursors that a session may keep.
const MAX_OBJECTS: usize = 10_000;
/// The most bytes that their texts may have together.
const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;
/// The most answers that a session may wait for before its client is read again.
const MAX_WAITING: usize = 4096;

/// What the sessions of one target share.
pub struct Shared {
    /// Finds the facts.
    pub analyser: Arc<Analyser>,
    /// The target's catalog.
    pub catalogs: Arc<CatalogCache>,
    /// The deployment's key for hashed values.
    pub hash_key: Arc<HashKey>,
    /// Whether commands wait for people inside a transaction.
    pub hold_in_transaction: HoldInTransaction,
    /// What is dialled, in words: an approval is for that alone.
    pub dialled: Arc<str>,
    /// How many sessions have changed the catalog and not yet committed. While there are some, the
    /// catalog is checked before each use, so that nothing is decided by what a commit has just ended.
    pub uncommitted: AtomicUsize,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The client does not follow the protocol.
    #[error("the client broke the protocol: {0}")]
    Client(MessageError),
    /// A message of a type that clients do not send now.
    #[error("the client sent a message of type {0:?}, which has no place here")]
    ClientTag(char),
    /// The server does not follow the protocol.
    #[error("the target broke the protocol: {0}")]
    Server(MessageError),
    /// A message of a type that servers do not send now.
    #[error("the target sent a message of type {0:?}, which has no place here")]
    ServerTag(char),
    /// A message that must be read whole is too large for that.
    #[error("the target sent a message of type {0:?} that is too large to be read")]
    Large(char),
    /// What a statement's names mean changed while it ran, and what was sent after it ran too.
    #[error("what a statement's names mean changed while it was under way; connect again")]
    Moved,
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] sluicegate_core::record::RecordError),
}

/// What becomes of the rest of a large message whose head was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Forward,
    Drop,
}

/// The server's transaction status, as its last ReadyForQuery said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Idle,
    Transaction,
    Failed,
}

/// The machine of one session.
pub struct Machine {
    gate: GatedSession,
    shared: Arc<Shared>,
    settings: Settings,
    objects: Objects,
    recent: Recent,
    /// The answers that are still to come, in order.
    waiting: VecDeque<Expect>,
    /// How many of them must have come before more is decided.
    blocking: usize,
    /// Counts Syncs and Queries: what was made in an earlier segment may have failed unseen.
    segment: u64,
    /// Extended messages were forwarded since the last Sync.
    open: bool,
    /// A Flush was sent since the last message that the server answers.
    flushed: bool,
    /// The server ignores everything until the next Sync.
    skipping: bool,
    /// The server takes COPY data.
    copy_in: bool,
    status: Status,
    /// Something was executed since the last Sync.
    ran: bool,
    /// A client's message that waits for an answer from the server, or from people.
    deferred: Option<Frame>,
    /// Why it is people that it waits for.
    holding: Option<Holding>,
    interrupt: Arc<Interrupt>,
    /// A Query that waits until its result is described.
    probing: Option<Probe>,
    client_rest: Rest,
    server_rest: Rest,
    /// The catalog may have changed in a transaction that nobody else can see yet.
    catalog_pending: Option<Pending>,
    /// And functions, operators or casts may be new.
    new_code: bool,
    /// Grows when prepared statements and cursors may be others under the same names.
    names: u64,
    /// Grows when a name may mean another relation than before.
    epoch: u64,
    generation: u64,
    /// The catalog by which texts were read last; none while no policy governs.
    known: Option<Arc<Known>>,
    /// Counts the commands that were permitted.
    permitted: u64,
    /// Code ran that nobody looked into.
    unseen: bool,
    /// The settings that the server reports.
    parameters: Parameters,
    may_mask: bool,
    /// The server has said that it ends the session.
    fatal: bool,
}

impl Machine {
    /// A machine for an admitted session whose server is ready for a query. `parameters` are the
    /// settings that the server reported, `started` those that the client began with. `reading` is there where
    /// the connection may serve several sessions.
    pub fn new(
        gate: GatedSession,
        shared: Arc<Shared>,
        parameters: Parameters,
        started: &[(String, String)],
        reading: Option<&Reading>,
    ) -> Self {
        let id = gate.session().id;
        let mut settings = Settings::new(Surroundings::new(id.to_string(), started));
        for (name, value) in parameters.iter() {
            settings.reported(name, value);
        }
        if let Some(reading) = reading {
            settings = settings.named(names_session(id), reading);
        }
        let may_mask = gate.may_mask();
        Self {
            gate,
            shared,
            settings,
            objects: Objects::default(),
            recent: Recent::default(),
            waiting: VecDeque::new(),
            blocking: 0,
            segment: 0,
            open: false,
            flushed: false,
            skipping: false,
            copy_in: false,
            status: Status::Idle,
            ran: false,
            deferred: None,
            holding: None,
            interrupt: Arc::default(),
            probing: None,
            client_rest: Rest::Forward,
            server_rest: Rest::Forward,
            catalog_pending: None,
            new_code: false,
            names: 0,
            epoch: 0,
            generation: u64::MAX,
            known: None,
            permitted: 0,
            unseen: false,
            parameters,
            may_mask,
            fatal: false,
        }
    }

    /// Whether the session's access still stands.
    pub fn standing(&self) -> Standing {
        self.gate.standing()
    }

    /// What is counted of the session's target.
    pub fn metrics(&self) -> &TargetMetrics {
        self.gate.metrics().target()
    }

    /// Whether nothing is on its way and no transaction is open.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.deferred.is_none() && !self.open && self.status == Status::Idle
    }

    /// Nothing has happened for a while: what the policies hold is given back where nothing is under way. A batch
    /// that the client left open is answered as far as it came, so that it is known whose turn it is.
    pub fn rest(&mut self, out: &mut Outbox) {
        if self.waits_for_client() {
            self.gate.rest();
        } else if !self.copy_in {
            self.flush(out);
        }
    }

    /// Whether it is the client's turn: everything it asked for is answered.
    pub fn waits_for_client(&self) -> bool {
        self.waiting.is_empty() && self.deferred.is_none()
    }

    /// Whether a transaction is open, or a batch that is one.
    pub fn is_in_transaction(&self) -> bool {
        self.status != Status::Idle || self.open
    }

    /// Whether the session may end now without its connection, for as far as is known DISCARD ALL takes away
    /// all that it leaves behind there.
    fn leaves_nothing(&self) -> bool {
        self.settings.can_be_forgotten() && self.is_idle() && !self.copy_in && !self.unseen && !self.fatal
    }

    /// The settings that the server reports, as it reported them last.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether what runs at the server only reads.
    pub fn runs_a_read(&self) -> bool {
        match self.waiting.front() {
            Some(Expect::Query(run) | Expect::Execute(run)) => !run.writes(),
            _ => false,
        }
    }

    /// Whether something runs at the server, or is about to, that may leave traces there.
    pub fn runs_a_write(&self) -> bool {
        self.waiting.iter().any(|expect| match expect {
            Expect::Query(run) | Expect::Execute(run) => run.writes(),
            Expect::Function(_) => true,
            _ => false,
        })
    }

    /// Whether the server has said that it ends the session.
    pub fn heard_fatal(&self) -> bool {
        self.fatal
    }

    /// Where the session's cancel requests go first.
    pub fn interrupt(&self) -> Arc<Interrupt> {
        Arc::clone(&self.interrupt)
    }

    /// Whether a client's message is kept; no other may be handed in until [`Machine::resume`] or
    /// [`Machine::decide_held`] let it go.
    pub fn is_deferring(&self) -> bool {
        self.deferred.is_some()
    }

    /// Takes the kept message up again. Call it after server messages. Not cancel-safe.
    pub async fn resume(&mut self, out: &mut Outbox) -> Result<(), MachineError> {
        if self.holding.is_some() {
            return Box::pin(self.resume_held(out)).await;
        }
        match self.deferred.take() {
            Some(frame) => self.client(frame, out).await,
            None => Ok(()),
        }
    }

    /// Ends the session and records what was still running. Not cancel-safe.
    pub async fn close(&mut self, reason: &str) {
        let waiting = std::mem::take(&mut self.waiting);
        let flights = waiting.into_iter().filter_map(Expect::into_flight);
        let portals = self.objects.close(None).into_iter().filter_map(Portal::into_flight);
        let probing = self.probing.take().map(|probe| (probe.give_up(), Tally::default()));
        for (flight, tally) in flights.chain(portals).chain(probing).collect::<Vec<_>>() {
            if let Err(error) = flight.finish(tally.summary("connection ended".into(), true)).await {
                tracing::error!(%error, "a command's end could not be recorded");
            }
        }
        self.gate.close(reason).await;
    }

    /// Asks the gate. A reload may have brought or taken policies that mask.
    async fn decide(&mut self, command: Command) -> Result<ForwardPermit, Halt> {
        let classes = command.sql.as_ref().map(|sql| sql.classes);
        let decided = self.gate.decide(command).await;
        self.permitted += u64::from(decided.is_ok());
        if matches!(decided, Err(Halt::Suspended)) {
            self.holding.get_or_insert_with(|| Holding::new(classes));
        }
        // What still runs may have been decided by policies that mask.
        self.may_mask = self.gate.may_mask() || self.may_mask && !self.waiting.is_empty();
        decided
    }

    /// Whether so many answers are still to come that no more messages are taken. The server is then
    /// made to give them.
    pub fn is_full(&mut self, out: &mut Outbox) -> bool {
        let full = self.waiting.len() >= MAX_WAITING;
        if full {
            self.flush(out);
        }
        full
    }
}

/// The bytes of a message that is not to be streamed.
fn whole(frame: Frame) -> (u8, Bytes, bool) {
    match frame {
        Frame::Whole { tag, bytes } => (tag, bytes, true),
        Frame::Head { tag, bytes } => (tag, bytes, false),
        Frame::Part { bytes, .. } => (0, bytes, false),
    }
}
