//! One side of a session: what it sends, and what it is sent.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use sluicegate_metrics::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{codec::frame::Decoder, machine::Queue};

/// How much is read at once of what comes in bulk.
pub const READ_SIZE: usize = 64 * 1024;
/// How much is read at once otherwise: a session that is idle holds no more.
const SMALL_READ: usize = 8 * 1024;

/// A connection to one side.
pub struct Side<S> {
    stream: S,
    /// Cuts what it sends into messages.
    pub decoder: Decoder,
    /// More is to be read.
    pub hungry: bool,
    /// No whole message is left of what was read.
    pub starved: bool,
    /// How much is read at once now.
    size: usize,
    /// Something was written and not yet flushed.
    dirty: bool,
    /// This direction is to end after what is written.
    ending: bool,
    written: Counter,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    /// A side whose messages of up to `whole` bytes are read whole. `written` counts the bytes that it is sent.
    pub fn new(stream: S, whole: usize, read_ahead: BytesMut, written: Counter) -> Self {
        let mut decoder = Decoder::new(whole);
        decoder.buffer().unsplit(read_ahead);
        Self { stream, decoder, hungry: true, starved: true, size: SMALL_READ, dirty: false, ending: false, written }
    }

    /// Reads more.
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let buffer = self.decoder.buffer();
        if buffer.capacity() - buffer.len() < self.size / 4 {
            buffer.reserve(self.size);
        }
        let room = buffer.capacity() - buffer.len();
        let count = ready!(pin!(self.stream.read_buf(buffer)).poll(context))?;
        if count == room {
            self.size = READ_SIZE;
        }
        Poll::Ready(Ok(count))
    }

    /// Nothing is on its way: the memory that bulk needed is given back.
    pub fn rest(&mut self) {
        self.size = SMALL_READ;
        let buffer = self.decoder.buffer();
        if buffer.is_empty() && buffer.capacity() > SMALL_READ {
            *buffer = BytesMut::new();
        }
    }

    /// Whether there is something to write or to flush.
    pub fn has_work(&self, queue: &Queue) -> bool {
        self.dirty || self.ending || !queue.is_empty()
    }

    /// Ends this direction once everything is written.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// Writes some of it, and flushes once that was all, or ends.
    pub fn poll_write(&mut self, context: &mut Context<'_>, queue: &mut Queue) -> Poll<io::Result<()>> {
        if !queue.is_empty() {
            self.dirty = true;
            let count = ready!(pin!(self.stream.write_buf(queue)).poll(context))?;
            self.written.inc_by(count as u64);
        }
        if queue.is_empty() {
            ready!(pin!(self.stream.flush()).poll(context))?;
            self.dirty = false;
            if self.ending {
                ready!(pin!(self.stream.shutdown()).poll(context))?;
                self.ending = false;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The same, once it can. Cancel-safe.
    pub async fn write(&mut self, queue: &mut Queue) -> io::Result<()> {
        poll_fn(|context| self.poll_write(context, queue)).await
    }

    /// The connection again.
    pub fn into_stream(self) -> S {
        self.stream
    }
}
