//! The gate's way for one session: a command is decided, its intent recorded, and only then a
//! [`ForwardPermit`] exists; what came of it is recorded before the client hears of the end. A command
//! that people have to agree to is suspended meanwhile (`suspended.rs`).

mod entry;
mod flight;
mod suspended;

use std::{sync::Arc, time::Instant};

use sluicegate_metrics::{SessionMetrics, Verdict};

use crate::{
    access::{Seat, Standing},
    admission::{GateParts, Session},
    approval::{Approval, ApprovalId},
    approvals::Approvals,
    command::{Command, Phase},
    denial::{Denial, DenialKind},
    policy::{Flight, Opinion, PolicySession, Ruling},
    record::{self, Appended, Closed, Entry, Event, Governed, RecordError, Recorder, Recording},
};

use self::{entry::leaves_traces, suspended::Suspended};
pub use self::{
    flight::{ForwardPermit, InFlight, ResultSummary},
    suspended::Halt,
};

/// One admitted session.
pub struct GatedSession {
    log: SessionLog,
    seat: Seat,
    policies: Box<dyn PolicySession>,
    /// The number of the last command that was recorded.
    sequence: u64,
    /// Which policies the record says govern the session, and as of when.
    governing: Vec<(String, String)>,
    generation: u64,
    approvals: Arc<Approvals>,
    /// The command that people have to agree to. While there is one, nothing else is decided.
    suspended: Option<Suspended>,
    /// The approval by which one was permitted, until that is told.
    granted: Option<Approval>,
    /// When the command that is decided next was taken up.
    begun: Option<Instant>,
    closed: bool,
}

#[derive(Clone)]
struct SessionLog {
    session: Arc<Session>,
    recorder: Arc<dyn Recorder>,
    recording: Recording,
    max_output: usize,
    metrics: Arc<SessionMetrics>,
}

impl SessionLog {
    fn append(&self, event: Event) -> Appended<'_> {
        self.recorder.append(Entry { session: self.session.id, at: record::now(), event })
    }
}

impl GatedSession {
    pub(crate) fn new(
        session: Arc<Session>,
        seat: Seat,
        policies: Box<dyn PolicySession>,
        gate: &GateParts,
        metrics: SessionMetrics,
    ) -> Self {
        let log = SessionLog {
            session,
            recorder: Arc::clone(&gate.recorder),
            recording: gate.recording,
            max_output: gate.max_output,
            metrics: Arc::new(metrics),
        };
        let (governing, generation) = (policies.governing(), policies.generation());
        Self {
            log,
            seat,
            policies,
            sequence: 0,
            governing,
            generation,
            approvals: Arc::clone(&gate.approvals),
            suspended: None,
            granted: None,
            begun: None,
            closed: false,
        }
    }

    /// What is counted of the session.
    pub fn metrics(&self) -> &Arc<SessionMetrics> {
        &self.log.metrics
    }

    /// The protocol takes up a command: from now until it is forwarded, it is the gate that takes time.
    pub fn begin(&mut self) {
        self.begun = Some(Instant::now());
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.log.session
    }

    /// Whether its access still stands: whoever serves the session ends it when that is lost.
    pub fn standing(&self) -> Standing {
        self.seat.standing()
    }

    /// Nothing is expected of the session for now.
    pub fn rest(&mut self) {
        self.policies.rest();
    }

    /// Whether an enforced policy may mask results: then texts of the target's errors and notices
    /// must be scrubbed.
    pub fn may_mask(&self) -> bool {
        self.policies.may_mask()
    }

    /// Whether any policy governs the session, as of the last decision.
    pub fn is_governed(&self) -> bool {
        !self.governing.is_empty()
    }

    /// Whether an enforced policy is asked about every command of the session.
    pub fn decides_commands(&self) -> bool {
        self.policies.decides_commands()
    }

    /// Whether an approval is remembered that may cover this command. If so, find out first what it means
    /// now, and decide that: it would run unasked.
    pub fn remembers(&self, command: &Command) -> bool {
        let digest = || self.approvals.digest(&self.log.session, command);
        command.phase == Phase::Run && self.suspended.is_none() && self.approvals.remembers(digest)
    }

    /// Decides a command and records the decision, before anything of it may be forwarded. A command
    /// that was suspended is handed in again when its hold is over, from the very bytes that the client
    /// sent: it is then permitted or denied, or goes on waiting. Not cancel-safe.
    pub async fn decide(&mut self, command: Command) -> Result<ForwardPermit, Halt> {
        if let Some(lost) = self.seat.lost() {
            let denial = Denial::gate(format!("access to the target has ended: {lost}"));
            return Err(Halt::Denied(Box::pin(self.refuse(command, denial)).await));
        }
        let command = Arc::new(command);
        if let Some(suspended) = self.suspended.take() {
            return Box::pin(self.decide_again(suspended, command)).await;
        }
        let (ruling, flight) = self.policies.command(self.sequence + 1, &command);
        self.note_governing().await?;
        self.decided(command, ruling, flight).await
    }

