//! What happens to the rows of one result: they pass as they are, are masked one by one, come to
//! the policies in batches, or are refused.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use sluicegate_core::{Batch, BatchColumn, CellMask, Denial, DenialKind, InFlight, Mask, MaskPlan, ResultSummary};

pub use super::copy_rows::CopyMasker;
use super::{outbox::Queue, output::Kept};
use crate::codec::{
    frame::HEADER,
    mask::{self, HashKey, MaskedField},
    row::{self, DataRow, Edit},
    value::{self, FieldType, Format},
};

/// A batch goes to the policies when it has so many rows.
pub const BATCH_ROWS: usize = 256;
/// Or so many bytes.
pub const BATCH_BYTES: usize = 256 * 1024;

/// What has reached the client of a result.
#[derive(Default)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Bytes of rows.
    pub bytes: u64,
    /// Values that were masked.
    pub masked: u64,
    /// What the record keeps of it.
    pub kept: Kept,
}

impl Tally {
    /// What is recorded of the end.
    pub fn summary(self, status: String, failed: bool) -> ResultSummary {
        let Self { rows, bytes, masked, kept } = self;
        ResultSummary { rows, bytes, masked, status, failed, output: kept.into_outputs() }
    }
}

/// What happens to the rows of one result.
pub enum Rows {
    /// They are forwarded as they are.
    Pass,
    /// They are masked or inspected.
    Masked(Box<Masker>),
    /// The same for COPY.
    Copy(Box<CopyMasker>),
    /// None may come.
    Closed,
    /// The result was refused: they are dropped.
    Discard,
}

impl Rows {
    /// Whether the result may still be refused while it flows.
    pub fn is_refusable(&self) -> bool {
        match self {
            Self::Masked(masker) => is_refusable(&masker.plan),
            Self::Copy(masker) => is_refusable(masker.plan()),
            Self::Pass | Self::Closed | Self::Discard => false,
        }
    }

    /// Takes a DataRow or a CopyData message.
    pub fn message(
        &mut self,
        bytes: Bytes,
        flight: &mut InFlight,
        tally: &mut Tally,
        out: &mut Queue,
    ) -> Result<(), Denial> {
        match self {
            Self::Pass => {
                tally.rows += 1;
                tally.bytes += bytes.len() as u64;
                tally.kept.message(&bytes);
                out.push(bytes);
                Ok(())
            }
            Self::Masked(masker) => masker.row(bytes, flight, tally, out),
            Self::Copy(masker) => masker.data(&bytes, flight, tally, out),
            Self::Closed => Err(Denial::gate("the target sent rows that nobody decided on")),
            Self::Discard => Ok(()),
        }
    }

    /// Sends on what was kept back to fill a batch. Call it at the end of a result and when the
    /// server pauses.
    pub fn flush(&mut self, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        match self {
            Self::Masked(masker) => masker.flush(flight, tally, out),
            Self::Copy(masker) => masker.flush(flight, tally, out),
            Self::Pass | Self::Closed | Self::Discard => Ok(()),
        }
    }

    /// The end of a COPY: nothing incomplete may be left.
    pub fn finish(&mut self, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        match self {
            Self::Copy(masker) => masker.finish(flight, tally, out),
            _ => self.flush(flight, tally, out),
        }
    }
}

fn is_refusable(plan: &MaskPlan) -> bool {
    plan.inspects() || plan.max_rows.is_some()
}

/// The refusal of a result that is too long.
pub fn too_many_rows(limit: u64) -> Denial {
    let reason = format!("the result has more than {limit} rows; ask for fewer, for example with LIMIT");
    Denial::of(DenialKind::Policy, reason)
}

/// The masks that a batch got, by row and column.
pub struct Cells(HashMap<(u32, u32), Mask>);

impl Cells {
    /// Brings together what several policies said.
    pub fn new(cells: Vec<CellMask>) -> Self {
        let mut masks: HashMap<(u32, u32), Mask> = HashMap::with_capacity(cells.len());
        for CellMask { row, column, mask } in cells {
            let mask = match masks.remove(&(row, column)) {
                Some(before) => before.stricter(mask),
                None => mask,
            };
            masks.insert((row, column), mask);
        }
        Self(masks)
    }

    /// What happens to a value, given what the plan says about its column.
    pub fn mask(&self, row: u32, column: u32, planned: Option<&Mask>) -> Option<Mask> {
        if self.0.is_empty() {
            return planned.cloned();
        }
        match (self.0.get(&(row, column)), planned) {
            (Some(cell), Some(planned)) => Some(cell.clone().stricter(planned.clone())),
            (cell, planned) => cell.or(planned).cloned(),
        }
    }
}

/// Collects a batch, column by column.
pub struct BatchBuilder {
    batch: Batch,
}

impl BatchBuilder {
    /// A batch of the columns that `plan` inspects.
    pub fn new(plan: &MaskPlan, first_row: u64) -> Self {
        let inspected = (0_u32..).zip(&plan.columns).filter(|(_, column)| column.inspect);
        let columns = inspected
            .map(|(column, _)| BatchColumn { column, offsets: vec![0], bytes: Vec::new(), nulls: Vec::new() })
            .collect();
        Self { batch: Batch { first_row, rows: 0, columns } }
    }

