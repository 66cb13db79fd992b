//! COPY's csv format: `CopyAttributeOutCSV` in `src/backend/commands/copyto.c`. A field is quoted as
//! a whole or not at all.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::{CodecError, Progress, Span};

/// The options of `FORMAT csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// DELIMITER.
    pub delimiter: u8,
    /// QUOTE.
    pub quote: u8,
    /// ESCAPE.
    pub escape: u8,
    /// NULL, in the data's encoding.
    pub null: Vec<u8>,
    /// HEADER.
    pub header: bool,
    /// FORCE_QUOTE: the indexes of the columns that are always quoted.
    pub force_quote: Vec<usize>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"', escape: b'"', null: Vec::new(), header: false, force_quote: Vec::new() }
    }
}

impl CsvOptions {
    /// Whether there is a header line; an error for options that the server refuses too.
    pub(super) fn check(&self) -> Result<bool, CodecError> {
        let marks = [self.delimiter, self.quote, self.escape];
        if marks.iter().any(|b| !b.is_ascii() || b"\r\n".contains(b)) || self.delimiter == self.quote {
            return Err(CodecError::CopyOptions("this DELIMITER, QUOTE or ESCAPE"));
        }
        if self.null.iter().any(|b| *b == self.delimiter || *b == self.quote || b"\r\n".contains(b)) {
            return Err(CodecError::CopyOptions("this NULL string"));
        }
        Ok(self.header)
    }
}

pub(super) fn row_length(data: &[u8], options: &CsvOptions, progress: &mut Progress) -> Option<usize> {
    for (at, &byte) in data.iter().enumerate().skip(progress.at) {
        progress.at = at + 1;
        if progress.after_escape {
            progress.after_escape = false;
        } else if progress.in_quotes && byte == options.escape && options.escape != options.quote {
            progress.after_escape = true;
        } else if byte == options.quote {
            // A doubled quote leaves the quotes and enters them again.
            progress.in_quotes = !progress.in_quotes;
        } else if byte == b'\n' && !progress.in_quotes {
            return Some(at + 1);
        }
    }
    None
}

/// Cuts a row, line break included, into its fields.
pub(super) fn split(row: &[u8], options: &CsvOptions, columns: usize, spans: &mut Vec<Span>) -> Result<(), CodecError> {
    let line = row.strip_suffix(b"\n").unwrap_or(row);
    if columns == 0 && line.is_empty() {
        return Ok(());
    }
    let mut start = 0;
    loop {
        let rest = line.get(start..).unwrap_or_default();
        let is_quoted = rest.first() == Some(&options.quote);
        let length = if is_quoted {
            quoted_length(rest, options)?
        } else {
            let length = memchr::memchr(options.delimiter, rest).unwrap_or(rest.len());
            if rest.get(..length).unwrap_or_default().contains(&options.quote) {
                return Err(CodecError::Copy("a quote stands where the server writes none"));
            }
            length
        };
        let end = start + length;
        // A quoted field is never NULL, whatever it holds.
        let is_null = line.get(start..end) == Some(&options.null[..]);
        spans.push(Span { range: start..end, is_null, is_plain: !is_quoted });
        match line.get(end) {
            None => return Ok(()),
            Some(byte) if *byte == options.delimiter && spans.len() < columns => start = end + 1,
            Some(byte) if *byte == options.delimiter => {
                return Err(CodecError::CopyColumns { expected: columns, found: spans.len() + 1 });
            }
            Some(_) => return Err(CodecError::Copy("bytes follow a closing quote")),
        }
    }
}

/// The length of the quoted field at the start of `data`, quotes included.
fn quoted_length(data: &[u8], options: &CsvOptions) -> Result<usize, CodecError> {
    let mut at = 1;
    while let Some(&byte) = data.get(at) {
        let next = data.get(at + 1);
        let escapes = byte == options.escape && next.is_some_and(|n| *n == options.quote || *n == options.escape);
        if escapes {
            at += 2;
        } else if byte == options.quote {
            return Ok(at + 1);
        } else if byte == options.escape {
            return Err(CodecError::Copy("an escape stands where the server writes none"));
        } else {
            at += 1;
        }
    }
    Err(CodecError::Copy("a quote is not closed"))
}

pub(super) fn unquote<'a>(raw: &'a [u8], options: &CsvOptions) -> Cow<'a, [u8]> {
    let quote = [options.quote];
    let Some(inner) = raw.strip_prefix(&quote).and_then(|r| r.strip_suffix(&quote)) else { return Cow::Borrowed(raw) };
    if memchr::memchr(options.escape, inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        value.push(if byte == options.escape { *bytes.next().unwrap_or(&byte) } else { byte });
    }
    Cow::Owned(value)
}

pub(super) fn put(value: Option<&[u8]>, index: usize, columns: usize, options: &CsvOptions, out: &mut BytesMut) {
    let Some(value) = value else {
        out.put_slice(&options.null);
        return;
    };
    let is_special = |b: &u8| *b == options.delimiter || *b == options.quote || b"\r\n".contains(b);
    let must_quote = options.force_quote.contains(&index)
        || value == options.null
        || (columns == 1 && value == b"\\.")
        || value.iter().any(is_special);
    if !must_quote {
        out.put_slice(value);
        return;
    }
    out.put_u8(options.quote);
    for &byte in value {
        if byte == options.quote || byte == options.escape {
            out.put_u8(options.escape);
        }
        out.put_u8(byte);
    }
    out.put_u8(options.quote);
}
