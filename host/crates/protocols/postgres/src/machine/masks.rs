//! What the policies decided about the values of one result, carried out value by value: masks of whole
//! columns, and those that policies ask for once they have seen a batch of rows.

use std::{borrow::Cow, sync::Arc};

use sluicegate_core::{Batch, BatchColumn, CellMask, Denial, InFlight, Mask, MaskPlan};

use crate::codec::{
    mask::{self, HashKey, MaskedField},
    row::Edit,
    value::{self, FieldType, Format},
};

/// The most rows that are masked at once, or shown to the policies as one batch.
pub const BATCH_ROWS: usize = 256;
/// The most bytes that replacements of whole columns may add at once, unless those of one row are more.
const MAX_REPLACEMENTS: usize = 256 * 1024;

/// The masks of one result.
pub struct Masks {
    plan: MaskPlan,
    columns: Vec<(FieldType, Format)>,
    key: Arc<HashKey>,
    /// Whether the plan masks any column whole.
    planned: bool,
    /// Whether it shows any to policies.
    inspects: bool,
    /// What the policies were shown last. Kept, so that its memory serves again.
    batch: Arc<Batch>,
    /// What they want masked of it, by row and column, each value once.
    cells: Vec<CellMask>,
    /// The first of them that no value has passed yet.
    next: usize,
}

impl Masks {
    /// The masks of `plan` for columns of these types and formats.
    pub fn new(plan: MaskPlan, columns: Vec<(FieldType, Format)>, key: Arc<HashKey>) -> Self {
        let planned = plan.columns.iter().any(|column| column.mask.is_some());
        let inspects = plan.inspects();
        Self { plan, columns, key, planned, inspects, batch: Arc::default(), cells: Vec::new(), next: 0 }
    }

    /// How many columns the result has.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// How many rows may flow; none where any number may.
    pub fn max_rows(&self) -> Option<u64> {
        self.plan.max_rows
    }

    /// How many rows may be taken at once, so that long replacements do not pile up.
    pub fn at_once(&self) -> usize {
        let longest = self.plan.columns.iter().map(|column| match &column.mask {
            Some(Mask::Replace(text)) => text.len(),
            _ => 0,
        });
        (MAX_REPLACEMENTS / longest.sum::<usize>().max(1)).clamp(1, BATCH_ROWS)
    }

    /// Whether the policies want to see rows before they flow.
    pub fn inspects(&self) -> bool {
        self.inspects
    }

    /// Whether some value of the last batch, or of any row, may be masked.
    pub fn touches(&self) -> bool {
        self.planned || !self.cells.is_empty()
    }

    /// Whether some value of this row of the last batch may be masked; of any row where there is none. Rows are to
    /// be asked about in order.
    pub fn touches_row(&mut self, row: u32) -> bool {
        let rest = self.cells.get(self.next..).unwrap_or_default();
        self.next += rest.iter().take_while(|cell| cell.row < row).count();
        self.planned || self.cells.get(self.next).is_some_and(|cell| cell.row == row)
    }

    /// Begins a batch whose first row is the result's row `first`.
    pub fn begin_batch(&mut self, first: u64) {
        // The engine has let go of the last batch, unless an instance was lost with it.
        let batch = Arc::make_mut(&mut self.batch);
        (batch.first_row, batch.rows) = (first, 0);
        if batch.columns.is_empty() {
            let inspected = (0_u32..).zip(&self.plan.columns).filter(|(_, column)| column.inspect);
            batch.columns.extend(inspected.map(|(column, _)| BatchColumn {
                column,
                offsets: Vec::new(),
                bytes: Vec::new(),
                nulls: Vec::new(),
            }));
        }
        for column in &mut batch.columns {
            column.bytes.clear();
            column.nulls.clear();
            column.offsets.clear();
            column.offsets.push(0);
        }
    }

