//! Masks carried out on single values. Whatever the mask, the result is valid for the column's
//! declared type in the value's own format; where a mask has no meaning for the type it redacts,
//! and where the type is unknown the result is NULL.
//!
//! A mask that leaves something of the value (`partial`, `email`, `round`, `truncate-date`) says
//! nothing about what was computed from it: `left(ssn, 7)` would show other characters than `ssn`
//! does. Use such masks only where the column's values are stored ones.

mod characters;
mod date;
mod hash;
mod number;
mod redact;

use secrecy::{ExposeSecret, SecretBox};
use sluicegate_core::Mask;

use super::value::{FieldType, Format, Kind};

/// The deployment's key for `hash`. It is wiped from memory when dropped, and its `Debug` is blank.
#[derive(Debug)]
pub struct HashKey(SecretBox<[u8; 32]>);

impl HashKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    fn bytes(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskedField {
    /// It is NULL now, and nothing was appended.
    Null,
    /// It is what was appended.
    Bytes,
}

/// Masks `value` and appends the result to `out` in the same format. NULL stays NULL.
pub fn apply(
    mask: &Mask,
    value: Option<&[u8]>,
    ty: FieldType,
    format: Format,
    key: &HashKey,
    out: &mut Vec<u8>,
) -> MaskedField {
    let Some(value) = value else { return MaskedField::Null };
    let start = out.len();
    let field = Field { value, ty, kind: ty.kind(), format };
    let masked = match mask {
        Mask::Null => return MaskedField::Null,
        Mask::Redact => None,
        Mask::Partial(keep) => characters::partial(&field, *keep, out),
        Mask::Email => characters::email(&field, out),
        Mask::Replace(text) => characters::replace(&field, text, out),
        Mask::Hash => hash::hash(&field, key, out),
        Mask::Round(power) => number::round(&field, *power, out),
        Mask::TruncateDate(unit) => date::truncate(&field, *unit, out),
    };
    let masked = masked.or_else(|| {
        out.truncate(start);
        redact::redact(&field, out)
    });
    match masked {
        Some(()) => MaskedField::Bytes,
        None => {
            out.truncate(start);
            MaskedField::Null
        }
    }
}

/// A value to mask. Each mask appends its result, or answers `None` where it has no meaning for it.
struct Field<'a> {
    value: &'a [u8],
    ty: FieldType,
    kind: Kind,
    format: Format,
}

#[cfg(test)]
mod tests;
