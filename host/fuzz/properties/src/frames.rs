//! Streams of bytes, cut into messages.

use bytes::Bytes;
use sluicegate_postgres::codec::frame::{Decoder, Frame, FrameError, HEADER};

use crate::input::Input;

/// What larger messages are handed out in pieces. It is the least that a decoder takes.
const WHOLE: usize = 8 * 1024;

/// However a stream arrives, the same messages come out of it: byte for byte what went in, none larger
/// than the bound, and rows in a run the same as one by one.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let piece = usize::from(input.byte()).max(1);
    // Zeros at the end make messages that are larger than the fuzzer's inputs.
    let zeros = usize::from(input.byte()) * 128;
    let stream = [input.rest(), &vec![0; zeros]].concat();
    let at_once = read(&stream, stream.len().max(1));
    assert_eq!(read(&stream, piece), at_once, "in pieces of {piece}");
    let (messages, end) = at_once;
    let length: usize = messages.iter().map(Vec::len).sum();
    assert!(stream.starts_with(&messages.concat()));
    for message in &messages {
        let claimed = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
        assert_eq!(message.len(), claimed as usize + 1);
    }
    if end.is_ok() {
        runs(&stream, &messages);
    } else {
        assert!(stream.len() - length >= HEADER, "an error comes of a header");
    }
}

/// The messages that are complete, and whether the stream was the protocol's to its end.
fn read(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(WHOLE);
    let (mut messages, mut large, mut taken) = (Vec::new(), Vec::new(), 0);
    for arrived in stream.chunks(piece) {
        decoder.buffer().extend_from_slice(arrived);
        taken += arrived.len();
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            };
            match frame {
                Frame::Whole { tag, bytes } => {
                    assert!(bytes.len() <= WHOLE && bytes[0] == tag && large.is_empty());
                    messages.push(bytes.to_vec());
                }
                Frame::Head { tag, bytes } => {
                    assert!(bytes.len() >= HEADER && bytes[0] == tag && large.is_empty());
                    large.extend_from_slice(&bytes);
                }
                Frame::Part { bytes, last } => {
                    assert!(!bytes.is_empty() && !large.is_empty());
                    large.extend_from_slice(&bytes);
                    if last {
                        messages.push(std::mem::take(&mut large));
                    }
                }
            }
        }
        let given: usize = messages.iter().map(Vec::len).sum();
        assert_eq!(given + large.len() + decoder.buffered(), taken, "no byte is lost or made up");
    }
    (messages, Ok(()))
}

/// The rows that [`Decoder::rows`] takes at once are those that come one by one.
fn runs(stream: &[u8], messages: &[Vec<u8>]) {
    let mut decoder = Decoder::new(WHOLE);
    decoder.buffer().extend_from_slice(stream);
    let mut rest = messages.iter();
    loop {
        if let Ok(Some((bytes, count))) = decoder.rows(usize::MAX) {
            let rows: Vec<u8> = rest.by_ref().take(count).flat_map(|row| row.iter().copied()).collect();
            assert_eq!(Bytes::from(rows), bytes);
        }
        match decoder.next_frame() {
            Ok(Some(Frame::Whole { bytes, .. })) => assert_eq!(rest.next().map(Vec::as_slice), Some(&bytes[..])),
            _ => return,
        }
    }
}
