//! The extended query protocol: Parse is decided as a preparation, Bind as a command with its
//! parameters, and Execute only runs what Bind was permitted. Source: PostgreSQL manual, "Extended
//! Query".

use std::sync::{Arc, atomic::Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use sluicegate_core::{Denial, ForwardPermit, Halt, Phase, command::Context};

use super::{
    Machine, MachineError, Outbox, Rest,
    commands::{opaque_command, sql_command},
    expect::{self, Expect, Run},
    lookup::Found,
    objects::{Portal, Prepared},
    rows::Tally,
};
use crate::{
    codec::{
        frame::{Frame, HEADER},
        message::{self, Bind, BindNames, ObjectKind, Parse},
    },
    deny,
};

impl Machine {
    pub(super) async fn parse(&mut self, bytes: Bytes, complete: bool, out: &mut Outbox) -> Result<(), MachineError> {
        let decided = if complete {
            let parse = Parse::read(&bytes).map_err(MachineError::Client)?;
            self.decide_parse(&parse).await
        } else {
            Err(Box::pin(self.refuse_large("prepare")).await.into())
        };
        self.open = true;
        match decided {
            Ok((expect, permit)) => {
                // Nothing runs yet: each Bind is decided anew.
                out.forward(permit, bytes);
                self.expect(expect);
            }
            Err(Halt::Suspended) => Box::pin(self.suspend(Frame::Whole { tag: b'P', bytes }, out)).await?,
            Err(Halt::Denied(denial)) => self.deny_extended(deny::error(&denial), deny::parse(), out),
        }
        Ok(())
    }

    async fn decide_parse(&mut self, parse: &Parse<'_>) -> Result<(Expect, ForwardPermit), Halt> {
        let (text, analysis) = match self.recent.find(parse.text) {
            Some(known) => self.understand_again("prepare", &known).await?,
            None => self.understand("prepare", parse.text).await?,
        };
        let settings = self.settings.summary();
        let context = (Context::later(move || settings.to_string()), true);
        let command = sql_command("prepare", Phase::Prepare, Arc::clone(&text), &analysis, Vec::new(), context);
        let refused = self.refused_name(parse.statement).or_else(|| self.refused_text(&analysis));
        if let Some(denial) = refused {
            return Err(Box::pin(self.gate.refuse(command, denial)).await.into());
        }
        let permit = self.decide(command).await?;
        let prepared = self.recent.parsed(Prepared::new(text, parse.types.clone(), false, self.names));
        self.keep_reading(&prepared, &analysis);
        let name = parse.statement.to_owned();
        Ok((Expect::Parse { name, prepared, analysis, segment: self.segment }, permit))
    }

    pub(super) async fn bind(&mut self, bytes: Bytes, complete: bool, out: &mut Outbox) -> Result<(), MachineError> {
        let names = BindNames::read(&bytes).map_err(MachineError::Client)?;
        let prepared = match self.find_statement(names.statement) {
            Found::Later => {
                self.defer(bytes, complete, out);
                return Ok(());
            }
            Found::No => {
                self.open = true;
                let error = deny::unknown(ObjectKind::Statement, names.statement);
                self.deny_extended(error, deny::bind(), out);
                return Ok(());
            }
            Found::Yes(prepared) => prepared,
        };
        let bind = if complete { Some(Bind::read(&bytes).map_err(MachineError::Client)?) } else { None };
        self.parse_again(names.statement, &prepared, out);
        // What is approved is what was sent, but for the names in front.
        let names_end = HEADER + names.portal.len() + names.statement.len() + 2;
        let wire = bytes.slice(names_end.min(bytes.len())..);
        let decided = self.decide_bind(names.portal, &prepared, bind.as_ref(), wire).await;
        self.open = true;
        match decided {
            Ok((mut portal, permit)) => {
                let flight = out.forward(permit, bytes);
                portal.tally.kept.allow(flight.max_output());
                portal.flight = Some(flight);
                self.expect(Expect::Bind { portal: Box::new(portal), segment: self.segment });
            }
            Err(Halt::Suspended) => Box::pin(self.suspend(Frame::Whole { tag: b'B', bytes }, out)).await?,
            Err(Halt::Denied(denial)) => self.deny_extended(deny::error(&denial), deny::bind(), out),
        }
        Ok(())
    }

    /// Code that nobody looked into may have put another statement under this name: the gate puts the
    /// one that it knows there again.
    fn parse_again(&mut self, name: &str, prepared: &Prepared, out: &mut Outbox) {
        let known = prepared.names.swap(self.names, Ordering::Relaxed);
        if known == self.names || name.is_empty() || prepared.by_sql || !self.gate.is_governed() {
            return;
        }
        let mut messages = BytesMut::new();
        message::put(&mut messages, b'C', |out| {
            out.put_u8(b'S');
            message::put_cstr(out, name.as_bytes());
        });
        message::put(&mut messages, b'P', |out| {
            message::put_cstr(out, name.as_bytes());
            message::put_cstr(out, prepared.text.as_bytes());
            out.put_u16(u16::try_from(prepared.chosen_types.len()).unwrap_or(u16::MAX));
            prepared.chosen_types.iter().for_each(|oid| out.put_u32(*oid));
        });
        self.open = true;
        out.own(messages.freeze());
        self.expect(Expect::Again);
    }

    async fn decide_bind(
        &mut self,
        name: &str,
        prepared: &Arc<Prepared>,
        bind: Option<&Bind<'_>>,
        wire: Bytes,
    ) -> Result<(Portal, ForwardPermit), Halt> {
        let (mut command, mut analysis) = self.bind_command(prepared, bind, wire.clone()).await?;
        let covered = self.gate.remembers(&command);
        if covered {
            self.shared.catalogs.invalidate();
            (command, analysis) = Box::pin(self.bind_command(prepared, bind, wire)).await?;
        }
        if let Some(denial) = self.refused_name(name) {
            return Err(Box::pin(self.gate.refuse(command, denial)).await.into());
        }
        let approved_in = (covered || self.is_suspended()).then(|| self.settings.summary());
        let permit = self.decide(command).await?;
        // The result formats of a Bind that is too large to be read stand at its end, unseen.
        if bind.is_none() && permit.sees_results() && expect::has_rows(&analysis) {
            let denial =
                Denial::gate("the parameters are too large for a statement whose result is masked; send less at once");
            return Err(Box::pin(self.record_refused(permit.give_up(), denial)).await.into());
        }
        let portal = Portal {
            name: name.to_owned(),
            analysis,
            prepared: Arc::clone(prepared),
            formats: bind.map_or_else(Vec::new, |bind| bind.results.clone()),
            shape: None,
            flight: None,
            rows: None,
            decided: None,
            generation: self.generation,
            approved_in,
            tally: Tally::default(),
        };
        Ok((portal, permit))
    }

    pub(super) async fn execute(&mut self, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
        let (name, _) = message::execute(&bytes).map_err(MachineError::Client)?;
        let name = name.to_owned();
        match self.find_portal(&name) {
            Found::Later => {
                self.defer(bytes, true, out);
                return Ok(());
            }
            Found::No => {
                self.open = true;
                let error = if self.objects.is_cursor(&name) {
                    let reason = "a cursor of DECLARE is read by FETCH through this gateway, not by Execute";
                    let command = opaque_command("execute", "(of a cursor)");
                    deny::error(&Box::pin(self.gate.refuse(command, Denial::gate(reason))).await)
                } else {
                    deny::unknown(ObjectKind::Portal, &name)
                };
                self.deny_extended(error, deny::execute(), out);
                return Ok(());
            }
            Found::Yes(()) => {}
        }
        // It may be all that is sent before the Sync, and must be flushed then as any other.
        self.open = true;
        if self.must_describe(&name, out) {
            self.defer(bytes, true, out);
            return Ok(());
        }
        let decided = match self.left_approval(&name) {
            Some(denial) => Err(denial),
            None => self.decide_rows(&name).await,
        };
        let changed = self.settings.changed_in_transaction;
        let layout = self.portal_layout(&name);
        let Some(portal) = self.pending_portal(&name) else { return Ok(()) };
        match decided {
            Ok(refusable) => {
                let blocks = refusable || portal.analysis.statements.iter().any(|s| expect::blocks(s, changed));
                let text = Arc::clone(&portal.prepared.text);
                let mut run = Run::new(Arc::clone(&portal.analysis), text, portal.generation, blocks);
                (run.flight, run.rows) = (portal.flight.take(), portal.rows.take());
                run.decided = portal.decided.take();
                run.tally = std::mem::take(&mut portal.tally);
                if let Some(layout) = layout.filter(|_| expect::has_rows(&run.analysis)) {
                    run.tally.kept.begin(layout);
                }
                run.portal = name;
                self.runs(&run.analysis);
                self.expect(Expect::Execute(Box::new(run)));
                self.ran = true;
                out.accompany(bytes);
            }
            Err(denial) => {
                let denial = match portal.flight.take() {
                    Some(flight) => Box::pin(self.record_refused(flight, denial)).await,
                    None => denial,
                };
                self.deny_extended(deny::error(&denial), deny::execute(), out);
            }
        }
        Ok(())
    }

    /// Why a portal that was approved may not run: the settings are others than those it was approved with.
    fn left_approval(&mut self, name: &str) -> Option<Denial> {
        let settings = self.settings.summary();
        let approved_in = self.pending_portal(name)?.approved_in.as_ref()?;
        (*approved_in != settings).then(|| {
            Denial::gate("it was approved, and settings have changed since; bind it again to have it approved")
        })
    }

    pub(super) fn describe(&mut self, bytes: Bytes, complete: bool, out: &mut Outbox) -> Result<(), MachineError> {
        if !complete {
            return Err(MachineError::ClientTag('D'));
        }
        let (kind, name) = message::object(&bytes).map_err(MachineError::Client)?;
        self.open = true;
        self.expect(Expect::Describe { kind, name: name.to_owned(), own: false, epoch: self.epoch });
        out.accompany(bytes);
        Ok(())
    }

    pub(super) fn close_object(&mut self, bytes: Bytes, complete: bool, out: &mut Outbox) -> Result<(), MachineError> {
        if !complete {
            return Err(MachineError::ClientTag('C'));
        }
        let (kind, name) = message::object(&bytes).map_err(MachineError::Client)?;
        self.open = true;
        self.expect(Expect::Close { kind, name: name.to_owned(), segment: self.segment });
        out.accompany(bytes);
        Ok(())
    }

    /// Sends what the server will reject, and remembers what the client gets instead of its error.
    /// The server then ignores everything until Sync, and so does the gate.
    pub(super) fn deny_extended(&mut self, error: Bytes, rejected: Bytes, out: &mut Outbox) {
        self.expect(Expect::Denied { error: Some(error), query: false });
        out.own(rejected);
        self.skipping = true;
        self.client_rest = Rest::Drop;
    }

    fn defer(&mut self, bytes: Bytes, complete: bool, out: &mut Outbox) {
        let tag = bytes.first().copied().unwrap_or_default();
        self.deferred = Some(if complete { Frame::Whole { tag, bytes } } else { Frame::Head { tag, bytes } });
        self.flush(out);
    }
}
