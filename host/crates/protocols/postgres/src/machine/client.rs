//! Messages of the client: what is only passed on, what must be decided first, and what must wait.

use std::sync::Arc;

use bytes::Bytes;
use sluicegate_core::{Command, Denial, Halt, InFlight, Phase, ResultSummary};
use sluicegate_sql::{Analysis, Effect, Sets};

use super::{
    MAX_OBJECT_BYTES, MAX_OBJECTS, Machine, MachineError, Outbox, Rest, Status,
    commands::{copies_out, opaque_command, sql_command},
    expect::{self, Expect, Permitted, Run},
    objects::Prepared,
    probe, whole,
};
use crate::{
    codec::{frame::Frame, message},
    deny,
};

impl Machine {
    /// Takes a message of the client, or a piece of a large one. It may be kept until the server
    /// answered: see [`Machine::is_deferring`]. Not cancel-safe.
    pub async fn client(&mut self, frame: Frame, out: &mut Outbox) -> Result<(), MachineError> {
        if let Frame::Part { bytes, .. } = frame {
            if self.client_rest == Rest::Forward {
                out.accompany(bytes);
            }
            return Ok(());
        }
        let (tag, bytes, complete) = whole(frame.clone());
        if self.must_wait(tag, out) {
            self.deferred = Some(frame);
            return Ok(());
        }
        self.client_rest = Rest::Forward;
        if matches!(tag, b'Q' | b'P' | b'B' | b'F') {
            self.gate.begin();
        }
        match tag {
            b'd' => out.accompany(bytes),
            b'c' | b'f' => {
                // A Flush sent while the COPY ran was swallowed by it.
                (self.copy_in, self.flushed) = (false, false);
                out.accompany(bytes);
            }
            b'X' => {
                out.keep = self.leaves_nothing();
                if !out.keep {
                    out.accompany(bytes);
                }
                out.close = Some("the client ended it".into());
            }
            _ if self.copy_in && matches!(tag, b'S' | b'H') => out.accompany(bytes),
            b'S' => self.sync(bytes, out),
            _ if self.skipping => self.client_rest = Rest::Drop,
            _ if self.copy_in => return Err(MachineError::ClientTag(char::from(tag))),
            b'H' => out.accompany(bytes),
            // What is decided keeps much in mind; other messages, and their many rows, need not carry that along.
            b'Q' => Box::pin(self.query(bytes, complete, out)).await?,
            b'F' => Box::pin(self.function_call(bytes, complete, out)).await?,
            b'P' => Box::pin(self.parse(bytes, complete, out)).await?,
            b'B' => Box::pin(self.bind(bytes, complete, out)).await?,
            b'E' => Box::pin(self.execute(bytes, out)).await?,
            b'D' => self.describe(bytes, complete, out)?,
            b'C' => self.close_object(bytes, complete, out)?,
            tag => return Err(MachineError::ClientTag(char::from(tag))),
        }
        if self.client_rest == Rest::Forward && !complete && matches!(tag, b'Q' | b'P' | b'D' | b'C' | b'E' | b'F') {
            self.client_rest = Rest::Drop;
        }
        Ok(())
    }

    /// Whether the message must wait for an answer. If so, the server is made to give it.
    fn must_wait(&mut self, tag: u8, out: &mut Outbox) -> bool {
        if self.copy_in {
            return false;
        }
        let decides = matches!(tag, b'Q' | b'F' | b'P' | b'B' | b'E');
        let follows = matches!(tag, b'D' | b'C') || tag == b'S' && self.blocks_sync();
        if !decides && !follows {
            return false;
        }
        if self.blocking > 0 {
            self.flush(out);
            return true;
        }
        let asks = decides && (tag != b'E' || self.objects.has_approved());
        let asks = asks && self.settings.stale && self.status != Status::Failed && !self.skipping;
        if asks {
            self.settings.stale = false;
            let questions = self.settings.reading_questions();
            self.expect(Expect::ask(questions.clone()));
            out.own(self.settings.questions(questions, !self.open));
            if !self.open {
                self.expect(Expect::Sync { own: true });
            }
        }
        asks
    }

