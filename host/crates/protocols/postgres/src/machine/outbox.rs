//! What is to be written to either side, in order, without copying what is large.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use sluicegate_core::{ForwardPermit, InFlight};

/// Pieces smaller than this are copied together, so that many small messages make one write.
const SMALL: usize = 1024;
/// So much memory is kept while nothing waits.
const SMALL_TAIL: usize = 8 * 1024;

/// Bytes on their way to one side. Reading it as a [`Buf`] takes them out.
#[derive(Debug, Default)]
pub struct Queue {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    size: usize,
}

impl Queue {
    /// Adds bytes.
    pub fn push(&mut self, bytes: Bytes) {
        self.size += bytes.len();
        if bytes.len() < SMALL {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.seal();
            self.pieces.push_back(bytes);
        }
    }

    /// Adds what `write` appends.
    pub fn write(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.size += self.tail.len() - before;
        if self.tail.len() >= 64 * 1024 {
            self.seal();
        }
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Gives back memory that a large result needed.
    pub fn rest(&mut self) {
        if self.size == 0 && self.tail.capacity() > SMALL_TAIL {
            self.tail = BytesMut::new();
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

impl Buf for Queue {
    fn remaining(&self) -> usize {
        self.size
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&*self.tail, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.pieces.iter().map(|piece| &**piece).chain(std::iter::once(&*self.tail));
        let mut count = 0;
        for (slot, chunk) in slices.iter_mut().zip(chunks.filter(|chunk| !chunk.is_empty())) {
            *slot = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        self.size = self.size.saturating_sub(count);
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
        self.tail.advance(count.min(self.tail.len()));
    }
}

/// What the machine wants done.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Bytes for the client.
    pub client: Queue,
    /// Bytes for the server. What runs there gets in by [`Outbox::forward`] alone.
    server: Queue,
    /// Cancel what the server runs.
    pub cancel: bool,
    /// The client said goodbye, or the session cannot go on.
    pub close: Option<String>,
    /// The client said goodbye, and the server was not told: it may serve another session.
    pub keep: bool,
}

impl Outbox {
    /// Sends on the message that this permit was given for.
    pub fn forward(&mut self, permit: ForwardPermit, bytes: Bytes) -> InFlight {
        self.server.push(bytes);
        permit.redeem()
    }

    /// Sends on a message that runs nothing by itself: Execute of a portal whose Bind was permitted,
    /// Describe, Close, Flush, Sync, the data of a permitted COPY, and the rest of a large message
    /// whose beginning was sent on.
    pub fn accompany(&mut self, bytes: Bytes) {
        self.server.push(bytes);
    }

    /// Sends a message of the gate's own, which holds no statement of the client's that could run.
    pub fn own(&mut self, bytes: Bytes) {
        self.server.push(bytes);
    }

    /// How many bytes wait for the server.
    pub fn waits_for_server(&self) -> usize {
        self.server.len()
    }

    /// Both directions, to be written.
    pub fn queues(&mut self) -> (&mut Queue, &mut Queue) {
        (&mut self.client, &mut self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_order() {
        let mut queue = Queue::default();
        let mut expected = Vec::new();
        for size in [3_usize, 2000, 5, 7, 4096, 1] {
            let piece = vec![u8::try_from(size % 251).unwrap(); size];
            expected.extend_from_slice(&piece);
            queue.push(Bytes::from(piece));
        }
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = queue.chunks_vectored(&mut slices);
        assert_eq!(slices[..filled].iter().map(|s| s.len()).sum::<usize>(), expected.len());
        let mut found = Vec::new();
        while queue.has_remaining() {
            let size = queue.chunk().len().min(700);
            found.extend_from_slice(&queue.chunk()[..size]);
            queue.advance(size);
        }
        assert_eq!(found, expected);
        assert!(queue.is_empty());
    }
}
