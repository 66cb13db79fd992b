//! The answers that the server still owes, in the order in which it will give them.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use sluicegate_core::{ForwardPermit, InFlight, sql::Classes};
use sluicegate_sql::{Analysis, Direction, Effect, Outputs, Statement};

use super::{
    Machine,
    objects::{Decided, Portal, Prepared},
    rows::{Rows, Tally},
};
use crate::codec::message::ObjectKind;

/// One answer that is still to come.
pub enum Expect {
    /// To a Query: results until ReadyForQuery.
    Query(Box<Run>),
    /// To a FunctionCall: a value and ReadyForQuery.
    Function(Option<InFlight>),
    /// To a Parse.
    Parse { name: String, prepared: Arc<Prepared>, analysis: Arc<Analysis>, segment: u64 },
    /// To the gate's own Close and Parse, which make sure that a name means what it meant.
    Again,
    /// To a Bind.
    Bind { portal: Box<Portal>, segment: u64 },
    /// To a Describe; the gate's own are not shown to the client.
    Describe { kind: ObjectKind, name: String, own: bool, epoch: u64 },
    /// To an Execute.
    Execute(Box<Run>),
    /// To a Close.
    Close { kind: ObjectKind, name: String, segment: u64 },
    /// To a Sync, or to the gate's own.
    Sync { own: bool },
    /// To a message that was replaced because of a denial: an error, in whose place the client gets
    /// this one; then ReadyForQuery if it stood for a Query.
    Denied { error: Option<Bytes>, query: bool },
    /// To the gate's own description of a Query that waits.
    Probe,
    /// To the gate's own questions.
    Ask {
        /// Twice the question that is answered next, plus what of it is answered.
        index: usize,
        /// What it is when all are answered.
        end: usize,
    },
}

/// A Query or an Execute that runs.
pub struct Run {
    /// What it does.
    pub analysis: Arc<Analysis>,
    /// Its text, as the client sent it.
    pub text: Arc<str>,
    /// The catalog's generation in which it was analysed.
    pub generation: u64,
    /// The permit's other half.
    pub flight: Option<InFlight>,
    /// Which statement of the text runs.
    pub statement: usize,
    /// What happens to the rows of the result that flows.
    pub rows: Option<Rows>,
    /// What was decided on about the result that flows.
    pub decided: Option<Decided>,
    /// The result that flows is known to be what was decided on.
    pub confirmed: bool,
    /// Rows of COPY that were decided before it was forwarded, by statement.
    pub copies: Vec<(usize, Rows)>,
    /// What has reached the client.
    pub tally: Tally,
    /// A completion that the client may see once it is recorded.
    pub completion: Option<Bytes>,
    /// How it ended, in the target's words.
    pub status: String,
    /// The target reported an error.
    pub failed: bool,
    /// The rest was refused; the client gets this error.
    pub refused: Option<Bytes>,
    /// The portal of an Execute.
    pub portal: String,
    /// Whether more is decided only after it ended.
    pub blocks: bool,
}

/// A Query that may be forwarded.
pub struct Permitted {
    /// What will run.
    pub run: Run,
    /// The leave to forward it.
    pub permit: ForwardPermit,
}

impl Run {
    /// Whether it may leave traces at the server.
    pub fn writes(&self) -> bool {
        let writes = Classes::DML | Classes::DDL | Classes::ADMIN | Classes::OPAQUE | Classes::UNANALYSABLE;
        self.analysis.facts.classes.intersects(writes)
    }

    /// A run that is about to be forwarded.
    pub fn new(analysis: Arc<Analysis>, text: Arc<str>, generation: u64, blocks: bool) -> Self {
        Self {
            analysis,
            text,
            generation,
            flight: None,
            statement: 0,
            rows: None,
            decided: None,
            confirmed: false,
            copies: Vec::new(),
            tally: Tally::default(),
            completion: None,
            status: String::new(),
            failed: false,
            refused: None,
            portal: String::new(),
            blocks,
        }
    }
}

impl Run {
    /// Whether any policy is asked about its results.
    pub fn sees_results(&self) -> bool {
        self.flight.as_ref().is_some_and(InFlight::sees_results)
    }
}

impl Expect {
    /// The answers to these of the gate's questions.
    pub fn ask(questions: Range<usize>) -> Self {
        // Each question ends with the Close of its portal and of its statement.
        Self::Ask { index: questions.start * 2, end: questions.end * 2 }
    }

    /// Whether nothing more may be decided until this answer came.
    pub fn blocks(&self) -> bool {
        match self {
            Self::Query(run) | Self::Execute(run) => run.blocks,
            Self::Ask { .. } | Self::Probe => true,
            Self::Describe { own, .. } => *own,
            _ => false,
        }
    }

    /// The text that the client sent, which the server may quote in its errors.
    pub fn text(&self) -> &str {
        match self {
            Self::Query(run) | Self::Execute(run) => &run.text,
            Self::Parse { prepared, .. } => &prepared.text,
            Self::Bind { portal, .. } => &portal.prepared.text,
            _ => "",
        }
    }

    /// The command that it belongs to, if its end is not recorded yet, and what reached the client.
    pub fn into_flight(self) -> Option<(InFlight, Tally)> {
        let (flight, tally) = match self {
            Self::Query(run) | Self::Execute(run) => (run.flight, run.tally),
            Self::Function(flight) => (flight, Tally::default()),
            Self::Bind { portal, .. } => (portal.flight, portal.tally),
            _ => (None, Tally::default()),
        };
        flight.map(|flight| (flight, tally))
    }
}

impl Machine {
    /// The server will answer so.
    pub(super) fn expect(&mut self, expect: Expect) {
        self.blocking += usize::from(expect.blocks());
        self.flushed = false;
        self.waiting.push_back(expect);
    }

    /// The next answer has come.
    pub(super) fn answered(&mut self) -> Option<Expect> {
        let expect = self.waiting.pop_front();
        self.blocking -= usize::from(expect.as_ref().is_some_and(Expect::blocks));
        expect
    }
}

/// Whether what a statement does must be known before the next text is read: it makes or drops
/// names, may change settings, or takes COPY data in place of messages.
pub fn blocks(statement: &Statement, settings_changed: bool) -> bool {
    match statement.effect {
        Effect::None => {
            let copies_in = statement.copy.as_ref().is_some_and(|copy| copy.direction == Direction::In);
            statement.settings_may_change || statement.names_may_change || copies_in
        }
        Effect::EndTransaction => settings_changed,
        _ => true,
    }
}

/// Whether rows may come of it.
pub fn has_rows(analysis: &Analysis) -> bool {
    analysis.statements.is_empty() || analysis.statements.iter().any(|s| s.outputs != Outputs::None)
}