    /// A Sync passes unless it would end what may still have to be refused, or would be swallowed by
    /// a COPY that is about to begin.
    fn blocks_sync(&self) -> bool {
        let holds = |expect: &Expect| match expect {
            Expect::Execute(run) => run.blocks,
            _ => false,
        };
        self.blocking > 0 && self.waiting.iter().any(holds)
    }

    /// Makes the server send what it has, where it would keep it until the next Sync.
    pub(super) fn flush(&mut self, out: &mut Outbox) {
        if self.open && !std::mem::replace(&mut self.flushed, true) {
            out.own(message::message(b'H', |_| {}));
        }
    }

    fn sync(&mut self, bytes: Bytes, out: &mut Outbox) {
        self.segment += 1;
        (self.open, self.skipping, self.ran) = (false, false, false);
        self.expect(Expect::Sync { own: false });
        out.accompany(bytes);
    }

    async fn query(&mut self, bytes: Bytes, complete: bool, out: &mut Outbox) -> Result<(), MachineError> {
        self.segment += 1;
        let decided = if complete {
            let text = message::query(&bytes).map_err(MachineError::Client)?;
            self.decide_query(text).await
        } else {
            Err(Box::pin(self.refuse_large("query")).await.into())
        };
        let denial = match decided {
            Ok(permitted) => match self.refuses_probe(&permitted) {
                Some(denial) => Box::pin(self.record_refused(permitted.permit.give_up(), denial)).await,
                None if probe::must_probe(&permitted) => {
                    self.probe(permitted, bytes, out);
                    return Ok(());
                }
                None => {
                    self.forward_query(permitted, bytes, out);
                    return Ok(());
                }
            },
            Err(Halt::Suspended) => return Box::pin(self.suspend(Frame::Whole { tag: b'Q', bytes }, out)).await,
            Err(Halt::Denied(denial)) => denial,
        };
        self.deny_query(&denial, out);
        Ok(())
    }

    pub(super) fn deny_query(&mut self, denial: &Denial, out: &mut Outbox) {
        self.expect(Expect::Denied { error: Some(deny::error(denial)), query: true });
        out.own(deny::query());
    }

    pub(super) fn forward_query(&mut self, permitted: Permitted, bytes: Bytes, out: &mut Outbox) {
        let Permitted { mut run, permit } = permitted;
        self.runs(&run.analysis);
        self.ran = false;
        let flight = out.forward(permit, bytes);
        run.tally.kept.allow(flight.max_output());
        run.flight = Some(flight);
        self.expect(Expect::Query(Box::new(run)));
    }

    async fn decide_query(&mut self, text: &[u8]) -> Result<Permitted, Halt> {
        let (mut command, mut analysis) = self.query_command(text).await?;
        if self.gate.remembers(&command) {
            self.shared.catalogs.invalidate();
            (command, analysis) = Box::pin(self.query_command(text)).await?;
        }
        let text = Arc::clone(&command.text);
        if let Some(denial) = self.refused_text(&analysis) {
            return Err(Box::pin(self.gate.refuse(command, denial)).await.into());
        }
        let mut permit = self.decide(command).await?;
        let copies = match self.decide_copies(&analysis, permit.flight()).await {
            Ok(copies) => copies,
            Err(denial) => return Err(Box::pin(self.record_refused(permit.give_up(), denial)).await.into()),
        };
        let changed = self.settings.changed_in_transaction;
        // What may be refused while it flows must be the last that the server was given.
        let refusable =
            permit.sees_results() && (expect::has_rows(&analysis) || analysis.statements.iter().any(copies_out));
        let blocks = refusable || analysis.statements.iter().any(|s| expect::blocks(s, changed));
        let mut run = Run::new(analysis, text, self.generation, blocks);
        (run.copies, run.tally.kept.hides_lines) = (copies.rows, copies.hidden);
        Ok(Permitted { run, permit })
    }

    async fn query_command(&mut self, text: &[u8]) -> Result<(Command, Arc<Analysis>), Denial> {
        let (text, analysis) = self.understand("query", text).await?;
        let context = self.depends_on(&analysis, &[]);
        Ok((sql_command("query", Phase::Run, text, &analysis, Vec::new(), context), analysis))
    }

