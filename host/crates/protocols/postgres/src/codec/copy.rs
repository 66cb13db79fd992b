//! The data of COPY ... TO STDOUT as it arrives in CopyData messages: cut into rows, the rows into
//! fields, and written again with some fields replaced. Fields that are kept come out byte for byte.
//! Formats: <https://www.postgresql.org/docs/current/sql-copy.html>, "File Formats". The readers
//! accept only what the server itself writes, because anything looser could be read in two ways.

mod binary;
mod csv;
mod encoding;
#[cfg(test)]
mod tests;
mod text;

use std::{borrow::Cow, ops::Range, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
pub use csv::CsvOptions;
pub use text::TextOptions;

use super::{
    error::CodecError,
    row::{Edit, MAX_COLUMNS},
};

/// The largest row that is held, in bytes.
pub const MAX_ROW_BYTES: usize = 16 * 1024 * 1024;

/// The statement's options, as they bear on its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFormat {
    /// `FORMAT text`.
    Text(TextOptions),
    /// `FORMAT csv`.
    Csv(CsvOptions),
    /// `FORMAT binary`.
    Binary,
}

/// What [`CopyReader`] finds.
#[derive(Debug)]
pub enum CopyItem {
    /// Bytes that hold no values: the header line, or the end of binary data.
    Verbatim(Bytes),
    /// A row.
    Row(CopyRow),
}

/// Cuts COPY data into rows. Feed it every CopyData payload in order, and after each take the items
/// until there are none. An item is to be sent in a CopyData of its own, as the server does it;
/// drivers rely on that.
#[derive(Debug)]
pub struct CopyReader {
    format: Arc<CopyFormat>,
    columns: usize,
    buffer: BytesMut,
    progress: Progress,
    /// Binary data's header, until it can go out with what follows it.
    lead: Bytes,
    stage: Stage,
    /// What rows were made of that are done with, for the next ones.
    spare: Vec<Vec<Span>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    End,
}

/// How far the search for the row's end has come, so that no byte is looked at twice.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    at: usize,
    in_quotes: bool,
    after_escape: bool,
}

impl CopyReader {
    /// A reader for a statement's data. `columns` is the count that CopyOutResponse announced, and
    /// `encoding` the data's: the statement's ENCODING, or else the session's `client_encoding`.
    pub fn new(format: CopyFormat, columns: usize, encoding: &str) -> Result<Self, CodecError> {
        if columns > MAX_COLUMNS {
            return Err(CodecError::TooManyColumns(columns));
        }
        let has_header = match &format {
            CopyFormat::Text(options) => options.check()?,
            CopyFormat::Csv(options) => options.check()?,
            CopyFormat::Binary => true,
        };
        if format != CopyFormat::Binary && encoding::embeds_ascii(encoding) {
            return Err(CodecError::CopyEncoding(encoding.chars().take(32).collect()));
        }
        let stage = if has_header { Stage::Header } else { Stage::Rows };
        Ok(Self {
            format: Arc::new(format),
            columns,
            buffer: BytesMut::new(),
            progress: Progress::default(),
            lead: Bytes::new(),
            stage,
            spare: Vec::new(),
        })
    }

    /// Takes one CopyData's payload.
    pub fn feed(&mut self, data: &[u8]) -> Result<(), CodecError> {
        if self.buffer.len() > MAX_ROW_BYTES {
            return Err(CodecError::CopyRowTooLarge(MAX_ROW_BYTES));
        }
        self.buffer.put_slice(data);
        Ok(())
    }

    /// The next item that is complete.
    pub fn next_item(&mut self) -> Result<Option<CopyItem>, CodecError> {
        let Some(length) = self.item_length()? else {
            return match self.buffer.len() {
                0..=MAX_ROW_BYTES => Ok(None),
                _ => Err(CodecError::CopyRowTooLarge(MAX_ROW_BYTES)),
            };
        };
        if length > MAX_ROW_BYTES {
            return Err(CodecError::CopyRowTooLarge(MAX_ROW_BYTES));
        }
        let bytes = self.buffer.split_to(length).freeze();
        self.progress = Progress::default();
        match (self.stage, &*self.format) {
            (Stage::Header, CopyFormat::Binary) => {
                self.lead = bytes;
                self.stage = Stage::Rows;
                self.next_item()
            }
            (Stage::Header, _) => {
                self.split(&bytes)?;
                self.stage = Stage::Rows;
                Ok(Some(CopyItem::Verbatim(bytes)))
            }
            (Stage::Rows, CopyFormat::Binary) if bytes[..] == binary::TRAILER => {
                self.stage = Stage::End;
                let lead = std::mem::take(&mut self.lead);
                Ok(Some(CopyItem::Verbatim([lead, bytes].concat().into())))
            }
            (Stage::Rows, _) => {
                let fields = self.split(&bytes)?;
                let lead = std::mem::take(&mut self.lead);
                Ok(Some(CopyItem::Row(CopyRow { format: Arc::clone(&self.format), lead, bytes, fields })))
            }
            (Stage::End, _) => Err(CodecError::Copy("data follow its end")),
        }
    }

