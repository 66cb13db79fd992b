//! One side of a session: what it sends, and what it is sent.

use std::io;

use bytes::BytesMut;
use sluicegate_metrics::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::{codec::frame::Decoder, machine::Queue};

/// How much is read at once of what comes in bulk.
pub const READ_SIZE: usize = 64 * 1024;
/// How much is read at once otherwise: a session that is idle holds no more.
const SMALL_READ: usize = 8 * 1024;

/// What one side sends.
pub struct Receiving<S> {
    reader: ReadHalf<S>,
    /// Cuts it into messages.
    pub decoder: Decoder,
    /// More is to be read.
    pub hungry: bool,
    /// No whole message is left of what was read.
    pub starved: bool,
    /// How much is read at once now.
    size: usize,
}

/// What one side is sent.
pub struct Sending<S> {
    writer: WriteHalf<S>,
    /// Something was written and not yet flushed.
    dirty: bool,
    /// This direction is to end after what is written.
    ending: bool,
    written: Counter,
}

/// Both directions of a connection. `written` counts the bytes that are sent.
pub fn sides<S: AsyncRead + AsyncWrite>(
    stream: S,
    whole: usize,
    read_ahead: BytesMut,
    written: Counter,
) -> (Receiving<S>, Sending<S>) {
    let (reader, writer) = tokio::io::split(stream);
    let mut decoder = Decoder::new(whole);
    decoder.buffer().unsplit(read_ahead);
    let receiving = Receiving { reader, decoder, hungry: true, starved: true, size: SMALL_READ };
    (receiving, Sending { writer, dirty: false, ending: false, written })
}

/// The connection again.
pub fn unite<S: AsyncRead + AsyncWrite + Unpin>(receiving: Receiving<S>, sending: Sending<S>) -> S {
    receiving.reader.unsplit(sending.writer)
}

impl<S: AsyncRead> Receiving<S> {
    /// Reads more. Cancel-safe.
    pub async fn read(&mut self) -> io::Result<usize> {
        let buffer = self.decoder.buffer();
        if buffer.capacity() - buffer.len() < self.size / 4 {
            buffer.reserve(self.size);
        }
        let room = buffer.capacity() - buffer.len();
        let count = self.reader.read_buf(buffer).await?;
        if count == room {
            self.size = READ_SIZE;
        }
        Ok(count)
    }

    /// Nothing is on its way: the memory that bulk needed is given back.
    pub fn rest(&mut self) {
        self.size = SMALL_READ;
        let buffer = self.decoder.buffer();
        if buffer.is_empty() && buffer.capacity() > SMALL_READ {
            *buffer = BytesMut::new();
        }
    }
}

impl<S: AsyncWrite> Sending<S> {
    /// Whether there is something to write or to flush.
    pub fn has_work(&self, queue: &Queue) -> bool {
        self.dirty || self.ending || !queue.is_empty()
    }

    /// Ends this direction once everything is written.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// Writes some of it, and flushes once that was all, or ends. Cancel-safe.
    pub async fn write(&mut self, queue: &mut Queue) -> io::Result<()> {
        if !queue.is_empty() {
            self.dirty = true;
            let count = self.writer.write_buf(queue).await?;
            self.written.inc_by(count as u64);
        }
        if queue.is_empty() {
            self.writer.flush().await?;
            self.dirty = false;
            if self.ending {
                self.writer.shutdown().await?;
                self.ending = false;
            }
        }
        Ok(())
    }
}
