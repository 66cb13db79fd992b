//! The gate's way for one session: a command is decided, its intent recorded, and only then a
//! [`ForwardPermit`] exists; what came of it is recorded before the client hears of the end.

use std::sync::Arc;

use crate::{
    admission::Session,
    command::{Command, Parameter, Phase},
    denial::{Denial, DenialKind},
    policy::{Flight, Opinion, PolicySession},
    record::{
        self, Closed, CommandEntry, Entry, Event, Governed, MAX_TEXT_BYTES, Outcome, RecordError, Recorder, Recording,
    },
    result::{Batch, ResultSchema},
    verdict::{CellMask, MaskPlan},
};

/// The most bytes of one parameter that are kept.
const MAX_PARAMETER_BYTES: usize = 1024;

/// One admitted session.
pub struct GatedSession {
    log: SessionLog,
    policies: Box<dyn PolicySession>,
    /// The number of the last command that was recorded.
    sequence: u64,
    /// Which policies the record says govern the session, and as of when.
    governing: Vec<(String, String)>,
    generation: u64,
    closed: bool,
}

/// Leave to forward exactly one decided command. There is no other way to make one than
/// [`GatedSession::decide`].
pub struct ForwardPermit {
    command: Arc<Command>,
    flight: InFlight,
}

impl ForwardPermit {
    /// What was decided on.
    pub fn command(&self) -> &Arc<Command> {
        &self.command
    }

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
    pub fn redeem(self) -> InFlight {
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
}

#[derive(Clone)]
struct SessionLog {
    session: Arc<Session>,
    recorder: Arc<dyn Recorder>,
    recording: Recording,
}

impl SessionLog {
    async fn append(&self, event: Event) -> Result<(), RecordError> {
        let entry = Entry { session: self.session.id, at: record::now(), event };
        self.recorder.append(entry).await
    }
}

impl GatedSession {
    pub(crate) fn new(
        session: Arc<Session>,
        policies: Box<dyn PolicySession>,
        recorder: Arc<dyn Recorder>,
        recording: Recording,
    ) -> Self {
        let log = SessionLog { session, recorder, recording };
        let (governing, generation) = (policies.governing(), policies.generation());
        Self { log, policies, sequence: 0, governing, generation, closed: false }
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.log.session
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

    /// Decides a command and records the decision, before anything of it may be forwarded. Not
    /// cancel-safe.
    pub async fn decide(&mut self, command: Command) -> Result<ForwardPermit, Denial> {
        let command = Arc::new(command);
        let sequence = self.sequence + 1;
        let (ruling, flight) = self.policies.command(sequence, &command);
        self.note_governing().await?;
        let recorded = command.phase == Phase::Run || ruling.denial.is_some();
        if recorded {
            self.record(&command, ruling.denial.clone(), ruling.opinions).await?;
        }
        if let Some(denial) = ruling.denial {
            return Err(denial);
        }
        let log = self.log.clone();
        let flight = InFlight { log, flight, sequence, recorded, denial: None, opinions: Vec::new() };
        Ok(ForwardPermit { command, flight })
    }

    /// Records that the gate itself refuses a command. No policy is asked. Returns what the client is
    /// to read.
    pub async fn refuse(&mut self, command: Command, denial: Denial) -> Denial {
        match self.record(&command, Some(denial.clone()), Vec::new()).await {
            Ok(()) => denial,
            Err(unrecorded) => unrecorded,
        }
    }

    async fn record(
        &mut self,
        command: &Command,
        denial: Option<Denial>,
        opinions: Vec<Opinion>,
    ) -> Result<(), Denial> {
        self.sequence += 1;
        if let Some(denial) = &denial {
            tracing::info!(session = %self.log.session.id, sequence = self.sequence, %denial, "command denied");
        }
        let entry = self.entry(self.sequence, command, denial, opinions);
        self.append(Event::Command(entry)).await?;
        // Of several statements the client may see one complete while the next runs.
        let several = command.sql.as_ref().is_some_and(|sql| sql.statements > 1);
        if several && self.log.recording == Recording::Strict {
            let flushed = self.log.recorder.flush().await;
            flushed.map_err(|error| self.unrecorded(&error))?;
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
        appended.map_err(|error| self.unrecorded(&error))
    }

    fn unrecorded(&self, error: &RecordError) -> Denial {
        tracing::error!(session = %self.log.session.id, %error, "command refused");
        Denial { kind: DenialKind::Record, policy: None, reason: error.to_string() }
    }

    fn entry(&self, sequence: u64, command: &Command, denial: Option<Denial>, opinions: Vec<Opinion>) -> CommandEntry {
        let hide = self.policies.may_mask() || carries_password(command);
        let source = if hide { &command.normalized } else { &command.text };
        let (text, cut) = record::cut(source, MAX_TEXT_BYTES);
        let values = if hide {
            Vec::new()
        } else {
            command
                .parameters
                .iter()
                .map(|p| match p {
                    Parameter::Null => None,
                    Parameter::Text(text) => Some(record::cut(text, MAX_PARAMETER_BYTES).0),
                    Parameter::Opaque(size) => Some(format!("({size} bytes)")),
                })
                .collect()
        };
        let mut resources = command.resources.clone();
        if let Some(sql) = &command.sql {
            resources.extend(sql.relations.iter().filter(|r| !r.indirect).map(|r| r.name.to_string()));
        }
        CommandEntry {
            sequence,
            verb: command.verb.to_owned(),
            text,
            cut,
            resources,
            parameters: u32::try_from(command.parameters.len()).unwrap_or(u32::MAX),
            values,
            denial,
            opinions,
        }
    }

    /// Ends the session, once. Further calls do nothing.
    pub async fn close(&mut self, reason: &str) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.policies.closed();
        let event = Event::Closed(Closed { commands: self.sequence, reason: reason.to_owned() });
        if let Err(error) = self.log.append(event).await {
            tracing::error!(session = %self.log.session.id, %error, "the session's end could not be recorded");
        }
        tracing::info!(session = %self.log.session.id, commands = self.sequence, reason, "session closed");
    }
}

/// Whether a statement is made to carry a password: of roles, and of other servers.
fn carries_password(command: &Command) -> bool {
    let carriers = ["role", "user", "group", "user mapping", "server", "subscription"];
    let carries = |kind: &String| carriers.iter().any(|carrier| kind.ends_with(carrier));
    command.sql.as_ref().is_some_and(|sql| sql.kinds.iter().any(carries))
}

impl InFlight {
    /// The command's number.
    pub fn sequence(&self) -> u64 {
        self.sequence
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
    pub fn rows(&mut self, batch: &Batch) -> Result<Vec<CellMask>, Denial> {
        let ruling = self.flight.rows(batch);
        self.note(ruling.opinions);
        match ruling.denial {
            None => Ok(ruling.cells),
            Some(denial) => Err(self.deny(denial)),
        }
    }

    /// Keeps what the policies said, each saying once however many batches repeat it.
    fn note(&mut self, opinions: Vec<Opinion>) {
        for opinion in opinions {
            if !self.opinions.contains(&opinion) {
                self.opinions.push(opinion);
            }
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
        };
        self.log.append(Event::Outcome(outcome)).await?;
        match self.log.recording {
            Recording::Strict => self.log.recorder.flush().await,
            Recording::Ordered => Ok(()),
        }
    }
}