    /// Adds a row to the batch, given by all its fields.
    pub fn show<'a>(&mut self, fields: impl Iterator<Item = Option<Cow<'a, [u8]>>>) {
        let batch = Arc::make_mut(&mut self.batch);
        let mut inspected = batch.columns.iter_mut().peekable();
        for ((index, value), (kind, format)) in (0_u32..).zip(fields).zip(&self.columns) {
            let Some(column) = inspected.next_if(|column| column.column == index) else { continue };
            match value {
                Some(value) => {
                    value::render(&value, *kind, *format, &mut column.bytes);
                }
                None => column.nulls.push(batch.rows),
            }
            column.offsets.push(u32::try_from(column.bytes.len()).unwrap_or(u32::MAX));
        }
        batch.rows += 1;
    }

    /// Shows the batch to the policies that asked for it.
    pub fn ask(&mut self, flight: &mut InFlight) -> Result<(), Denial> {
        self.cells = flight.rows(&self.batch)?;
        self.next = 0;
        // Most often they are in order already.
        self.cells.sort_by_key(|cell| (cell.row, cell.column));
        self.cells.dedup_by(|later, cell| {
            let same = (later.row, later.column) == (cell.row, cell.column);
            if same {
                cell.mask = cell.mask.clone().stricter(later.mask.clone());
            }
            same
        });
        Ok(())
    }

    /// What becomes of a value: of field `index` of row `row` of the batch, or of any row where there is
    /// none. Values are to be handed in in order. A replacement is appended to `out`.
    pub fn edit(&mut self, row: u32, index: usize, value: Option<&[u8]>, out: &mut Vec<u8>) -> Edit {
        let Some(_) = value else { return Edit::Keep };
        let planned = self.plan.columns.get(index).and_then(|column| column.mask.as_ref());
        let cell = next_cell(&self.cells, &mut self.next, row, index);
        let mask = match (cell, planned) {
            (None, None) => return Edit::Keep,
            (Some(mask), None) | (None, Some(mask)) => Cow::Borrowed(mask),
            (Some(cell), Some(planned)) => Cow::Owned(cell.clone().stricter(planned.clone())),
        };
        let Some((kind, format)) = self.columns.get(index) else { return Edit::Null };
        match mask::apply(&mask, value, *kind, *format, &self.key, out) {
            MaskedField::Null => Edit::Null,
            MaskedField::Bytes => Edit::Replace,
        }
    }
}

/// The mask that the batch's policies want for this value.
fn next_cell<'a>(cells: &'a [CellMask], next: &mut usize, row: u32, index: usize) -> Option<&'a Mask> {
    let before = |cell: &&CellMask| (cell.row, cell.column as usize) < (row, index);
    let rest = cells.get(*next..)?;
    *next += rest.iter().take_while(before).count();
    cells.get(*next).filter(|cell| (cell.row, cell.column as usize) == (row, index)).map(|cell| &cell.mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(row: u32, column: u32, mask: Mask) -> CellMask {
        CellMask { row, column, mask }
    }

    #[test]
    fn values_find_their_masks_in_passing() {
        let cells = [cell(0, 1, Mask::Null), cell(2, 0, Mask::Hash), cell(2, 3, Mask::Redact)];
        let mut next = 0;
        let mut found = Vec::new();
        for row in 0..3 {
            for index in 0..4 {
                if let Some(mask) = next_cell(&cells, &mut next, row, index) {
                    found.push((row, index, mask.clone()));
                }
            }
        }
        assert_eq!(found, [(0, 1, Mask::Null), (2, 0, Mask::Hash), (2, 3, Mask::Redact)]);
    }

    #[test]
    fn rows_without_masks_are_told_from_those_with_some() {
        let plan = MaskPlan::default();
        let mut masks = Masks::new(plan, Vec::new(), Arc::new(HashKey::new([0; 32])));
        masks.cells = vec![cell(1, 0, Mask::Null), cell(3, 2, Mask::Hash)];
        let mut touched = Vec::new();
        for row in 0..5 {
            touched.push(masks.touches_row(row));
            (0..3).for_each(|index| {
                next_cell(&masks.cells, &mut masks.next, row, index);
            });
        }
        assert_eq!(touched, [false, true, false, true, false]);
    }

    #[test]
    fn a_mask_of_a_row_that_nobody_wrote_is_passed_over() {
        let cells = [cell(0, 0, Mask::Null), cell(1, 0, Mask::Hash)];
        let mut next = 0;
        assert_eq!(next_cell(&cells, &mut next, 1, 0), Some(&Mask::Hash));
        assert_eq!(next_cell(&cells, &mut next, 2, 0), None);
    }
}
