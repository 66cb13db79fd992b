//! Masks the rows of COPY ... TO STDOUT. What came in one CopyData goes on in one.

use std::sync::Arc;

use bytes::BytesMut;
use sluicegate_core::{Denial, InFlight, MaskPlan};
use sluicegate_sql::Copy;

use super::{
    outbox::Queue,
    rows::{BATCH_BYTES, BATCH_ROWS, BatchBuilder, Cells, Tally, too_many_rows},
};
use crate::codec::{
    copy::{CopyFormat, CopyItem, CopyReader, CopyRow, CsvOptions, TextOptions},
    error::CodecError,
    frame::HEADER,
    mask::{self, HashKey, MaskedField},
    message,
    row::Edit,
    value::{self, FieldType, Format},
};

/// Masks COPY data as it flows.
pub struct CopyMasker {
    plan: MaskPlan,
    types: Vec<FieldType>,
    format: Format,
    key: Arc<HashKey>,
    reader: CopyReader,
    kept: Vec<CopyRow>,
    kept_bytes: usize,
    seen: u64,
    scratch: Vec<u8>,
}

impl CopyMasker {
    /// A masker for this statement's data, in this encoding. Its options may be such that its data
    /// cannot be read with certainty.
    pub fn new(
        plan: MaskPlan,
        copy: &Copy,
        types: Vec<FieldType>,
        encoding: &str,
        key: Arc<HashKey>,
    ) -> Result<Self, Denial> {
        let null = copy.null.clone().into_bytes();
        let (format, options) = match copy.format {
            sluicegate_sql::CopyFormat::Binary => (Format::Binary, CopyFormat::Binary),
            sluicegate_sql::CopyFormat::Text => {
                (Format::Text, CopyFormat::Text(TextOptions { delimiter: copy.delimiter, null, header: copy.header }))
            }
            sluicegate_sql::CopyFormat::Csv => {
                let (delimiter, quote, escape) = (copy.delimiter, copy.quote, copy.escape);
                let options =
                    CsvOptions { delimiter, quote, escape, null, header: copy.header, force_quote: Vec::new() };
                (Format::Text, CopyFormat::Csv(options))
            }
        };
        let reader = CopyReader::new(options, types.len(), encoding).map_err(unreadable)?;
        Ok(Self { plan, types, format, key, reader, kept: Vec::new(), kept_bytes: 0, seen: 0, scratch: Vec::new() })
    }

    /// What is carried out.
    pub fn plan(&self) -> &MaskPlan {
        &self.plan
    }

    /// Takes a CopyData message.
    pub fn data(
        &mut self,
        bytes: &[u8],
        flight: &mut InFlight,
        tally: &mut Tally,
        out: &mut Queue,
    ) -> Result<(), Denial> {
        let data = bytes.get(HEADER..).unwrap_or_default();
        self.kept_bytes += data.len();
        self.reader.feed(data).map_err(unreadable)?;
        while let Some(item) = self.reader.next_item().map_err(unreadable)? {
            match item {
                CopyItem::Verbatim(bytes) => {
                    self.flush(flight, tally, out)?;
                    out.push(message::message(b'd', |out| out.extend_from_slice(&bytes)));
                }
                CopyItem::Row(row) => self.row(row, flight, tally, out)?,
            }
        }
        Ok(())
    }

    /// Sends on what was kept back to fill a batch.
    pub fn flush(&mut self, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.kept);
        self.kept_bytes = 0;
        let mut builder = BatchBuilder::new(&self.plan, self.seen - kept.len() as u64);
        for row in &kept {
            let values = row.values().collect::<Vec<_>>();
            builder.row(|column, text| {
                let index = column as usize;
                let (Some(Some(value)), Some(kind)) = (values.get(index), self.types.get(index)) else { return false };
                value::render(value, *kind, self.format, text);
                true
            });
        }
        let cells = Cells::new(flight.rows(&builder.finish())?);
        for (index, row) in (0_u32..).zip(&kept) {
            self.write(row, index, &cells, tally, out)?;
        }
        Ok(())
    }

    /// CopyDone: nothing incomplete may be left.
    pub fn finish(&mut self, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        self.flush(flight, tally, out)?;
        self.reader.finish().map_err(unreadable)
    }

    fn row(&mut self, row: CopyRow, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        self.seen += 1;
        if let Some(limit) = self.plan.max_rows.filter(|limit| self.seen > *limit) {
            self.flush(flight, tally, out)?;
            return Err(too_many_rows(limit));
        }
        if !self.plan.inspects() {
            return self.write(&row, 0, &Cells::new(Vec::new()), tally, out);
        }
        self.kept.push(row);
        if self.kept.len() >= BATCH_ROWS || self.kept_bytes >= BATCH_BYTES {
            self.flush(flight, tally, out)
        } else {
            Ok(())
        }
    }

    fn write(
        &mut self,
        row: &CopyRow,
        number: u32,
        cells: &Cells,
        tally: &mut Tally,
        out: &mut Queue,
    ) -> Result<(), Denial> {
        let (plan, types, key, format) = (&self.plan, &self.types, &self.key, self.format);
        let scratch = &mut self.scratch;
        let (mut masked, mut size, mut written) = (0, 0, Ok(()));
        let edit = |index: usize, value: Option<&[u8]>, text: &mut Vec<u8>| {
            let planned = plan.columns.get(index).and_then(|column| column.mask.as_ref());
            let column = u32::try_from(index).unwrap_or(u32::MAX);
            let (Some(mask), Some(_)) = (cells.mask(number, column, planned), value) else { return Edit::Keep };
            masked += 1;
            let Some(kind) = types.get(index) else { return Edit::Null };
            match mask::apply(&mask, value, *kind, format, key, text) {
                MaskedField::Null => Edit::Null,
                MaskedField::Bytes => Edit::Replace,
            }
        };
        out.write(|out: &mut BytesMut| {
            let before = out.len();
            message::put(out, b'd', |out| written = row.rewrite(out, scratch, edit));
            size = out.len() - before;
            if written.is_err() {
                out.truncate(before);
            } else if tally.kept.wants() {
                tally.kept.message(out.get(before..).unwrap_or_default());
            }
        });
        written.map_err(unreadable)?;
        tally.rows += 1;
        tally.bytes += size as u64;
        tally.masked += masked;
        Ok(())
    }
}

fn unreadable(error: CodecError) -> Denial {
    Denial::gate(error.to_string())
}
