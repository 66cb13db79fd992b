//! Messages of the server: which answer they are, what they confirm, and what the client sees.

use bytes::Bytes;
use sluicegate_core::{Denial, InFlight, ResultSummary};
use sluicegate_sql::Effect;

use super::{
    Machine, MachineError, Outbox, Rest, Status,
    expect::{Expect, Run},
    finish_unrun,
    objects::Portal,
    rows::Rows,
    settings, whole,
};
use crate::{
    codec::{
        frame::Frame,
        message::{self, ObjectKind},
        text,
    },
    deny,
};

impl Machine {
    /// Whether rows are forwarded as they are now, so that many may be taken at once.
    pub fn passes_rows(&self) -> bool {
        match self.waiting.front() {
            Some(Expect::Query(run) | Expect::Execute(run)) => matches!(run.rows, Some(Rows::Pass)),
            _ => false,
        }
    }

    /// Takes whole rows that pass. Only while [`Machine::passes_rows`].
    pub fn rows(&mut self, bytes: Bytes, count: u64, out: &mut Outbox) {
        if let Some(Expect::Query(run) | Expect::Execute(run)) = self.waiting.front_mut() {
            run.tally.rows += count;
            run.tally.bytes += bytes.len() as u64;
            out.client.push(bytes);
        }
    }

    /// The server pauses: rows that wait for a batch to fill go on.
    pub fn pause(&mut self, out: &mut Outbox) {
        let Some(Expect::Query(run) | Expect::Execute(run)) = self.waiting.front_mut() else { return };
        let (Some(rows), Some(flight)) = (&mut run.rows, &mut run.flight) else { return };
        if let Err(denial) = rows.flush(flight, &mut run.tally, &mut out.client) {
            refuse(run, denial, out);
        }
    }

    /// Takes a message of the server, or a piece of a large one. Not cancel-safe.
    pub async fn server(&mut self, frame: Frame, out: &mut Outbox) -> Result<(), MachineError> {
        if let Frame::Part { bytes, .. } = frame {
            if self.server_rest == Rest::Forward {
                out.client.push(bytes);
            }
            return Ok(());
        }
        let (tag, bytes, complete) = whole(frame);
        if !complete {
            return self.large(tag, bytes, out);
        }
        match tag {
            b'N' => {
                let fields = message::notice_fields(&bytes).map_err(MachineError::Server)?;
                out.client.push(self.shown(&bytes, &fields));
            }
            b'A' => out.client.push(bytes),
            b'S' => {
                let (name, value) = message::parameter_status(&bytes).map_err(MachineError::Server)?;
                self.settings.reported(&name, &value);
                out.client.push(bytes);
            }
            b'E' => self.error(bytes, out).await?,
            b'Z' => self.ready(bytes, out).await?,
            _ => self.answer(tag, bytes, out).await?,
        }
        Ok(())
    }

    /// A row that is too large to be read whole passes only where nobody must look at it.
    fn large(&mut self, tag: u8, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
        let Some(Expect::Query(run) | Expect::Execute(run)) = self.waiting.front_mut() else {
            return Err(MachineError::Large(char::from(tag)));
        };
        match (tag, &run.rows) {
            (b'D' | b'd', Some(Rows::Pass)) => {
                self.server_rest = Rest::Forward;
                run.tally.rows += 1;
                run.tally.bytes += bytes.len() as u64;
                out.client.push(bytes);
            }
            (b'D' | b'd', Some(Rows::Discard)) => self.server_rest = Rest::Drop,
            (b'D' | b'd', Some(_)) => {
                self.server_rest = Rest::Drop;
                refuse(run, Denial::gate("a row is too large to be masked; select fewer or smaller columns"), out);
            }
            (b'V', _) => return Err(MachineError::Large('V')),
            _ => return Err(MachineError::Large(char::from(tag))),
        }
        Ok(())
    }