    async fn decided(
        &mut self,
        command: Arc<Command>,
        ruling: Ruling,
        flight: Box<dyn Flight>,
    ) -> Result<ForwardPermit, Halt> {
        let Ruling { mut denial, requirements, opinions } = ruling;
        // What is only made ready waits when it runs.
        let waits = denial.is_none() && !requirements.is_empty() && command.phase == Phase::Run;
        let mut digest = String::new();
        if waits {
            match self.digest(&command) {
                Ok(found) => digest = found,
                Err(refused) => denial = Some(refused),
            }
        }
        let waits = waits && denial.is_none();
        let covered = if waits { self.approvals.covers(&digest, &requirements) } else { None };
        let recorded = command.phase == Phase::Run || denial.is_some();
        if recorded {
            self.record(&command, denial.clone(), covered, opinions).await?;
        }
        if let Some(denial) = denial {
            self.log.metrics.decided(denial.kind.verdict());
            return Err(Halt::Denied(denial));
        }
        let sequence = self.sequence + u64::from(!recorded);
        if waits && covered.is_none() {
            self.log.metrics.decided(Verdict::Held);
            self.suspended = Some(Suspended::new(command, digest, sequence, requirements, flight));
            return Err(Halt::Suspended);
        }
        if recorded {
            self.log.metrics.decided(Verdict::Allowed);
        }
        Ok(self.permit(flight, sequence, recorded))
    }

    fn permit(&mut self, flight: Box<dyn Flight>, sequence: u64, recorded: bool) -> ForwardPermit {
        let flight = InFlight::new(self.log.clone(), flight, sequence, recorded);
        ForwardPermit { flight: flight.begun(self.begun.take()) }
    }

    /// What an approval would cover.
    fn digest(&self, command: &Command) -> Result<String, Denial> {
        if !command.whole {
            let reason = "it needs an approval, and is too large to be shown to an approver; send less at once";
            return Err(Denial::gate(reason));
        }
        let digest = self.approvals.digest(&self.log.session, command);
        digest.ok_or_else(|| Denial::gate("it needs an approval, and cannot be told from other commands"))
    }

    /// Records that the gate itself refuses a command. No policy is asked. Returns what the client is
    /// to read.
    pub async fn refuse(&mut self, command: Command, denial: Denial) -> Denial {
        if let Some(suspended) = self.suspended.take()
            && let Err(unrecorded) = Box::pin(self.supersede(suspended, "the gateway refuses it now")).await
        {
            return unrecorded;
        }
        match self.record(&command, Some(denial.clone()), None, Vec::new()).await {
            Ok(()) => {
                self.log.metrics.decided(denial.kind.verdict());
                denial
            }
            Err(unrecorded) => unrecorded,
        }
    }

    async fn record(
        &mut self,
        command: &Command,
        denial: Option<Denial>,
        approval: Option<ApprovalId>,
        opinions: Vec<Opinion>,
    ) -> Result<(), Denial> {
        self.sequence += 1;
        if let Some(denial) = &denial {
            // A client could fill the log with these; they are in the record, and counted.
            tracing::debug!(session = %self.log.session.id, sequence = self.sequence, %denial, "command denied");
        }
        let mut entry = self.entry(self.sequence, command);
        (entry.denial, entry.approval, entry.opinions) = (denial, approval, opinions);
        self.append(Event::Command(entry)).await?;
        if self.log.recording == Recording::Strict && leaves_traces(command) {
            let flushed = self.log.recorder.flush().await;
            flushed.map_err(|error| self.unrecorded(error))?;
        }
        Ok(())
    }

    /// Records which policies govern the session, if a reload changed that.
    async fn note_governing(&mut self) -> Result<(), Denial> {
        let generation = self.policies.generation();
        if generation == self.generation {
            return Ok(());
        }
        self.generation = generation;
        let governing = self.policies.governing();
        if governing != self.governing {
            self.governing.clone_from(&governing);
            self.append(Event::Governed(Governed { policies: governing })).await?;
        }
        Ok(())
    }

    async fn append(&mut self, event: Event) -> Result<(), Denial> {
        let appended = self.log.append(event).await;
        appended.map_err(|error| self.unrecorded(error))
    }

    fn unrecorded(&self, error: RecordError) -> Denial {
        self.log.metrics.decided(Verdict::Unrecorded);
        tracing::error!(session = %self.log.session.id, %error, "command refused");
        error.into()
    }

    /// Ends the session, once. Further calls do nothing.
    pub async fn close(&mut self, reason: &str) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.policies.closed();
        let why = Denial::of(DenialKind::Cancelled, format!("the session ended: {reason}"));
        if let Err(error) = self.give_up(why).await {
            tracing::error!(session = %self.log.session.id, %error, "the end of a wait could not be recorded");
        }
        let event = Event::Closed(Closed { commands: self.sequence, reason: reason.to_owned() });
        if let Err(error) = self.log.append(event).await {
            tracing::error!(session = %self.log.session.id, %error, "the session's end could not be recorded");
        }
        tracing::info!(session = %self.log.session.id, commands = self.sequence, reason, "session closed");
    }
}