    /// Adds a row; `value` gives the field of a column, rendered into the buffer, or says that it is
    /// NULL.
    pub fn row(&mut self, mut value: impl FnMut(u32, &mut Vec<u8>) -> bool) {
        for column in &mut self.batch.columns {
            if !value(column.column, &mut column.bytes) {
                column.nulls.push(self.batch.rows);
            }
            column.offsets.push(u32::try_from(column.bytes.len()).unwrap_or(u32::MAX));
        }
        self.batch.rows += 1;
    }

    /// The batch.
    pub fn finish(self) -> Batch {
        self.batch
    }
}

/// Masks the rows of a result.
pub struct Masker {
    plan: MaskPlan,
    columns: Vec<(FieldType, Format)>,
    key: Arc<HashKey>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// Rows that came.
    seen: u64,
    scratch: Vec<u8>,
}

impl Masker {
    /// A masker that carries out `plan` on columns of these types and formats.
    pub fn new(plan: MaskPlan, columns: impl Iterator<Item = (FieldType, Format)>, key: Arc<HashKey>) -> Self {
        Self { plan, columns: columns.collect(), key, kept: Vec::new(), kept_bytes: 0, seen: 0, scratch: Vec::new() }
    }

    fn row(&mut self, bytes: Bytes, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        self.seen += 1;
        if let Some(limit) = self.plan.max_rows.filter(|limit| self.seen > *limit) {
            self.flush(flight, tally, out)?;
            return Err(too_many_rows(limit));
        }
        if !self.plan.inspects() {
            return self.write(&bytes, 0, &Cells::new(Vec::new()), tally, out);
        }
        self.kept_bytes += bytes.len();
        self.kept.push(bytes);
        if self.kept.len() >= BATCH_ROWS || self.kept_bytes >= BATCH_BYTES {
            self.flush(flight, tally, out)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, flight: &mut InFlight, tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.kept);
        self.kept_bytes = 0;
        let cells = Cells::new(flight.rows(&self.batch(&kept)?)?);
        for (index, bytes) in (0_u32..).zip(&kept) {
            self.write(bytes, index, &cells, tally, out)?;
        }
        Ok(())
    }

    fn batch(&self, kept: &[Bytes]) -> Result<Batch, Denial> {
        let arrived = self.seen - kept.len().min(usize::try_from(self.seen).unwrap_or(usize::MAX)) as u64;
        let mut builder = BatchBuilder::new(&self.plan, arrived);
        for bytes in kept {
            let fields = self.parse(bytes)?.fields().collect::<Vec<_>>();
            builder.row(|column, text| {
                let index = column as usize;
                let (Some(Some(value)), Some((kind, format))) = (fields.get(index), self.columns.get(index)) else {
                    return false;
                };
                value::render(value, *kind, *format, text);
                true
            });
        }
        Ok(builder.finish())
    }

    fn parse<'a>(&self, bytes: &'a [u8]) -> Result<DataRow<'a>, Denial> {
        let row = DataRow::parse(bytes.get(HEADER..).unwrap_or_default()).map_err(|e| Denial::gate(e.to_string()))?;
        if row.len() == self.columns.len() {
            return Ok(row);
        }
        Err(Denial::gate("the target sent a row whose columns are not those it described"))
    }

    fn write(
        &mut self,
        bytes: &[u8],
        number: u32,
        cells: &Cells,
        tally: &mut Tally,
        out: &mut Queue,
    ) -> Result<(), Denial> {
        let row = self.parse(bytes)?;
        let (plan, columns, key) = (&self.plan, &self.columns, &self.key);
        let (mut masked, mut size) = (0, 0);
        let scratch = &mut self.scratch;
        let mut edit = |index: usize, value: Option<&[u8]>, text: &mut Vec<u8>| {
            let planned = plan.columns.get(index).and_then(|column| column.mask.as_ref());
            let column = u32::try_from(index).unwrap_or(u32::MAX);
            let (Some(mask), Some(_)) = (cells.mask(number, column, planned), value) else { return Edit::Keep };
            masked += 1;
            let Some((kind, format)) = columns.get(index) else { return Edit::Null };
            match mask::apply(&mask, value, *kind, *format, key, text) {
                MaskedField::Null => Edit::Null,
                MaskedField::Bytes => Edit::Replace,
            }
        };
        let mut written = Ok(());
        out.write(|out: &mut BytesMut| {
            let before = out.len();
            written = row::rewrite(row, out, scratch, &mut edit);
            size = out.len() - before;
            if written.is_ok() && tally.kept.wants() {
                tally.kept.message(out.get(before..).unwrap_or_default());
            }
        });
        written.map_err(|error| Denial::gate(error.to_string()))?;
        tally.rows += 1;
        tally.bytes += size as u64;
        tally.masked += masked;
        Ok(())
    }
}