    async fn answer(&mut self, tag: u8, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
        let unexpected = MachineError::ServerTag(char::from(tag));
        let Some(front) = self.waiting.front_mut() else { return Err(unexpected) };
        match (tag, front) {
            (_, Expect::Query(_) | Expect::Execute(_)) => return self.result(tag, bytes, out).await,
            (b'1', Expect::Parse { .. }) => {
                if let Some(Expect::Parse { name, prepared, analysis, .. }) = self.answered() {
                    self.objects.parsed(name, prepared, analysis);
                }
                out.client.push(bytes);
            }
            (b'2', Expect::Bind { .. }) => {
                if let Some(Expect::Bind { portal, .. }) = self.answered() {
                    let replaced = self.objects.bound(*portal);
                    self.retire(replaced).await?;
                }
                out.client.push(bytes);
            }
            (b'3', Expect::Close { .. }) => {
                if let Some(Expect::Close { kind, name, .. }) = self.answered() {
                    self.closed(kind, &name).await?;
                }
                out.client.push(bytes);
            }
            (b't', Expect::Describe { name, .. }) => {
                let types = message::parameter_description(&bytes).map_err(MachineError::Server)?;
                if let Some(prepared) = self.objects.statement(name) {
                    // A second Describe says the same: a statement's parameter types never change.
                    let _ = prepared.types.set(types);
                }
                out.client.push(bytes);
            }
            (b'T' | b'n', Expect::Describe { .. }) => {
                let shape = if tag == b'T' {
                    Some(message::row_description(&bytes).map_err(MachineError::Server)?.into())
                } else {
                    None
                };
                if let Some(Expect::Describe { kind, name, own, epoch }) = self.answered() {
                    self.described(kind, &name, epoch, shape);
                    if !own {
                        out.client.push(bytes);
                    }
                }
            }
            (b'V', Expect::Function(_)) => out.client.push(bytes),
            (b'1' | b't', Expect::Probe) => {}
            (b'T' | b'n', Expect::Probe) => {
                let fields = (tag == b'T').then(|| message::row_description(&bytes)).transpose();
                self.probed(fields.map_err(MachineError::Server)?.map(Into::into));
            }
            (b'3', Expect::Probe) => {
                self.answered();
            }
            (_, Expect::Ask { .. }) => self.told(tag, &bytes)?,
            _ => return Err(unexpected),
        }
        Ok(())
    }

    /// An answer to the gate's own questions.
    fn told(&mut self, tag: u8, bytes: &[u8]) -> Result<(), MachineError> {
        let Some(Expect::Ask { index }) = self.waiting.front_mut() else {
            return Err(MachineError::ServerTag(char::from(tag)));
        };
        match tag {
            // Each question ends with the Close of its portal and of its statement.
            b'3' => *index += 1,
            b'D' => {
                let question = *index / 2;
                let value = settings::answer(bytes).ok_or(MachineError::ServerTag('D'))?;
                if self.settings.answered(question, &value) {
                    // The next text finds that names have moved.
                    self.generation = u64::MAX;
                }
            }
            b'1' | b'2' | b'C' => {}
            _ => return Err(MachineError::ServerTag(char::from(tag))),
        }
        if matches!(self.waiting.front(), Some(Expect::Ask { index }) if *index == settings::QUESTIONS.len() * 2) {
            self.answered();
        }
        Ok(())
    }

    /// A message of the result that flows.
    async fn result(&mut self, tag: u8, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
        // Taken out while it is worked on: the policies' answer may need the rest of the machine.
        let (mut run, simple) = match self.waiting.pop_front() {
            Some(Expect::Query(run)) => (run, true),
            Some(Expect::Execute(run)) => (run, false),
            _ => return Err(MachineError::ServerTag(char::from(tag))),
        };
        let ended = self.result_message(&mut run, simple, tag, bytes, out).await;
        let blocks = run.blocks;
        let done = matches!(ended, Ok(true));
        if done {
            self.blocking -= usize::from(blocks);
            self.end_execute(*run, tag, out).await?;
        } else {
            self.waiting.push_front(if simple { Expect::Query(run) } else { Expect::Execute(run) });
        }
        ended.map(|_| ())
    }

