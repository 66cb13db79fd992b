//! Between the contract's words and core's.

use std::fmt;

use sluicegate_core::{
    ColumnName, DateUnit, Mask, RelationName, Resolution,
    sql::{Access, Classes, Usage},
};

use crate::contract::sluicegate::policy::{results, sql, types};

pub(crate) fn relation_name(name: &RelationName) -> types::RelationName {
    types::RelationName { schema: name.schema.to_string(), name: name.name.to_string() }
}

pub(crate) fn column_name(name: &ColumnName) -> types::ColumnName {
    types::ColumnName {
        schema: name.relation.schema.to_string(),
        relation: name.relation.name.to_string(),
        column: name.column.to_string(),
    }
}

pub(crate) fn resolution(resolution: Resolution) -> results::Resolution {
    match resolution {
        Resolution::Stored => results::Resolution::Stored,
        Resolution::Derived => results::Resolution::Derived,
        Resolution::Computed => results::Resolution::Computed,
        Resolution::Unresolved => results::Resolution::Unresolved,
    }
}

pub(crate) fn mask(mask: types::Mask) -> Mask {
    match mask {
        types::Mask::Redact => Mask::Redact,
        types::Mask::Partial(keep) => Mask::Partial(keep),
        types::Mask::Hash => Mask::Hash,
        types::Mask::Null => Mask::Null,
        types::Mask::Email => Mask::Email,
        types::Mask::Round(power) => Mask::Round(power),
        types::Mask::TruncateDate(unit) => Mask::TruncateDate(match unit {
            types::DateUnit::Year => DateUnit::Year,
            types::DateUnit::Month => DateUnit::Month,
            types::DateUnit::Day => DateUnit::Day,
            types::DateUnit::Hour => DateUnit::Hour,
        }),
        types::Mask::Replace(text) => Mask::Replace(text),
    }
}

/// A mask in an opinion. The text of `replace` is the policy's own and may be long.
pub(crate) struct Named<'a>(pub(crate) &'a Mask);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Mask::Redact => f.write_str("redact"),
            Mask::Partial(keep) => write!(f, "partial {keep}"),
            Mask::Hash => f.write_str("hash"),
            Mask::Null => f.write_str("null"),
            Mask::Email => f.write_str("email"),
            Mask::Round(power) => write!(f, "round {power}"),
            Mask::TruncateDate(unit) => write!(f, "truncate {}", unit_name(*unit)),
            Mask::Replace(_) => f.write_str("replace"),
        }
    }
}

fn unit_name(unit: DateUnit) -> &'static str {
    match unit {
        DateUnit::Year => "year",
        DateUnit::Month => "month",
        DateUnit::Day => "day",
        DateUnit::Hour => "hour",
    }
}

/// The contract's flags and core's have the same bits, so a table turns one into the other.
macro_rules! flags {
    ($from:ty => $to:ty { $($core:ident = $wit:ident),* $(,)? }) => {
        impl From<$from> for $to {
            fn from(from: $from) -> Self {
                let mut to = <$to>::empty();
                $(if from.contains(<$from>::$core) { to |= <$to>::$wit; })*
                to
            }
        }
    };
}

flags!(Classes => sql::Classes {
    READ = READ, DML = DML, DDL = DDL, ADMIN = ADMIN, OPAQUE = OPAQUE, SESSION = SESSION,
    TRANSACTION = TRANSACTION, UNANALYSABLE = UNANALYSABLE,
});
flags!(sql::Classes => Classes {
    READ = READ, DML = DML, DDL = DDL, ADMIN = ADMIN, OPAQUE = OPAQUE, SESSION = SESSION,
    TRANSACTION = TRANSACTION, UNANALYSABLE = UNANALYSABLE,
});
flags!(Access => sql::Access {
    READ = READ, INSERT = INSERT, UPDATE = UPDATE, DELETE = DELETE, TRUNCATE = TRUNCATE,
    DEFINE = DEFINE,
});
flags!(Usage => sql::Usage {
    OUTPUT = OUTPUT, FILTER = FILTER, JOIN = JOIN, GROUP = GROUP, ORDER = ORDER, WRITE = WRITE,
});
