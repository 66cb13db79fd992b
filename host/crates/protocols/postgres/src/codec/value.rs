//! A single value: its type and format, and its rendering as text so that policies can look at it.
//! Binary layouts are those of the types' `*_send` functions, `src/backend/utils/adt`.

pub(crate) mod array;
pub(crate) mod bytea;
pub(crate) mod datetime;
pub(crate) mod float;
mod kind;
mod network;
pub(crate) mod numeric;

use bytes::Buf;
pub use kind::Kind;

/// How a value is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// As the type's output function writes it.
    Text,
    /// As the type's send function writes it.
    Binary,
}

impl Format {
    /// The format of a format code on the wire: 0 or 1; `None` for codes that do not exist.
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// A column's declared type, as in a RowDescription. Domains arrive as their base type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldType {
    /// The type's oid.
    pub oid: u32,
    /// The type's modifier, such as a length; negative for none.
    pub typmod: i32,
}

impl FieldType {
    /// What kind of type it is.
    pub fn kind(self) -> Kind {
        Kind::of(self.oid)
    }

    /// The `n` of `varchar(n)` and `char(n)`, in characters.
    pub(crate) fn max_chars(self) -> Option<usize> {
        match self.kind() {
            // The modifier counts a header of four bytes.
            Kind::VarChar | Kind::BpChar => usize::try_from(self.typmod.checked_sub(4)?).ok(),
            _ => None,
        }
    }
}

/// What [`render`] appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendered {
    /// The value as text.
    Text,
    /// Bytes that are no text: those of a `bytea`, or the wire's where the type is unknown.
    Raw,
}

/// Appends the value as PostgreSQL writes it as text, with ISO dates and UTC. Types that are not
/// known, and values that are not valid for their type, are appended as they are. At most about
/// four times the value and 1 MiB is appended.
pub fn render(value: &[u8], ty: FieldType, format: Format, out: &mut Vec<u8>) -> Rendered {
    let start = out.len();
    let rendered = match (format, ty.kind()) {
        // Its hexadecimal form would hide from a policy what is in it.
        (Format::Text, Kind::Bytea) => bytea::decode(value, out).map(|()| Rendered::Raw),
        (Format::Text, _) => {
            out.extend_from_slice(value);
            Some(Rendered::Text)
        }
        (Format::Binary, kind) => binary(value, kind, out),
    };
    rendered.unwrap_or_else(|| {
        out.truncate(start);
        out.extend_from_slice(value);
        Rendered::Raw
    })
}

fn binary(value: &[u8], kind: Kind, out: &mut Vec<u8>) -> Option<Rendered> {
    match kind {
        Kind::Array(_) => array::render(value, out)?,
        Kind::Bytea => {
            out.extend_from_slice(value);
            return Some(Rendered::Raw);
        }
        kind => scalar(value, kind, out)?,
    }
    Some(Rendered::Text)
}

/// Appends a binary value that is neither an array nor raw; `None` where it is not valid.
pub(crate) fn scalar(value: &[u8], kind: Kind, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = value;
    match kind {
        Kind::Text | Kind::VarChar | Kind::BpChar | Kind::Name | Kind::Char | Kind::Json | Kind::Xml => {
            out.extend_from_slice(value);
            return Some(());
        }
        Kind::Jsonb | Kind::JsonPath => {
            // A version number comes first; there has only ever been 1.
            let (&version, text) = value.split_first()?;
            out.extend_from_slice(text);
            return (version == 1).then_some(());
        }
        Kind::Int2 => push(out, rest.try_get_i16().ok()?),
        Kind::Int4 => push(out, rest.try_get_i32().ok()?),
        Kind::Int8 => push(out, rest.try_get_i64().ok()?),
        Kind::Xid8 => push(out, rest.try_get_u64().ok()?),
        Kind::Oid | Kind::Reg => push(out, rest.try_get_u32().ok()?),
        Kind::Float4 => float::render4(rest.try_get_f32().ok()?, out),
        Kind::Float8 => float::render8(rest.try_get_f64().ok()?, out),
        Kind::Bool => out.push(if rest.try_get_u8().ok()? == 0 { b'f' } else { b't' }),
        Kind::Uuid => uuid(rest.try_get_u128().ok()?, out),
        Kind::Date => datetime::render_date(rest.try_get_i32().ok()?, out),
        Kind::Time => datetime::render_time(rest.try_get_i64().ok()?, out)?,
        Kind::Timestamp => datetime::render_timestamp(rest.try_get_i64().ok()?, "", out),
        Kind::TimestampTz => datetime::render_timestamp(rest.try_get_i64().ok()?, "+00", out),
        Kind::Numeric => return numeric::render(value, out),
        Kind::Inet | Kind::Cidr => return network::render_inet(value, out),
        Kind::MacAddr | Kind::MacAddr8 => return network::render_mac(value, kind, out),
        _ => return None,
    }
    rest.is_empty().then_some(())
}

fn uuid(value: u128, out: &mut Vec<u8>) {
    let hex = format!("{value:032x}");
    for (index, digit) in hex.bytes().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        out.push(digit);
    }
}

/// Appends something's text.
pub(crate) fn push(out: &mut Vec<u8>, text: impl std::fmt::Display) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{text}");
}

#[cfg(test)]
mod tests;