    /// Returns whether an Execute ended.
    async fn result_message(
        &mut self,
        run: &mut Run,
        simple: bool,
        tag: u8,
        bytes: Bytes,
        out: &mut Outbox,
    ) -> Result<bool, MachineError> {
        if tag != b'C' && tag != b'D' {
            release(run, out);
        }
        let refused = run.refused.is_some();
        match tag {
            b'T' if simple => {
                let fields = message::row_description(&bytes).map_err(MachineError::Server)?;
                match self.decide_described(run, &fields).await {
                    Ok(rows) => run.rows = Some(rows),
                    Err(denial) => refuse(run, denial, out),
                }
                if run.refused.is_none() {
                    out.client.push(bytes);
                }
            }
            b'D' | b'd' => {
                let (Some(rows), Some(flight)) = (&mut run.rows, &mut run.flight) else {
                    return Err(MachineError::ServerTag(char::from(tag)));
                };
                if let Err(denial) = rows.message(bytes, flight, &mut run.tally, &mut out.client) {
                    refuse(run, denial, out);
                }
            }
            b'c' => {
                finish_rows(run, out);
                if run.refused.is_none() {
                    out.client.push(bytes);
                }
            }
            b'H' => {
                self.copy_out(run, out);
                if run.refused.is_none() {
                    out.client.push(bytes);
                }
            }
            b'G' => {
                self.copy_in = true;
                out.client.push(bytes);
            }
            b'C' | b'I' | b's' => {
                flush_rows(run, out);
                release(run, out);
                self.completed(run, tag, &bytes).await?;
                if !refused && run.refused.is_none() {
                    run.completion = Some(bytes);
                }
                return Ok(!simple);
            }
            tag => return Err(MachineError::ServerTag(char::from(tag))),
        }
        Ok(false)
    }

    async fn decide_described(&mut self, run: &mut Run, fields: &[message::Field]) -> Result<Rows, Denial> {
        let Some(mut flight) = run.flight.take() else {
            return Err(Denial::gate("a result came that nobody waits for"));
        };
        let analysis = std::sync::Arc::clone(&run.analysis);
        let decided = self.decide_result(run.statement, fields, |_, field| field.format, &analysis, &mut flight).await;
        run.flight = Some(flight);
        decided
    }

    /// COPY data is about to flow. Its columns were decided before it was forwarded.
    fn copy_out(&mut self, run: &mut Run, out: &mut Outbox) {
        if run.refused.is_some() {
            return;
        }
        let decided = run.copies.iter().position(|(statement, _)| *statement == run.statement);
        match decided {
            Some(index) => run.rows = Some(run.copies.swap_remove(index).1),
            None if !run.flight.as_ref().is_some_and(InFlight::sees_results) => run.rows = Some(Rows::Pass),
            None if matches!(run.rows, Some(Rows::Pass | Rows::Copy(_))) => {}
            None => refuse(run, Denial::gate("the columns of this COPY are not known, so it cannot be masked"), out),
        }
    }

    /// A statement completed: what it does to names and settings is true now.
    async fn completed(&mut self, run: &mut Run, tag: u8, bytes: &[u8]) -> Result<(), MachineError> {
        self.copy_in = false;
        if tag == b's' {
            return Ok(());
        }
        let status = if tag == b'I' { String::new() } else { command_tag(bytes) };
        if !status.is_empty() {
            run.status = status;
        }
        if tag == b'C' && run.analysis.statements.is_empty() {
            // Nobody knows what an unanalysable text did.
            (self.settings.stale, self.settings.changed_in_transaction) = (true, true);
        }
        let analysis = std::sync::Arc::clone(&run.analysis);
        if let Some(statement) = analysis.statements.get(run.statement).filter(|_| tag == b'C') {
            let ends = statement.effect == Effect::EndTransaction;
            if ends {
                self.settings.stale |= self.settings.changed_in_transaction;
            } else if statement.settings_may_change {
                (self.settings.stale, self.settings.changed_in_transaction) = (true, true);
            }
            self.apply(&statement.effect).await?;
        }
        run.statement += 1;
        run.rows = None;
        Ok(())
    }

    async fn apply(&mut self, effect: &Effect) -> Result<(), MachineError> {
        let portals = match effect {
            Effect::None => return Ok(()),
            Effect::Prepare { name, body } => {
                self.objects.prepared_by_sql(name.clone(), std::sync::Arc::clone(body));
                return Ok(());
            }
            Effect::DeclareCursor { name, body } => {
                self.objects.declared(name.clone(), std::sync::Arc::clone(body));
                return Ok(());
            }
            Effect::Deallocate { name } => {
                self.objects.deallocate(name.as_deref());
                return Ok(());
            }
            Effect::CloseCursor { name } => self.objects.close(name.as_deref()),
            Effect::DiscardAll => {
                self.objects.deallocate(None);
                self.objects.close(None)
            }
            Effect::EndTransaction => self.objects.transaction_ended(),
        };
        self.retire(portals).await
    }

