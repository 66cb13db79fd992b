//! A permitted command: the permit itself, and its flight, which decides about results and records
//! the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sluicegate_metrics::Finished;

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

    /// The target is asked about the command before that is forwarded: its time is not the gate's.
    pub fn asks_first(&mut self) {
        self.flight.is_sent(Instant::now());
    }

    /// Gives the permit up: the command is not forwarded after all, and what is recorded of its end
    /// says why.
    pub fn give_up(self) -> InFlight {
        self.flight
    }

    /// Spends the permit. Called where the command's bytes are handed to the upstream connection.
    pub fn redeem(mut self) -> InFlight {
        let now = Instant::now();
        self.flight.forwarded = Some((record::now(), now));
        self.flight.is_sent(now);
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
    /// When the gate took it up; none once that was measured.
    begun: Option<Instant>,
    /// When it was forwarded, by the calendar and by the clock.
    forwarded: Option<(i64, Instant)>,
    /// How long it took since then to decide about results.
    deciding: Duration,
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
        let (denial, opinions, begun, forwarded, deciding) = (None, Vec::new(), None, None, Duration::ZERO);
        Self { log, flight, sequence, recorded, denial, opinions, begun, forwarded, deciding }
    }

    /// The same for a command that the gate took up then.
    pub(super) fn begun(mut self, begun: Option<Instant>) -> Self {
        self.begun = begun;
        self
    }

    fn is_sent(&mut self, now: Instant) {
        if let Some(begun) = self.begun.take() {
            self.log.metrics.forwarded(now.saturating_duration_since(begun), self.recorded);
        }
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
        let began = Instant::now();
        let mut ruling = self.flight.result(schema);
        ruling.plan.harden(&schema.columns);
        self.took(began.elapsed());
        self.note(ruling.opinions);
        match ruling.denial {
            None => Ok(ruling.plan),
            Some(denial) => Err(self.deny(denial)),
        }
    }

    /// Asks the policies about a batch of rows of the last result.
    pub fn rows(&mut self, batch: &Arc<Batch>) -> Result<Vec<CellMask>, Denial> {
        let began = Instant::now();
        let ruling = self.flight.rows(batch);
        self.took(began.elapsed());
        self.note(ruling.opinions);
        match ruling.denial {
            None => Ok(ruling.cells),
            Some(denial) => Err(self.deny(denial)),
        }
    }

    /// Before the command is forwarded, this time is part of that until then.
    fn took(&mut self, time: Duration) {
        if self.begun.is_none() {
            self.log.metrics.result_decided(time);
        }
        if self.forwarded.is_some() {
            self.deciding += time;
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
        let since = self.forwarded.map(|(_, since)| since.elapsed());
        self.count(&summary, since);
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
            micros: since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
            output: summary.output,
        };
        self.log.append(Event::Outcome(outcome)).await?;
        match self.log.recording {
            Recording::Strict => self.log.recorder.flush().await,
            Recording::Ordered => Ok(()),
        }
    }

    fn count(&self, summary: &ResultSummary, since: Option<Duration>) {
        if let Some(denial) = &self.denial {
            self.log.metrics.refused_later(denial.kind.verdict());
        }
        if let Some(since) = since {
            let (rows, masked) = (summary.rows, summary.masked);
            let failed = summary.failed && self.denial.is_none();
            let upstream = since.saturating_sub(self.deciding);
            self.log.metrics.finished(Finished { upstream, rows, masked, failed });
        }
    }
}
