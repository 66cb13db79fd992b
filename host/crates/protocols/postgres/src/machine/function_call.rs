//! FunctionCall, the protocol's way to call a function by its number. Source: PostgreSQL manual,
//! "Function Call".

use std::sync::Arc;

use bytes::Bytes;
use sluicegate_core::{Command, Denial, ForwardPermit, Halt, command::Parameter};

use super::{Machine, MachineError, Outbox, Pending, commands::opaque_command, expect::Expect};
use crate::codec::{
    frame::{Frame, HEADER},
    message::{self, FunctionCall},
};

impl Machine {
    /// FunctionCall names a function by its number and sends back raw bytes that no policy can look
    /// at: it passes only where an enforced policy decides on it, and none wants to see results.
    pub(super) async fn function_call(
        &mut self,
        bytes: Bytes,
        complete: bool,
        out: &mut Outbox,
    ) -> Result<(), MachineError> {
        self.segment += 1;
        let decided = if complete {
            let call = FunctionCall::read(&bytes).map_err(MachineError::Client)?;
            self.decide_function_call(&call, bytes.slice(HEADER.min(bytes.len())..)).await
        } else {
            Err(self.refuse_large("function-call").await.into())
        };
        match decided {
            Ok(permit) => {
                (self.ran, self.unseen) = (false, true);
                self.catalog_pending.get_or_insert_with(|| Pending::new(&self.shared));
                let flight = out.forward(permit, bytes);
                self.expect(Expect::Function(Some(flight)));
            }
            Err(Halt::Suspended) => self.suspend(Frame::Whole { tag: b'F', bytes }, out).await?,
            Err(Halt::Denied(denial)) => self.deny_query(&denial, out),
        }
        Ok(())
    }

    async fn decide_function_call(&mut self, call: &FunctionCall<'_>, wire: Bytes) -> Result<ForwardPermit, Halt> {
        let mut command = self.function_command(call, wire.clone()).await?;
        if self.gate.remembers(&command) {
            self.shared.catalogs.invalidate();
            command = self.function_command(call, wire).await?;
        }
        if !self.gate.decides_commands() {
            let reason = "function calls by number are refused unless a policy allows them; call the function in SQL";
            return Err(Box::pin(self.gate.refuse(command, Denial::gate(reason))).await.into());
        }
        let permit = self.decide(command).await?;
        if permit.sees_results() {
            let reason = "the result of a function call by number cannot be looked at; call the function in SQL";
            return Err(Box::pin(self.record_refused(permit.give_up(), Denial::gate(reason))).await.into());
        }
        Ok(permit)
    }

    async fn function_command(&mut self, call: &FunctionCall<'_>, wire: Bytes) -> Result<Command, Denial> {
        self.catalog().await?;
        let argument = |(index, value): (usize, &Option<&[u8]>)| self.argument(call, index, *value);
        let parameters = call.arguments.iter().enumerate().map(argument).collect();
        let command = opaque_command("function-call", &format!("(call of function {})", call.function));
        let mut context = self.settings.summary().to_string();
        if let Some(facts) = &command.sql {
            self.dialled().say(facts, &mut context);
        }
        Ok(Command { parameters, wire, context: context.as_str().into(), ..command })
    }

    /// An argument; the types are known to the server alone.
    fn argument(&self, call: &FunctionCall<'_>, index: usize, value: Option<&[u8]>) -> Parameter {
        let Some(value) = value else { return Parameter::Null };
        match (message::format_code(&call.formats, index), std::str::from_utf8(value)) {
            (0, Ok(text)) if self.settings.can_read(text) => Parameter::Text(Arc::from(text)),
            _ => Parameter::Opaque(Arc::from(value)),
        }
    }
}