    /// An Execute ended by CommandComplete, EmptyQueryResponse or PortalSuspended.
    async fn end_execute(&mut self, mut run: Run, tag: u8, out: &mut Outbox) -> Result<(), MachineError> {
        if let Some(error) = run.refused.take() {
            // The cancel came too late. The server must fail here all the same, so that it and the
            // client agree about the transaction.
            run.failed = true;
            record(&mut run).await?;
            self.waiting.push_front(Expect::Denied { error: Some(error), query: false });
            out.server.push(deny::execute());
            self.flushed = false;
            self.flush(out);
            return Ok(());
        }
        let completion = run.completion.take();
        if tag == b's'
            && let Some(portal) = self.objects.portal(&run.portal)
        {
            (portal.flight, portal.rows, portal.tally) = (run.flight.take(), run.rows.take(), run.tally);
        }
        record(&mut run).await?;
        if let Some(bytes) = completion {
            out.client.push(bytes);
        }
        Ok(())
    }

    async fn error(&mut self, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
        let fields = message::notice_fields(&bytes).map_err(MachineError::Server)?;
        let field = |kind: u8| fields.iter().find(|(k, _)| *k == kind).map_or(&b""[..], |(_, text)| text);
        let code = String::from_utf8_lossy(field(b'C')).into_owned();
        self.fatal |= matches!(field(b'V'), b"FATAL" | b"PANIC");
        let shown = self.shown(&bytes, &fields);
        self.copy_in = false;
        match self.waiting.front_mut() {
            None => {
                out.client.push(shown);
                return Ok(());
            }
            Some(Expect::Query(run)) => {
                flush_rows(run, out);
                release(run, out);
                (run.failed, run.status) = (true, code);
                out.client.push(run.refused.take().unwrap_or(shown));
                return Ok(());
            }
            Some(Expect::Denied { error, query: true }) => {
                out.client.push(error.take().unwrap_or(shown));
                return Ok(());
            }
            Some(Expect::Function(_) | Expect::Sync { own: false }) => {
                out.client.push(shown);
                return Ok(());
            }
            Some(Expect::Sync { own: true }) => return Ok(()),
            Some(Expect::Ask { .. } | Expect::Probe) => {
                self.settings.stale |= matches!(self.answered(), Some(Expect::Ask { .. }));
                if matches!(self.waiting.front(), Some(Expect::Sync { own: true })) {
                    return Ok(());
                }
                out.client.push(shown);
            }
            Some(Expect::Denied { error, query: false }) => {
                let error = error.take().unwrap_or(shown);
                out.client.push(error);
            }
            Some(Expect::Execute(run)) => {
                flush_rows(run, out);
                (run.failed, run.status) = (true, code);
                out.client.push(run.refused.take().unwrap_or(shown));
                record(run).await?;
            }
            Some(_) => out.client.push(shown),
        }
        self.skip_to_sync().await
    }

    /// What the client sees of an error or a notice: where masks apply, no values.
    fn shown(&self, bytes: &Bytes, fields: &[(u8, &[u8])]) -> Bytes {
        if !self.may_mask {
            return bytes.clone();
        }
        let said = self.waiting.front().map_or("", Expect::text);
        let tag = bytes.first().copied().unwrap_or(b'E');
        let scrubbed = text::scrub(fields, said);
        message::notice(tag, scrubbed.iter().map(|(kind, text)| (*kind, text.as_slice())))
    }

    /// After an error the server ignores what was sent until the next Sync.
    async fn skip_to_sync(&mut self) -> Result<(), MachineError> {
        loop {
            match self.waiting.front() {
                None => {
                    self.skipping = self.open;
                    return Ok(());
                }
                Some(Expect::Sync { .. }) => return Ok(()),
                Some(_) => {
                    if let Some(flight) = self.answered().and_then(Expect::into_flight) {
                        finish_unrun(flight, "skipped after an error").await?;
                    }
                }
            }
        }
    }

