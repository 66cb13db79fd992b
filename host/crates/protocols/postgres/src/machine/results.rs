//! The results that flow: rows to the client as the policies decided, completions once they are
//! recorded, and what a completed statement did to names and settings.

use std::sync::Arc;

use bytes::Bytes;
use sluicegate_core::Denial;
use sluicegate_sql::Effect;

use super::{
    Machine, MachineError, Outbox,
    expect::{Expect, Run},
    objects::{Analysed, Decided},
    output::Layout,
    rows::Rows,
};
use crate::{
    codec::{frame::HEADER, message},
    deny,
};

impl Machine {
    /// A message of the result that flows.
    pub(super) async fn result(&mut self, tag: u8, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
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
            self.end_execute(run, tag, out).await?;
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
        if !refused
            && !run.confirmed
            && matches!(tag, b'D' | b'H')
            && let Err(denial) = self.confirm(run).await
        {
            refuse(run, denial, out);
        }
        match tag {
            b'T' if simple && run.refused.is_some() => {}
            b'T' if simple => {
                let fields = message::row_description(&bytes).map_err(MachineError::Server)?;
                match self.decide_described(run, &fields).await {
                    Ok((rows, decided)) => {
                        run.generation = decided.as_ref().map_or(run.generation, |decided| decided.generation);
                        (run.rows, run.decided) = (Some(rows), decided);
                    }
                    Err(denial) => refuse(run, denial, out),
                }
                if run.refused.is_none() {
                    let layout = self.layout(&fields, |_, field| field.format, &run.analysis, run.decided.as_ref());
                    run.tally.kept.begin(layout);
                    out.client.push(bytes);
                }
            }
            b'D' | b'd' => {
                take_rows(run, bytes, 1, out)?;
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
                    // The first byte of the body is the format of all.
                    let binary = bytes.get(HEADER) != Some(&0);
                    let layout = Layout::lines(binary, run.tally.kept.hides_lines);
                    run.tally.kept.begin(layout);
                    out.client.push(bytes);
                }
            }
            b'G' => {
                self.copy_in = true;
                out.client.push(bytes);
            }
            b'C' | b'I' | b's' => {
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

    async fn decide_described(
        &mut self,
        run: &mut Run,
        fields: &[message::Field],
    ) -> Result<(Rows, Option<Decided>), Denial> {
        let Some(mut flight) = run.flight.take() else {
            return Err(Denial::gate("a result came that nobody waits for"));
        };
        let analysed =
            Analysed { text: Arc::clone(&run.text), analysis: Arc::clone(&run.analysis), generation: run.generation };
        let decided = self.decide_result(run.statement, fields, |_, field| field.format, &analysed, &mut flight).await;
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
            None if !run.sees_results() => run.rows = Some(Rows::Pass),
            None if matches!(run.rows, Some(Rows::Pass | Rows::Copy(_))) => {}
            None => refuse(run, Denial::gate("the columns of this COPY are not known, so it cannot be masked"), out),
        }
    }

    /// A statement completed: what it does to names and settings is true now.
    async fn completed(&mut self, run: &mut Run, tag: u8, bytes: &[u8]) -> Result<(), MachineError> {
        self.copy_in = false;
        let analysis = Arc::clone(&run.analysis);
        let statement = analysis.statements.get(run.statement).filter(|_| tag != b'I');
        if analysis.statements.is_empty() && tag != b'I' {
            // Nobody knows what an unanalysable text did.
            self.ran(true, true);
        }
        if let Some(statement) = statement {
            let ends = statement.effect == Effect::EndTransaction;
            self.ran(statement.settings_may_change && !ends, statement.names_may_change);
            self.settings.stale |= ends && self.settings.changed_in_transaction;
        }
        if tag == b's' {
            return Ok(());
        }
        let status = if tag == b'I' { String::new() } else { command_tag(bytes) };
        if !status.is_empty() {
            run.status = status;
        }
        if let Some(statement) = statement {
            self.apply(&statement.effect).await?;
        }
        run.statement += 1;
        run.confirmed = false;
        run.rows = run.refused.is_some().then_some(Rows::Discard);
        Ok(())
    }

    /// What ran, wholly or in part, may have changed settings, or names.
    fn ran(&mut self, settings: bool, names: bool) {
        if settings || names {
            (self.settings.stale, self.settings.changed_in_transaction) = (true, true);
        }
        if names {
            self.names += 1;
            if self.gate.is_governed() {
                self.objects.names_may_have_changed();
            }
        }
    }

    async fn apply(&mut self, effect: &Effect) -> Result<(), MachineError> {
        let portals = match effect {
            Effect::None => return Ok(()),
            Effect::Prepare { name, body } => {
                self.objects.prepared_by_sql(name.clone(), Arc::clone(body), self.names);
                return Ok(());
            }
            Effect::DeclareCursor { name, body } => {
                self.objects.declared(name.clone(), Arc::clone(body));
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
    async fn end_execute(&mut self, mut run: Box<Run>, tag: u8, out: &mut Outbox) -> Result<(), MachineError> {
        if let Some(error) = run.refused.take() {
            if !run.blocks {
                // What the client sent after it has run already, in a transaction that should have failed.
                return Err(MachineError::Moved);
            }
            // The cancel came too late. The server must fail here all the same, so that it and the
            // client agree about the transaction.
            run.failed = true;
            record(&mut run).await?;
            self.waiting.push_front(Expect::Denied { error: Some(error), query: false });
            out.own(deny::execute());
            self.flushed = false;
            self.flush(out);
            return Ok(());
        }
        let completion = run.completion.take();
        if tag == b's'
            && let Some(portal) = self.objects.portal(&run.portal)
        {
            (portal.flight, portal.rows) = (run.flight.take(), run.rows.take());
            portal.tally = std::mem::take(&mut run.tally);
        }
        record(&mut run).await?;
        if let Some(bytes) = completion {
            out.client.push(bytes);
        }
        Ok(())
    }
}

/// Refuses the rest of a result: what the server still sends of it is dropped.
pub(super) fn refuse(run: &mut Run, denial: Denial, out: &mut Outbox) {
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

/// Takes whole messages of rows, `count` of them.
pub(super) fn take_rows(run: &mut Run, bytes: Bytes, count: usize, out: &mut Outbox) -> Result<(), MachineError> {
    let (Some(rows), Some(flight)) = (&mut run.rows, &mut run.flight) else {
        return Err(MachineError::ServerTag(bytes.first().copied().map_or('D', char::from)));
    };
    if let Err(denial) = rows.take(bytes, count, flight, &mut run.tally, &mut out.client) {
        refuse(run, denial, out);
    }
    Ok(())
}

/// The end of COPY data: nothing incomplete may be left.
fn finish_rows(run: &mut Run, out: &mut Outbox) {
    if let Some(Err(denial)) = run.rows.as_ref().map(Rows::finish) {
        refuse(run, denial, out);
    }
}

/// Shows the client the completion of an earlier statement.
pub(super) fn release(run: &mut Run, out: &mut Outbox) {
    if let Some(bytes) = run.completion.take() {
        out.client.push(bytes);
    }
}

pub(super) async fn record(run: &mut Run) -> Result<(), MachineError> {
    let Some(flight) = run.flight.take() else { return Ok(()) };
    let status = std::mem::take(&mut run.status);
    let tally = std::mem::take(&mut run.tally);
    Ok(flight.finish(tally.summary(status, run.failed)).await?)
}

fn command_tag(bytes: &[u8]) -> String {
    let mut reader = message::Reader::new(bytes);
    reader.cstr().map_or_else(|_| String::new(), |tag| String::from_utf8_lossy(tag).into_owned())
}
