//! How answers end: errors and what the server skips after them, ReadyForQuery, and the end of
//! transactions, names and portals.

use bytes::Bytes;
use sluicegate_core::ResultSummary;

use super::{
    Machine, MachineError, Outbox, Status,
    expect::Expect,
    objects::Portal,
    results::{record, release},
};
use crate::{
    codec::{
        message::{self, ObjectKind},
        text,
    },
    deny,
};

impl Machine {
    pub(super) async fn error(&mut self, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
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
                (run.failed, run.status) = (true, code);
                out.client.push(run.refused.take().unwrap_or(shown));
                record(run).await?;
            }
            Some(_) => out.client.push(shown),
        }
        Box::pin(self.skip_to_sync()).await
    }

    /// What the client sees of an error or a notice: where masks apply, no values.
    pub(super) fn shown(&self, bytes: &Bytes, fields: &[(u8, &[u8])]) -> Bytes {
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
                // What the gate asked or put right there, the server has not read: it is still to be done.
                Some(Expect::Ask { .. }) => {
                    self.settings.stale = true;
                    self.answered();
                }
                Some(Expect::Again) => {
                    self.names += 1;
                    self.answered();
                }
                Some(_) => {
                    if let Some((flight, tally)) = self.answered().and_then(Expect::into_flight) {
                        flight.finish(tally.summary("skipped after an error".into(), true)).await?;
                    }
                }
            }
        }
    }

    pub(super) async fn ready(&mut self, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
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
            Some(Expect::Sync { own: true }) => Box::pin(self.end_probe(out)).await?,
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
                        out.own(deny::query());
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
        if self.waiting.is_empty() {
            self.settings.surroundings.reported(self.status == Status::Idle);
        }
        Ok(())
    }

    async fn transaction_ended(&mut self) -> Result<(), MachineError> {
        if std::mem::take(&mut self.settings.changed_in_transaction) {
            self.settings.stale = true;
        }
        if let Some(pending) = self.catalog_pending.take() {
            self.shared.catalogs.invalidate();
            (self.generation, self.new_code) = (u64::MAX, false);
            // Only now may other sessions rely on the cache again.
            drop(pending);
        }
        let portals = self.objects.transaction_ended();
        self.retire(portals).await
    }

    pub(super) async fn closed(&mut self, kind: ObjectKind, name: &str) -> Result<(), MachineError> {
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
    pub(super) async fn retire(&mut self, portals: Vec<Portal>) -> Result<(), MachineError> {
        for portal in portals {
            // One that ran to its end has none.
            if portal.flight.is_some() {
                Box::pin(retired(portal)).await?;
            }
        }
        Ok(())
    }
}

async fn retired(portal: Portal) -> Result<(), MachineError> {
    let Some(flight) = portal.flight else { return Ok(()) };
    let status = if portal.tally.rows > 0 { "closed before its end" } else { "not run" };
    Ok(flight.finish(portal.tally.summary(status.into(), false)).await?)
}