    /// Takes a row back that is done with, so that the next one needs no memory of its own.
    pub fn recycle(&mut self, row: CopyRow) {
        let mut fields = row.fields;
        fields.clear();
        self.spare.push(fields);
    }

    /// Checks at CopyDone that nothing is missing.
    pub fn finish(&self) -> Result<(), CodecError> {
        let is_complete = match &*self.format {
            CopyFormat::Binary => self.stage == Stage::End,
            _ => self.stage == Stage::Rows,
        };
        if is_complete && self.buffer.is_empty() {
            return Ok(());
        }
        Err(CodecError::Copy("they end early"))
    }

    /// The length of the next item, if all of it is here.
    fn item_length(&mut self) -> Result<Option<usize>, CodecError> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        match (&*self.format, self.stage) {
            (_, Stage::End) => Err(CodecError::Copy("data follow its end")),
            (CopyFormat::Binary, Stage::Header) => binary::header_length(&self.buffer),
            (CopyFormat::Binary, Stage::Rows) => binary::row_length(&self.buffer),
            (CopyFormat::Text(_), _) => Ok(text::row_length(&self.buffer, &mut self.progress)),
            (CopyFormat::Csv(options), _) => Ok(csv::row_length(&self.buffer, options, &mut self.progress)),
        }
    }

    fn split(&mut self, row: &[u8]) -> Result<Vec<Span>, CodecError> {
        let mut spans = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(self.columns));
        match &*self.format {
            CopyFormat::Text(options) => text::split(row, options, self.columns, &mut spans)?,
            CopyFormat::Csv(options) => csv::split(row, options, self.columns, &mut spans)?,
            CopyFormat::Binary => binary::split(row, &mut spans)?,
        }
        if spans.len() != self.columns {
            return Err(CodecError::CopyColumns { expected: self.columns, found: spans.len() });
        }
        Ok(spans)
    }
}

/// Where a field stands in its row.
#[derive(Debug, Clone)]
struct Span {
    /// The field as it is in the data; without its length in binary.
    range: Range<usize>,
    is_null: bool,
    /// It is neither quoted nor escaped.
    is_plain: bool,
}

/// One row. Its `Debug` shows no values.
pub struct CopyRow {
    format: Arc<CopyFormat>,
    lead: Bytes,
    bytes: Bytes,
    fields: Vec<Span>,
}

impl std::fmt::Debug for CopyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CopyRow({} fields, {} bytes)", self.fields.len(), self.bytes.len())
    }
}

impl CopyRow {
    /// The fields' values in order; `None` is NULL. In text and csv they are unescaped, and in the
    /// types' text format.
    pub fn values(&self) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
        self.fields.iter().map(|span| self.value(span))
    }

    /// Writes the row to the end of `out` as it came.
    pub fn copy(&self, out: &mut BytesMut) {
        out.put_slice(&self.lead);
        out.put_slice(&self.bytes);
    }

    /// Writes the row to the end of `out` with the fields replaced that `edit` says. `edit` is told
    /// the field's index and value, and appends a replacement to the buffer, which is empty when it
    /// is called. What stays between two replaced fields is copied in one piece. `scratch` is only kept to
    /// save allocations. After an error `out` is of no use.
    pub fn rewrite(
        &self,
        out: &mut BytesMut,
        scratch: &mut Vec<u8>,
        mut edit: impl FnMut(usize, Option<&[u8]>, &mut Vec<u8>) -> Edit,
    ) -> Result<(), CodecError> {
        out.put_slice(&self.lead);
        // In binary each field's length stands in front of it.
        let length = if *self.format == CopyFormat::Binary { binary::LENGTH } else { 0 };
        let mut copied = 0;
        for (index, span) in self.fields.iter().enumerate() {
            scratch.clear();
            let value = match edit(index, self.value(span).as_deref(), scratch) {
                Edit::Keep => continue,
                Edit::Null => None,
                Edit::Replace => Some(scratch.as_slice()),
            };
            out.put_slice(self.raw(copied..span.range.start.saturating_sub(length)));
            self.put(index, value, out)?;
            copied = span.range.end;
        }
        out.put_slice(self.raw(copied..self.bytes.len()));
        Ok(())
    }

    fn raw(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    fn value(&self, span: &Span) -> Option<Cow<'_, [u8]>> {
        let raw = self.raw(span.range.clone());
        match &*self.format {
            _ if span.is_null => None,
            _ if span.is_plain => Some(Cow::Borrowed(raw)),
            CopyFormat::Text(_) => Some(Cow::Owned(text::unescape(raw))),
            CopyFormat::Csv(options) => Some(csv::unquote(raw, options)),
            CopyFormat::Binary => Some(Cow::Borrowed(raw)),
        }
    }

    fn put(&self, index: usize, value: Option<&[u8]>, out: &mut BytesMut) -> Result<(), CodecError> {
        match &*self.format {
            CopyFormat::Text(options) => text::put(value, options, out),
            CopyFormat::Csv(options) => csv::put(value, index, self.fields.len(), options, out),
            CopyFormat::Binary => binary::put(value, out)?,
        }
        Ok(())
    }
}
