//! A write that returns rows, or a call of a user's function, must not run before its result is
//! decided: a refusal that comes with the first row would come too late. In the simple protocol the
//! gate therefore has the server describe such a statement first, and forwards the Query only then.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use sluicegate_core::{Denial, InFlight, sql::Classes};
use sluicegate_sql::{Outputs, Statement};

use super::{
    Machine, MachineError, Outbox,
    expect::{Expect, Permitted},
    objects::{Analysed, Shape},
};
use crate::codec::message::{put, put_cstr};

/// The gate's own statement; clients cannot use names that begin so.
const NAME: &[u8] = b"sluicegate: probe";

/// A permitted Query whose result is being described.
pub struct Probe {
    permitted: Permitted,
    bytes: Bytes,
    shape: Option<Shape>,
}

impl Probe {
    /// The session ended before it was described.
    pub fn give_up(self) -> InFlight {
        self.permitted.permit.give_up()
    }
}

/// Whether the text writes, or calls functions that may, returns rows, and somebody looks at them.
pub fn must_probe(permitted: &Permitted) -> bool {
    let analysis = &permitted.run.analysis;
    let returns = |statement: &Statement| statement.outputs != Outputs::None && statement.copy.is_none();
    let calls = analysis.facts.functions.iter().any(|function| !function.builtin);
    permitted.permit.sees_results()
        && (calls || analysis.facts.classes.contains(Classes::DML))
        && analysis.statements.iter().any(returns)
}

impl Machine {
    /// Why a Query that must be described cannot be.
    pub(super) fn refuses_probe(&self, permitted: &Permitted) -> Option<Denial> {
        if !must_probe(permitted) {
            None
        } else if self.open {
            Some(Denial::gate("end the extended query with Sync before a write that returns rows"))
        } else if permitted.run.analysis.statements.len() > 1 {
            let reason = "a write or a function that returns rows must be sent alone, so that its result is decided before it runs";
            Some(Denial::gate(reason))
        } else {
            None
        }
    }

    /// Has the server describe the statement of a permitted Query. The Query follows when it is known.
    pub(super) fn probe(&mut self, mut permitted: Permitted, bytes: Bytes, out: &mut Outbox) {
        permitted.permit.asks_first();
        out.own(describe(&permitted.run.text));
        self.expect(Expect::Probe);
        self.expect(Expect::Sync { own: true });
        self.probing = Some(Probe { permitted, bytes, shape: None });
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
        let Some(Probe { mut permitted, bytes, shape }) = self.probing.take() else { return Ok(()) };
        if let Some(Some(fields)) = shape {
            let run = &permitted.run;
            let analysed = Analysed {
                text: Arc::clone(&run.text),
                analysis: Arc::clone(&run.analysis),
                generation: run.generation,
            };
            let flight = permitted.permit.flight();
            let decided = self.decide_result(0, &fields, |_, field| field.format, &analysed, flight).await;
            if let Err(denial) = decided {
                let denial = Box::pin(self.record_refused(permitted.permit.give_up(), denial)).await;
                self.deny_query(&denial, out);
                return Ok(());
            }
        }
        self.forward_query(permitted, bytes, out);
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
