//! Results as policies see them: their columns, where the values come from, and batches of rows
//! projected to the columns that a policy inspects.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A relation's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RelationName {
    /// The schema; empty where there is none or where it is unknown.
    pub schema: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.schema.is_empty() {
            write!(f, "{}.", self.schema)?;
        }
        f.write_str(&self.name)
    }
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnName {
    /// The relation.
    pub relation: RelationName,
    /// The column.
    pub column: Arc<str>,
}

/// How sure it is where an output column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// A stored column.
    Stored,
    /// Computed from the columns in `sources` and from nothing else.
    Derived,
    /// Computed from no stored data.
    Computed,
    /// Unknown: whatever the command reaches may be in it.
    Unresolved,
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name that the client sees.
    pub name: Arc<str>,
    /// The type's name in the target.
    pub type_name: Arc<str>,
    /// How sure its origin is.
    pub resolution: Resolution,
    /// The stored columns it comes from, with the views it is seen through.
    pub sources: Vec<ColumnName>,
}

/// The shape of a result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResultSchema {
    /// Which of the command's statements it belongs to, from 0.
    pub statement: u32,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// One inspected column of a batch: value `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchColumn {
    /// Its index in the result.
    pub column: u32,
    /// One more than there are rows.
    pub offsets: Vec<u32>,
    /// The values, one after the other.
    pub bytes: Vec<u8>,
    /// The rows whose value is NULL, in order.
    pub nulls: Vec<u32>,
}

/// Some rows of a result, projected to the inspected columns. Values never appear in `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The number of its first row within the result.
    pub first_row: u64,
    /// How many rows.
    pub rows: u32,
    /// The inspected columns, by ascending index.
    pub columns: Vec<BatchColumn>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} rows from {}, {} columns)", self.rows, self.first_row, self.columns.len())
    }
}