    async fn ready(&mut self, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
        self.status = match bytes.get(5) {
            Some(b'I') => Status::Idle,
            Some(b'T') => Status::Transaction,
            _ => Status::Failed,
        };
        self.copy_in = false;
        if self.status == Status::Idle {
            self.transaction_ended().await?;
        }
        match self.answered() {
            Some(Expect::Sync { own: true }) => self.end_probe(out).await?,
            Some(Expect::Sync { own: false } | Expect::Denied { error: None, query: true }) => out.client.push(bytes),
            Some(Expect::Function(flight)) => {
                if let Some(flight) = flight {
                    flight.finish(ResultSummary { status: "function call".into(), ..Default::default() }).await?;
                }
                out.client.push(bytes);
            }
            Some(Expect::Query(mut run)) => {
                let error = run.refused.take();
                run.failed |= error.is_some();
                record(&mut run).await?;
                release(&mut run, out);
                match error {
                    Some(error) if self.status == Status::Transaction => {
                        // The cancel came too late: the server must fail here all the same.
                        self.waiting.push_front(Expect::Denied { error: Some(error), query: true });
                        out.server.push(deny::query());
                    }
                    Some(error) => {
                        out.client.push(error);
                        out.client.push(bytes);
                    }
                    None => out.client.push(bytes),
                }
            }
            _ => return Err(MachineError::ServerTag('Z')),
        }
        Ok(())
    }

    async fn transaction_ended(&mut self) -> Result<(), MachineError> {
        if std::mem::take(&mut self.settings.changed_in_transaction) {
            self.settings.stale = true;
        }
        if std::mem::take(&mut self.catalog_pending) {
            self.shared.catalogs.invalidate();
            self.generation = u64::MAX;
        }
        let portals = self.objects.transaction_ended();
        self.retire(portals).await
    }

    async fn closed(&mut self, kind: ObjectKind, name: &str) -> Result<(), MachineError> {
        match kind {
            ObjectKind::Statement => self.objects.deallocate(Some(name)),
            ObjectKind::Portal => {
                let portals = self.objects.close(Some(name));
                self.retire(portals).await?;
            }
        }
        Ok(())
    }

    /// Records the end of portals that will not run, or not run on.
    async fn retire(&mut self, portals: impl IntoIterator<Item = Portal>) -> Result<(), MachineError> {
        for portal in portals {
            if let Some(flight) = portal.flight {
                let (rows, bytes, masked) = (portal.tally.rows, portal.tally.bytes, portal.tally.masked);
                let status = if rows > 0 { "closed before its end" } else { "not run" };
                flight.finish(ResultSummary { rows, bytes, masked, status: status.into(), failed: false }).await?;
            }
        }
        Ok(())
    }
}

/// Refuses the rest of a result: what the server still sends of it is dropped.
fn refuse(run: &mut Run, denial: Denial, out: &mut Outbox) {
    if run.refused.is_some() {
        return;
    }
    release(run, out);
    let denial = match &mut run.flight {
        Some(flight) => flight.deny(denial),
        None => denial,
    };
    run.refused = Some(deny::error(&denial));
    run.rows = Some(Rows::Discard);
    out.cancel = true;
}

fn flush_rows(run: &mut Run, out: &mut Outbox) {
    let (Some(rows), Some(flight)) = (&mut run.rows, &mut run.flight) else { return };
    if let Err(denial) = rows.flush(flight, &mut run.tally, &mut out.client) {
        refuse(run, denial, out);
    }
}

fn finish_rows(run: &mut Run, out: &mut Outbox) {
    let (Some(rows), Some(flight)) = (&mut run.rows, &mut run.flight) else { return };
    if let Err(denial) = rows.finish(flight, &mut run.tally, &mut out.client) {
        refuse(run, denial, out);
    }
}

/// Shows the client the completion of an earlier statement.
fn release(run: &mut Run, out: &mut Outbox) {
    if let Some(bytes) = run.completion.take() {
        out.client.push(bytes);
    }
}

async fn record(run: &mut Run) -> Result<(), MachineError> {
    let Some(flight) = run.flight.take() else { return Ok(()) };
    let status = std::mem::take(&mut run.status);
    let (rows, bytes, masked) = (run.tally.rows, run.tally.bytes, run.tally.masked);
    Ok(flight.finish(ResultSummary { rows, bytes, masked, status, failed: run.failed }).await?)
}

fn command_tag(bytes: &[u8]) -> String {
    let mut reader = message::Reader::new(bytes);
    reader.cstr().map_or_else(|_| String::new(), |tag| String::from_utf8_lossy(tag).into_owned())
}
