//! What policies answer about results, and how the answers of several are brought together: the
//! stricter mask wins, and masks accumulate.

use serde::{Deserialize, Serialize};

use crate::result::{Column, Resolution};

/// The unit to which a date or time is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DateUnit {
    /// The first of January.
    Year,
    /// The first of the month.
    Month,
    /// Midnight.
    Day,
    /// The full hour.
    Hour,
}

/// What happens to a value. The protocol keeps the result valid for the column's type; where a mask
/// has no meaning for the type it is `Redact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mask {
    /// Keeps the last characters; a value of twice that length or less is redacted.
    Partial(u32),
    /// Keeps the first letter and the domain of an e-mail address.
    Email,
    /// Rounds down to a multiple of ten to this power.
    Round(u32),
    /// Cuts a date or time.
    TruncateDate(DateUnit),
    /// This text instead.
    Replace(String),
    /// A keyed hash.
    Hash,
    /// A fixed value that tells nothing.
    Redact,
    /// No value.
    Null,
}

impl Mask {
    fn rank(&self) -> u8 {
        match self {
            Self::Partial(_) | Self::Email | Self::Round(_) | Self::TruncateDate(_) => 0,
            Self::Replace(_) => 1,
            Self::Hash => 2,
            Self::Redact => 3,
            Self::Null => 4,
        }
    }

    /// The stricter of two masks. Two different masks that each leave something of the value
    /// become `Redact`, since what both leave together is unknown.
    pub fn stricter(self, other: Self) -> Self {
        use std::cmp::Ordering::{Equal, Greater, Less};
        if self == other {
            return self;
        }
        match self.rank().cmp(&other.rank()) {
            Greater => self,
            Less => other,
            Equal => Self::Redact,
        }
    }
}

/// What happens to one column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnPlan {
    /// Mask every value so.
    pub mask: Option<Mask>,
    /// Show the values to the policies that asked.
    pub inspect: bool,
    /// The caller is an exception to a mask: they see the values, the record does not.
    pub spare: bool,
}

/// What happens to a result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MaskPlan {
    /// One per column; empty where every column passes untouched.
    pub columns: Vec<ColumnPlan>,
    /// Block once there are more rows than this.
    pub max_rows: Option<u64>,
}

impl MaskPlan {
    /// Whether nothing is to be done: rows may be forwarded as they are.
    pub fn is_pass(&self) -> bool {
        self.max_rows.is_none() && self.columns.iter().all(|c| c.mask.is_none() && !c.inspect)
    }

    /// Whether rows must come to the policies.
    pub fn inspects(&self) -> bool {
        self.columns.iter().any(|c| c.inspect)
    }

    /// Masks column `index` of a result with `width` columns; out of bounds is an error that the
    /// caller turns into a block.
    pub fn mask(&mut self, index: u32, width: usize, mask: Mask) -> Result<(), OutOfBounds> {
        let slot = self.slot(index, width)?;
        slot.mask = Some(match slot.mask.take() {
            Some(before) => before.stricter(mask),
            None => mask,
        });
        Ok(())
    }

    /// Asks for the values of column `index`.
    pub fn inspect(&mut self, index: u32, width: usize) -> Result<(), OutOfBounds> {
        self.slot(index, width)?.inspect = true;
        Ok(())
    }

    /// Notes that the caller sees column `index` by an exception.
    pub fn spare(&mut self, index: u32, width: usize) -> Result<(), OutOfBounds> {
        self.slot(index, width)?.spare = true;
        Ok(())
    }

    /// Blocks beyond `rows`; said twice, the smaller holds.
    pub fn limit_rows(&mut self, rows: u64) {
        self.max_rows = Some(self.max_rows.map_or(rows, |before| before.min(rows)));
    }

    /// Where a column shows a computed value, a mask that leaves something of it would leave what the
    /// computation chose: `left(ssn, 7)` shows with its end what the mask of `ssn` hides. Such a mask
    /// redacts.
    pub fn harden(&mut self, columns: &[Column]) {
        for (slot, column) in self.columns.iter_mut().zip(columns) {
            if column.resolution != Resolution::Stored {
                slot.mask = slot.mask.take().map(|mask| if mask.rank() == 0 { Mask::Redact } else { mask });
            }
        }
    }

    /// Adds everything that `other` asks for.
    pub fn merge(&mut self, other: Self) {
        let width = self.columns.len().max(other.columns.len());
        self.columns.resize(width, ColumnPlan::default());
        for (slot, more) in self.columns.iter_mut().zip(other.columns) {
            slot.inspect |= more.inspect;
            slot.spare |= more.spare;
            slot.mask = match (slot.mask.take(), more.mask) {
                (Some(a), Some(b)) => Some(a.stricter(b)),
                (a, b) => a.or(b),
            };
        }
        if let Some(rows) = other.max_rows {
            self.limit_rows(rows);
        }
    }

    fn slot(&mut self, index: u32, width: usize) -> Result<&mut ColumnPlan, OutOfBounds> {
        let index = index as usize;
        if self.columns.len() < width {
            self.columns.resize(width, ColumnPlan::default());
        }
        self.columns.get_mut(index).ok_or(OutOfBounds { index, width })
    }
}

/// A policy named a column that the result does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("column {index} was named, but the result has {width}")]
pub struct OutOfBounds {
    /// The index named.
    pub index: usize,
    /// The number of columns.
    pub width: usize,
}

/// A value of a batch to mask: `row` counts within the batch, `column` is the result's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellMask {
    /// The row within the batch.
    pub row: u32,
    /// The column within the result.
    pub column: u32,
    /// What happens to the value.
    pub mask: Mask,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_accumulate_to_the_stricter() {
        let mut plan = MaskPlan::default();
        plan.mask(1, 3, Mask::Partial(4)).unwrap();
        let mut other = MaskPlan::default();
        other.mask(1, 3, Mask::Null).unwrap();
        other.inspect(0, 3).unwrap();
        other.limit_rows(10);
        plan.limit_rows(20);
        plan.merge(other);
        assert_eq!(plan.columns[1].mask, Some(Mask::Null));
        assert!(plan.columns[0].inspect && plan.inspects());
        assert_eq!(plan.max_rows, Some(10));
    }

    #[test]
    fn two_partial_masks_redact() {
        assert_eq!(Mask::Partial(4).stricter(Mask::Email), Mask::Redact);
        assert_eq!(Mask::Hash.stricter(Mask::Partial(2)), Mask::Hash);
        assert_eq!(Mask::Partial(4).stricter(Mask::Partial(4)), Mask::Partial(4));
    }

    #[test]
    fn what_a_computation_shows_is_not_masked_in_part() {
        let column =
            |resolution| Column { name: "x".into(), type_name: "text".into(), resolution, sources: Vec::new() };
        let mut plan = MaskPlan::default();
        for index in 0..2 {
            plan.mask(index, 3, Mask::Partial(4)).unwrap();
        }
        plan.mask(2, 3, Mask::Hash).unwrap();
        plan.harden(&[Resolution::Stored, Resolution::Derived, Resolution::Derived].map(column));
        let masks = plan.columns.into_iter().map(|column| column.mask).collect::<Vec<_>>();
        assert_eq!(masks, [Some(Mask::Partial(4)), Some(Mask::Redact), Some(Mask::Hash)]);
    }

    #[test]
    fn a_column_that_does_not_exist_is_an_error() {
        assert!(MaskPlan::default().mask(3, 3, Mask::Redact).is_err());
    }
}
