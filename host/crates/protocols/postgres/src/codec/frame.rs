//! Splits a byte stream into protocol messages. A message that is larger than the bound is handed
//! out piece by piece, so that nobody has to buffer it; rows are handed out many at once, as one slice.

use bytes::{Bytes, BytesMut};

/// Tag and length of a message.
pub const HEADER: usize = 5;

/// DataRow, and CopyData, of which the server sends one a row.
const ROWS: [u8; 2] = *b"Dd";

/// How much of a large message is handed out first: enough for the names in a Bind.
const HEAD: usize = 8 * 1024;

/// The largest message that PostgreSQL itself accepts: 1 GiB.
const MAX_MESSAGE: usize = 0x3fff_ffff;

/// A message, or a piece of a large one. The bytes include the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A whole message.
    Whole {
        /// Its type.
        tag: u8,
        /// Header and body.
        bytes: Bytes,
    },
    /// The beginning of a large message; at least the header and the first bytes of its body.
    Head {
        /// Its type.
        tag: u8,
        /// Header and the first bytes of the body.
        bytes: Bytes,
    },
    /// More of the large message that a `Head` began.
    Part {
        /// The bytes.
        bytes: Bytes,
        /// Whether the message ends with them.
        last: bool,
    },
}

/// The stream is not the PostgreSQL protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of type {tag:#04x} claims a length of {length} bytes, which the protocol does not allow")]
pub struct FrameError {
    /// The message's type.
    pub tag: u8,
    /// The length it claims.
    pub length: u32,
}

/// Splits a stream.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    whole: usize,
    remaining: usize,
}

impl Decoder {
    /// A decoder that buffers messages of up to `whole` bytes, and hands out larger ones in pieces.
    pub fn new(whole: usize) -> Self {
        Self { buffer: BytesMut::new(), whole: whole.max(HEAD), remaining: 0 }
    }

    /// Where received bytes are put.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// How many received bytes have not been handed out.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a large message was begun and has not ended.
    pub fn is_inside(&self) -> bool {
        self.remaining > 0
    }

    /// The next message or piece; none until more bytes are received.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.remaining > 0 {
            return Ok(self.part());
        }
        let Some((tag, total)) = header(&self.buffer)? else { return Ok(None) };
        if total <= self.buffer.len() && total <= self.whole {
            return Ok(Some(Frame::Whole { tag, bytes: self.buffer.split_to(total).freeze() }));
        }
        if total <= self.whole {
            return Ok(None);
        }
        if self.buffer.len() < HEAD {
            return Ok(None);
        }
        let head = self.buffer.len().min(total - 1);
        self.remaining = total - head;
        Ok(Some(Frame::Head { tag, bytes: self.buffer.split_to(head).freeze() }))
    }

    /// The rows that stand next in the buffer, at most `most` of them and all of one type, as one slice, and
    /// how many they are. None where the next message is no row or incomplete.
    pub fn rows(&mut self, most: usize) -> Result<Option<(Bytes, usize)>, FrameError> {
        let Some(&tag) = self.buffer.first().filter(|tag| self.remaining == 0 && ROWS.contains(tag)) else {
            return Ok(None);
        };
        let (mut end, mut count) = (0, 0);
        while count < most
            && let Some((found, total)) = header(self.buffer.get(end..).unwrap_or_default())?
            && found == tag
            && total <= self.whole
            && end + total <= self.buffer.len()
        {
            end += total;
            count += 1;
        }
        Ok((count > 0).then(|| (self.buffer.split_to(end).freeze(), count)))
    }

    fn part(&mut self) -> Option<Frame> {
        if self.buffer.is_empty() {
            return None;
        }
        let size = self.buffer.len().min(self.remaining);
        self.remaining -= size;
        Some(Frame::Part { bytes: self.buffer.split_to(size).freeze(), last: self.remaining == 0 })
    }
}

/// The messages in `bytes`, which holds whole ones alone, headers included.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (_, total) = header(bytes).ok()??;
        let (message, rest) = bytes.split_at_checked(total)?;
        bytes = rest;
        Some(message)
    })
}

/// The type and the whole size of the message that starts `bytes`.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize)>, FrameError> {
    let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    match usize::try_from(length) {
        Ok(size) if (4..=MAX_MESSAGE).contains(&size) => Ok(Some((tag, size + 1))),
        _ => Err(FrameError { tag, length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, size: usize) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(size + 4).unwrap().to_be_bytes());
        bytes.extend(std::iter::repeat_n(b'x', size));
        bytes
    }

    #[test]
    fn splits_messages_however_they_arrive() {
        let stream: Vec<u8> = [message(b'Q', 3), message(b'S', 0), message(b'P', 700)].concat();
        for chunk in [1, 2, 5, 7, 100, 5000] {
            let mut decoder = Decoder::new(HEAD);
            let mut tags = Vec::new();
            for piece in stream.chunks(chunk) {
                decoder.buffer().extend_from_slice(piece);
                while let Some(Frame::Whole { tag, .. }) = decoder.next_frame().unwrap() {
                    tags.push(tag);
                }
            }
            assert_eq!(tags, b"QSP");
        }
    }

    #[test]
    fn a_large_message_comes_in_pieces_that_add_up() {
        let stream = message(b'B', 100_000);
        let mut decoder = Decoder::new(HEAD);
        let (mut out, mut ended) = (Vec::new(), false);
        for piece in stream.chunks(3000) {
            decoder.buffer().extend_from_slice(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                match frame {
                    Frame::Head { bytes, .. } => out.extend_from_slice(&bytes),
                    Frame::Part { bytes, last } => {
                        out.extend_from_slice(&bytes);
                        ended = last;
                    }
                    Frame::Whole { .. } => panic!("it is too large to be whole"),
                }
            }
        }
        assert!(ended);
        assert_eq!(out, stream);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for length in [0_u32, 3, 0x4000_0000, u32::MAX] {
            let mut decoder = Decoder::new(HEAD);
            decoder.buffer().extend_from_slice(b"Q");
            decoder.buffer().extend_from_slice(&length.to_be_bytes());
            assert!(decoder.next_frame().is_err());
        }
    }

    #[test]
    fn rows_of_one_type_come_together() {
        let mut decoder = Decoder::new(HEAD);
        let stream =
            [message(b'D', 3), message(b'D', 9), message(b'D', 1), message(b'd', 2), message(b'C', 4)].concat();
        decoder.buffer().extend_from_slice(&stream);
        let (bytes, count) = decoder.rows(2).unwrap().unwrap();
        assert_eq!(count, 2);
        assert_eq!(messages(&bytes).map(<[u8]>::len).collect::<Vec<_>>(), [8, 14]);
        assert_eq!(decoder.rows(2).unwrap().unwrap().1, 1);
        assert_eq!(decoder.rows(2).unwrap().unwrap().1, 1);
        assert!(decoder.rows(2).unwrap().is_none());
    }

    #[test]
    fn a_row_that_is_not_all_there_waits() {
        let mut decoder = Decoder::new(HEAD);
        let stream = [message(b'D', 3), message(b'D', 9)].concat();
        decoder.buffer().extend_from_slice(&stream[..stream.len() - 1]);
        assert_eq!(decoder.rows(9).unwrap().unwrap().1, 1);
        assert!(decoder.rows(9).unwrap().is_none());
    }
}
