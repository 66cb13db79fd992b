//! A write that returns rows, or a call of a user's function, must not run before its result is
//! decided: a refusal that comes with the first row would come too late. In the simple protocol the
//! gate therefore has the server describe such a statement first, and forwards the Query only then.

use bytes::{BufMut, Bytes, BytesMut};
use sluicegate_core::{Denial, InFlight, sql::Classes};
use sluicegate_sql::{Outputs, Statement};

use super::{
    Machine, MachineError, Outbox,
    expect::{Expect, Run},
    objects::Shape,
};
use crate::{
    codec::message::{put, put_cstr},
    deny,
};

/// The gate's own statement; clients cannot use names that begin so.
const NAME: &[u8] = b"sluicegate: probe";

/// A decided Query whose result is being described.
pub struct Probe {
    run: Run,
    bytes: Bytes,
    shape: Option<Shape>,
}

/// Whether the text writes, or calls functions that may, returns rows, and somebody looks at them.
pub fn must_probe(run: &Run) -> bool {
    let returns = |statement: &Statement| statement.outputs != Outputs::None && statement.copy.is_none();
    let facts = &run.analysis.facts;
    let writes = facts.classes.contains(Classes::DML) || facts.functions.iter().any(|function| !function.builtin);
    run.flight.as_ref().is_some_and(InFlight::sees_results) && writes && run.analysis.statements.iter().any(returns)
}

impl Machine {
    /// Why a Query that must be described cannot be.
    pub(super) fn refuses_probe(&self, run: &Run) -> Option<Denial> {
        if !must_probe(run) {
            None
        } else if self.open {
            Some(Denial::gate("end the extended query with Sync before a write that returns rows"))
        } else if run.analysis.statements.len() > 1 {
            let reason = "a write or a function that returns rows must be sent alone, so that its result is decided before it runs";
            Some(Denial::gate(reason))
        } else {
            None
        }
    }

    /// Has the server describe the statement of a decided Query. The Query follows when it is known.
    pub(super) fn probe(&mut self, run: Run, bytes: Bytes, out: &mut Outbox) {
        out.server.push(describe(&run.text));
        self.expect(Expect::Probe);
        self.expect(Expect::Sync { own: true });
        self.probing = Some(Probe { run, bytes, shape: None });
    }

    /// The server described it.
    pub(super) fn probed(&mut self, shape: Shape) {
        if let Some(probe) = &mut self.probing {
            probe.shape = Some(shape);
        }
    }

    /// The server is ready again: the Query is decided for its result and forwarded. If it could not
    /// be described, it will fail in the same way when it runs.
    pub(super) async fn end_probe(&mut self, out: &mut Outbox) -> Result<(), MachineError> {
        let Some(Probe { mut run, bytes, shape }) = self.probing.take() else { return Ok(()) };
        if let (Some(Some(fields)), Some(mut flight)) = (shape, run.flight.take()) {
            let analysis = std::sync::Arc::clone(&run.analysis);
            let decided = self.decide_result(0, &fields, |_, field| field.format, &analysis, &mut flight).await;
            if let Err(denial) = decided {
                let denial = self.record_refused(flight, denial).await;
                self.expect(Expect::Denied { error: Some(deny::error(&denial)), query: true });
                out.server.push(deny::query());
                return Ok(());
            }
            run.flight = Some(flight);
        }
        self.forward_query(run, bytes, out);
        Ok(())
    }
}

fn describe(text: &str) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, b'P', |out| {
        put_cstr(out, NAME);
        put_cstr(out, text.as_bytes());
        out.put_u16(0);
    });
    for tag in [b'D', b'C'] {
        put(&mut out, tag, |out| {
            out.put_u8(b'S');
            put_cstr(out, NAME);
        });
    }
    put(&mut out, b'S', |_| {});
    out.freeze()
}
