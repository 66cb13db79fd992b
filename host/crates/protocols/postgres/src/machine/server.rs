//! Messages of the server: which answer they are, and what they confirm. Results and endings have
//! files of their own.

use bytes::Bytes;
use sluicegate_core::Denial;

use super::{
    Machine, MachineError, Outbox, Rest,
    expect::Expect,
    results::{refuse, take_rows},
    rows::Rows,
    settings, whole,
};
use crate::codec::{frame::Frame, message};

impl Machine {
    /// How many rows may be taken at once now; none where the next message must be taken by itself.
    pub fn takes_rows(&self) -> Option<usize> {
        match self.waiting.front() {
            Some(Expect::Query(run) | Expect::Execute(run)) if run.confirmed => run.rows.as_ref().map(Rows::at_once),
            _ => None,
        }
    }

    /// Whether the rest of the large message that the server is sending goes to the client.
    pub fn passes_rest(&self) -> bool {
        self.server_rest == Rest::Forward
    }

    /// Takes `count` rows, as whole messages. Only while [`Machine::takes_rows`], and no more than it says.
    pub fn rows(&mut self, bytes: Bytes, count: usize, out: &mut Outbox) -> Result<(), MachineError> {
        match self.waiting.front_mut() {
            Some(Expect::Query(run) | Expect::Execute(run)) => take_rows(run, bytes, count, out),
            _ => Err(MachineError::ServerTag('D')),
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
                self.parameters.set(name, value);
                out.client.push(bytes);
            }
            b'E' => Box::pin(self.error(bytes, out)).await?,
            b'Z' => self.ready(bytes, out).await?,
            _ => self.answer(tag, bytes, out).await?,
        }
        Ok(())
    }

    /// A row that is too large to be read whole passes only where nobody must look at it.
    fn large(&mut self, tag: u8, bytes: Bytes, out: &mut Outbox) -> Result<(), MachineError> {
        self.server_rest = Rest::Drop;
        let Some(Expect::Query(run) | Expect::Execute(run)) = self.waiting.front_mut() else {
            return Err(MachineError::Large(char::from(tag)));
        };
        match (tag, &run.rows) {
            (b'D' | b'd', Some(Rows::Pass)) if run.confirmed || !run.sees_results() => {
                self.server_rest = Rest::Forward;
                run.tally.rows += 1;
                run.tally.bytes += bytes.len() as u64;
                run.tally.kept.omit();
                out.client.push(bytes);
            }
            (b'D' | b'd', Some(Rows::Discard)) => {}
            (b'D' | b'd', Some(_)) => {
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
                    self.retire(replaced.into_iter().collect()).await?;
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
                    self.described(kind, &name, epoch, shape, out);
                    if !own {
                        out.client.push(bytes);
                    }
                }
            }
            (b'V', Expect::Function(_)) => out.client.push(bytes),
            (b'3', Expect::Again) | (b'1' | b't', Expect::Probe) => {}
            (b'1', Expect::Again) => {
                self.answered();
            }
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
        let Some(Expect::Ask { index, end }) = self.waiting.front_mut() else {
            return Err(MachineError::ServerTag(char::from(tag)));
        };
        let question = *index / 2;
        *index += usize::from(tag == b'3');
        let done = index == end;
        match tag {
            b'D' => {
                let value = settings::answer(bytes).ok_or(MachineError::ServerTag('D'))?;
                if self.settings.answered(question, &value) {
                    // The next text finds that names have moved.
                    self.generation = u64::MAX;
                }
            }
            b'1' | b'2' | b'3' | b'C' => {}
            _ => return Err(MachineError::ServerTag(char::from(tag))),
        }
        if done {
            self.answered();
        }
        Ok(())
    }
}
