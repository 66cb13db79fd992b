//! COPY's text format: `CopyAttributeOutText` in `src/backend/commands/copyto.c`. The server
//! escapes every line break, so a bare one always ends a row.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::{CodecError, Progress, Span};

/// The options of `FORMAT text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOptions {
    /// DELIMITER.
    pub delimiter: u8,
    /// NULL, in the data's encoding.
    pub null: Vec<u8>,
    /// HEADER.
    pub header: bool,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { delimiter: b'\t', null: b"\\N".to_vec(), header: false }
    }
}

impl TextOptions {
    /// Whether there is a header line; an error for options that the server refuses too, or under
    /// which its data are ambiguous.
    pub(super) fn check(&self) -> Result<bool, CodecError> {
        if !self.delimiter.is_ascii() || b"\\.\r\n".contains(&self.delimiter) || is_escape_letter(self.delimiter) {
            return Err(CodecError::CopyOptions("this DELIMITER"));
        }
        let ends_in_escape = self.null.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1;
        if ends_in_escape || self.null.contains(&self.delimiter) || self.null.contains(&b'\n') {
            return Err(CodecError::CopyOptions("this NULL string"));
        }
        Ok(self.header)
    }
}

/// Letters and digits may stand behind a backslash: the server refuses them as delimiters.
fn is_escape_letter(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

pub(super) fn row_length(data: &[u8], progress: &mut Progress) -> Option<usize> {
    let found = memchr::memchr(b'\n', data.get(progress.at..)?).map(|at| progress.at + at + 1);
    progress.at = data.len();
    found
}

/// Cuts a row, line break included, at its delimiters.
pub(super) fn split(
    row: &[u8],
    options: &TextOptions,
    columns: usize,
    spans: &mut Vec<Span>,
) -> Result<(), CodecError> {
    let line = row.strip_suffix(b"\n").unwrap_or(row);
    if columns == 0 && line.is_empty() {
        return Ok(());
    }
    let (mut start, mut at, mut is_plain) = (0, 0, true);
    while let Some(found) = line.get(at..).and_then(|rest| memchr::memchr2(b'\\', options.delimiter, rest)) {
        at += found;
        if line.get(at) == Some(&b'\\') {
            is_plain = false;
            at += 2;
        } else {
            spans.push(span(line, start..at, is_plain, options)?);
            at += 1;
            (start, is_plain) = (at, true);
        }
        if spans.len() > columns {
            return Err(CodecError::CopyColumns { expected: columns, found: spans.len() + 1 });
        }
    }
    spans.push(span(line, start..line.len(), is_plain, options)?);
    Ok(())
}

fn span(line: &[u8], range: Range<usize>, is_plain: bool, options: &TextOptions) -> Result<Span, CodecError> {
    let raw = line.get(range.clone()).unwrap_or_default();
    let is_null = raw == options.null;
    if !is_null && !is_plain && !is_well_escaped(raw, options.delimiter) {
        return Err(CodecError::Copy("a backslash stands where the server writes none"));
    }
    Ok(Span { range, is_null, is_plain })
}

fn is_well_escaped(raw: &[u8], delimiter: u8) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        match rest.get(at + 1) {
            Some(letter) if *letter == delimiter || b"\\bfnrtv".contains(letter) => {}
            _ => return false,
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    true
}

/// The value of a field that is escaped.
pub(super) fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(&other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    value
}

pub(super) fn put(value: Option<&[u8]>, options: &TextOptions, out: &mut BytesMut) {
    let Some(value) = value else {
        out.put_slice(&options.null);
        return;
    };
    for &byte in value {
        let letter = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            byte if byte == b'\\' || byte == options.delimiter => byte,
            byte => {
                out.put_u8(byte);
                continue;
            }
        };
        out.put_slice(&[b'\\', letter]);
    }
}