    /// Reads a text: refused where its bytes cannot be believed.
    pub(super) async fn understand(
        &mut self,
        verb: &'static str,
        text: &[u8],
    ) -> Result<(Arc<str>, Arc<Analysis>), Denial> {
        let readable = std::str::from_utf8(text).ok().filter(|text| self.settings.can_read(text));
        match readable {
            Some(text) => match self.analyse(text).await {
                Ok(analysis) => Ok((Arc::from(text), analysis)),
                Err(denial) => Err(Box::pin(self.gate.refuse(opaque_command(verb, "(not analysed)"), denial)).await),
            },
            None => {
                let command = opaque_command(verb, "(text in an encoding that the gateway does not read)");
                let reason = "the text is not plain ASCII and the connection's encoding is not UTF8; SET client_encoding TO UTF8 first";
                Err(Box::pin(self.gate.refuse(command, Denial::gate(reason))).await)
            }
        }
    }

    /// Reads the text of a prepared statement, which may have been read before.
    pub(super) async fn understand_again(
        &mut self,
        verb: &'static str,
        prepared: &Prepared,
    ) -> Result<(Arc<str>, Arc<Analysis>), Denial> {
        // A catalog that cannot be read is refused below.
        if self.catalog().await.is_ok()
            && let Some(analysis) = self.reading().and_then(|reading| prepared.read_as(reading))
        {
            return Ok((Arc::clone(&prepared.text), analysis));
        }
        let (text, analysis) = self.understand(verb, prepared.text.as_bytes()).await?;
        self.keep_reading(prepared, &analysis);
        Ok((text, analysis))
    }

    /// What a text may not do, whatever policies say: make names that are the gateway's own, or change
    /// the settings by which the target knows who it is.
    pub(super) fn refused_text(&self, analysis: &Analysis) -> Option<Denial> {
        if let Sets::Named(names) = analysis.sets()
            && names.iter().any(|name| name.starts_with("sluicegate."))
        {
            return Some(Denial::gate(
                "the settings under `sluicegate.` say who you are, and are the gateway's to set",
            ));
        }
        if self.settings.can_be_forgotten()
            && analysis.statements.len() > 1
            && matches!(analysis.sets(), Sets::Named(names) if names.iter().any(|name| name == "all"))
        {
            // What runs after it in the same text would run before the target is told again who it is.
            return Some(Denial::gate("RESET ALL must be sent alone to a target whose connections are used again"));
        }
        let made = analysis.statements.iter().filter_map(|statement| match &statement.effect {
            Effect::Prepare { name, .. } | Effect::DeclareCursor { name, .. } => Some(name.as_str()),
            _ => None,
        });
        made.filter_map(|name| self.refused_name(name)).next()
    }

    /// Why a client may not make an object of that name now.
    pub(super) fn refused_name(&self, name: &str) -> Option<Denial> {
        if !deny::is_usable_name(name) {
            let reason =
                "names of statements, portals and cursors must have at most 63 bytes and not begin with `sluicegate`";
            return Some(Denial::gate(reason));
        }
        let full = self.objects.count() >= MAX_OBJECTS || self.objects.bytes() >= MAX_OBJECT_BYTES;
        full.then(|| {
            Denial::gate(format!(
                "the session has {MAX_OBJECTS} prepared statements and cursors, or {MAX_OBJECT_BYTES} bytes of them; \
                 drop some with DEALLOCATE ALL"
            ))
        })
    }

    /// A text or name that is too large to be read whole.
    pub(super) async fn refuse_large(&mut self, verb: &'static str) -> Denial {
        let command = opaque_command(verb, "(too large to be read)");
        let denial =
            Denial::gate("the statement is too large to be analysed; pass large values as parameters or by COPY");
        Box::pin(self.gate.refuse(command, denial)).await
    }

    /// Records that what was allowed as a command is refused for its result, before anything ran.
    pub(super) async fn record_refused(&mut self, mut flight: InFlight, denial: Denial) -> Denial {
        let denial = flight.deny(denial);
        let summary = ResultSummary { status: "refused".into(), failed: true, ..ResultSummary::default() };
        match flight.finish(summary).await {
            Ok(()) => denial,
            Err(error) => error.into(),
        }
    }
}
