//! A permitted command: the permit itself, and its flight, which decides about results and records
//! the end.

use std::{sync::Arc, time::Instant};

use super::SessionLog;
use crate::{
    denial::Denial,
    policy::{Flight, Opinion},
    record::{self, Event, Outcome, Output, RecordError, Recording},
    result::{Batch, ResultSchema},
    verdict::{CellMask, MaskPlan},
};

/// Leave to forward exactly one decided command. There is no other way to make one than
/// [`GatedSession::decide`](super::GatedSession::decide).
pub struct ForwardPermit {
    pub(super) flight: InFlight,
}

impl ForwardPermit {
    /// Whether any policy is asked about results: then their columns must be known.
    pub fn sees_results(&self) -> bool {
        self.flight.sees_results()
    }

    /// The command's flight, to decide about results before they flow.
    pub fn flight(&mut self) -> &mut InFlight {
        &mut self.flight
    }

    /// Gives the permit up: the command is not forwarded after all, and what is recorded of its end
    /// says why.
    pub fn give_up(self) -> InFlight {
        self.flight
    }

    /// Spends the permit. Called where the command's bytes are handed to the upstream connection.
    pub fn redeem(mut self) -> InFlight {
        self.flight.forwarded = Some((record::now(), Instant::now()));
        self.flight
    }
}

/// A forwarded command whose results are still to come.
pub struct InFlight {
    log: SessionLog,
    flight: Box<dyn Flight>,
    sequence: u64,
    recorded: bool,
    denial: Option<Denial>,
    opinions: Vec<Opinion>,
    /// When it was forwarded, by the calendar and by the clock.
    forwarded: Option<(i64, Instant)>,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSummary {
    /// Rows that reached the client.
    pub rows: u64,
    /// Bytes of rows that reached the client.
    pub bytes: u64,
    /// Values masked.
    pub masked: u64,
    /// The target's word on the end, or its error's code.
    pub status: String,
    /// Whether the target reported an error.
    pub failed: bool,
    /// The first rows of each result, as the client got them, within [`InFlight::max_output`].
    pub output: Vec<Output>,
}

impl InFlight {
    pub(super) fn new(log: SessionLog, flight: Box<dyn Flight>, sequence: u64, recorded: bool) -> Self {
        Self { log, flight, sequence, recorded, denial: None, opinions: Vec::new(), forwarded: None }
    }

    /// How many bytes of the results that reach the client the record keeps; 0 where it keeps none.
    pub fn max_output(&self) -> usize {
        if self.recorded { self.log.max_output } else { 0 }
    }

    /// Whether any policy is asked about results: then their columns must be known.
    pub fn sees_results(&self) -> bool {
        self.flight.sees_results()
    }

    /// Asks the policies about a result that is about to flow.
    pub fn result(&mut self, schema: &Arc<ResultSchema>) -> Result<MaskPlan, Denial> {
        let mut ruling = self.flight.result(schema);
        ruling.plan.harden(&schema.columns);
        self.note(ruling.opinions);
        match ruling.denial {
            None => Ok(ruling.plan),
            Some(denial) => Err(self.deny(denial)),
        }
    }

    /// Asks the policies about a batch of rows of the last result.
    pub fn rows(&mut self, batch: &Arc<Batch>) -> Result<Vec<CellMask>, Denial> {
        let ruling = self.flight.rows(batch);
        self.note(ruling.opinions);
        match ruling.denial {
            None => Ok(ruling.cells),
            Some(denial) => Err(self.deny(denial)),
        }
    }

    fn note(&mut self, opinions: Vec<Opinion>) {
        for opinion in opinions {
            opinion.note(&mut self.opinions);
        }
    }

    /// Notes that the rest of the result was refused; `finish` records it. The first one counts.
    pub fn deny(&mut self, denial: Denial) -> Denial {
        self.denial.get_or_insert(denial).clone()
    }

    /// Records the end. In strict recording it returns once that is on disk; the client must not
    /// see the command's completion before, nor when it fails. Not cancel-safe.
    pub async fn finish(self, summary: ResultSummary) -> Result<(), RecordError> {
        if !self.recorded {
            return Ok(());
        }
        let outcome = Outcome {
            sequence: self.sequence,
            rows: summary.rows,
            bytes: summary.bytes,
            masked: summary.masked,
            status: summary.status,
            failed: summary.failed,
            denial: self.denial,
            opinions: self.opinions,
            forwarded_at: self.forwarded.map(|(at, _)| at),
            micros: self
                .forwarded
                .map_or(0, |(_, since)| u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)),
            output: summary.output,
        };
        self.log.append(Event::Outcome(outcome)).await?;
        match self.log.recording {
            Recording::Strict => self.log.recorder.flush().await,
            Recording::Ordered => Ok(()),
        }
    }
}
