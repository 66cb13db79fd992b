//! Masks the rows of COPY ... TO STDOUT. What came in one CopyData goes on in one.

use sluicegate_core::{Denial, InFlight};
use sluicegate_sql::Copy;

use super::{
    masks::{BATCH_ROWS, Masks},
    outbox::Queue,
    rows::{Tally, too_many_rows, unreadable},
};
use crate::codec::{
    copy::{CopyFormat, CopyItem, CopyReader, CopyRow, CsvOptions, TextOptions},
    frame::{HEADER, messages},
    message,
    row::Edit,
};

/// Masks COPY data as it flows.
pub struct CopyMasker {
    masks: Masks,
    reader: CopyReader,
    /// The rows of the batch that is being filled.
    kept: Vec<CopyRow>,
    seen: u64,
    scratch: Vec<u8>,
}

impl CopyMasker {
    /// A masker for this statement's data, in this encoding. Its options may be such that its data
    /// cannot be read with certainty.
    pub fn new(masks: Masks, copy: &Copy, encoding: &str) -> Result<Self, Denial> {
        let null = copy.null.clone().into_bytes();
        let format = match copy.format {
            sluicegate_sql::CopyFormat::Binary => CopyFormat::Binary,
            sluicegate_sql::CopyFormat::Text => {
                CopyFormat::Text(TextOptions { delimiter: copy.delimiter, null, header: copy.header })
            }
            sluicegate_sql::CopyFormat::Csv => {
                let (delimiter, quote, escape) = (copy.delimiter, copy.quote, copy.escape);
                CopyFormat::Csv(CsvOptions {
                    delimiter,
                    quote,
                    escape,
                    null,
                    header: copy.header,
                    force_quote: Vec::new(),
                })
            }
        };
        let reader = CopyReader::new(format, masks.width(), encoding).map_err(unreadable)?;
        Ok(Self { masks, reader, kept: Vec::new(), seen: 0, scratch: Vec::new() })
    }

    /// What is carried out.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Takes whole CopyData messages.
    pub fn take(
        &mut self,
        bytes: &[u8],
        flight: &mut InFlight,
        tally: &mut Tally,
        out: &mut Queue,
    ) -> Result<(), Denial> {
        for message in messages(bytes) {
            self.reader.feed(message.get(HEADER..).unwrap_or_default()).map_err(unreadable)?;
            while let Some(item) = self.reader.next_item().map_err(unreadable)? {
                match item {
                    CopyItem::Verbatim(bytes) => {
                        self.flush(flight, tally, out)?;
                        out.push(message::message(b'd', |out| out.extend_from_slice(&bytes)));
                    }
                    CopyItem::Row(row) => self.row(row, flight, tally, out)?,
                }
            }
        }
        self.flush(flight, tally, out)
    }

    /// CopyDone: nothing incomplete may be left.
    pub fn finish(&self) -> Result<(), Denial> {
        self.reader.finish().map_err(unreadable)
    }

    fn row(&mut self, row: CopyRow, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        if let Some(limit) = self.masks.max_rows().filter(|limit| self.seen >= *limit) {
            self.flush(flight, tally, out)?;
            return Err(too_many_rows(limit));
        }
        self.seen += 1;
        if !self.masks.inspects() {
            self.write(&row, 0, tally, out)?;
            self.reader.recycle(row);
            return Ok(());
        }
        self.kept.push(row);
        if self.kept.len() >= BATCH_ROWS { self.flush(flight, tally, out) } else { Ok(()) }
    }

    /// Sends on what was kept back to fill a batch.
    fn flush(&mut self, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.kept);
        self.masks.begin_batch(self.seen - kept.len() as u64);
        for row in &kept {
            self.masks.show(row.values());
        }
        self.masks.ask(flight)?;
        for (number, row) in (0_u32..).zip(kept.drain(..)) {
            self.write(&row, number, tally, out)?;
            self.reader.recycle(row);
        }
        self.kept = kept;
        Ok(())
    }

    fn write(&mut self, row: &CopyRow, number: u32, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        let Self { masks, scratch, .. } = self;
        let (mut written, mut masked) = (Ok(()), 0);
        let touched = masks.touches_row(number);
        let edit = |index: usize, value: Option<&[u8]>, text: &mut Vec<u8>| {
            let edit = masks.edit(number, index, value, text);
            masked += u64::from(edit != Edit::Keep);
            edit
        };
        out.write(|out| {
            let before = out.len();
            message::put(out, b'd', |out| match touched {
                true => written = row.rewrite(out, scratch, edit),
                false => row.copy(out),
            });
            if written.is_err() {
                out.truncate(before);
            }
            tally.sent(out.get(before..).unwrap_or_default());
        });
        written.map_err(unreadable)?;
        tally.rows += 1;
        tally.masked += masked;
        Ok(())
    }
}
