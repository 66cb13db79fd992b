//! `redact`: for each type a fixed value that tells nothing.

use super::{Field, characters};
use crate::codec::value::{Format, Kind, array, push};

const REDACTED: &str = "[redacted]";
const REDACTED_JSON: &str = "\"[redacted]\"";

/// 1970-01-01 in days and in microseconds since 2000-01-01.
const UNIX_EPOCH_DAYS: i32 = -10_957;
const UNIX_EPOCH_MICROS: i64 = -946_684_800_000_000;

/// Longer bit strings become NULL: their zeros would be mere weight.
const MAX_BITS: i32 = 4096;

/// Appends the fixed value of the field's type; `None` where the type is unknown.
pub(super) fn redact(field: &Field<'_>, out: &mut Vec<u8>) -> Option<()> {
    if field.kind.is_text_like() {
        characters::put(field, REDACTED, out);
        return Some(());
    }
    match field.format {
        Format::Text => push(out, text(field)?),
        Format::Binary => binary(field, out)?,
    }
    Some(())
}

fn text(field: &Field<'_>) -> Option<String> {
    let text = match field.kind {
        Kind::Char => "*",
        Kind::Json | Kind::Jsonb => REDACTED_JSON,
        Kind::JsonPath => "$",
        Kind::Xml => "<redacted/>",
        Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Xid8 | Kind::Oid => "0",
        Kind::Float4 | Kind::Float8 | Kind::Numeric | Kind::Money => "0",
        Kind::Reg => "-",
        Kind::Bool => "f",
        Kind::Uuid => "00000000-0000-0000-0000-000000000000",
        Kind::Bytea => "\\x",
        Kind::Date => "1970-01-01",
        Kind::Time | Kind::Interval => "00:00:00",
        Kind::TimeTz => "00:00:00+00",
        Kind::Timestamp => "1970-01-01 00:00:00",
        Kind::TimestampTz => "1970-01-01 00:00:00+00",
        Kind::Inet => "0.0.0.0",
        Kind::Cidr => "0.0.0.0/32",
        Kind::MacAddr => "00:00:00:00:00:00",
        Kind::MacAddr8 => "00:00:00:00:00:00:00:00",
        Kind::Bit => return Some("0".repeat(usize::try_from(bits(field)?).ok()?)),
        Kind::VarBit | Kind::TsVector => "",
        // The server does not read an empty one in binary.
        Kind::TsQuery => "'redacted'",
        Kind::PgLsn => "0/0",
        Kind::Array(_) => "{}",
        Kind::Text | Kind::VarChar | Kind::BpChar | Kind::Name => REDACTED,
        Kind::Other => return None,
    };
    Some(text.to_owned())
}

fn binary(field: &Field<'_>, out: &mut Vec<u8>) -> Option<()> {
    let zeros = |out: &mut Vec<u8>, count: usize| out.resize(out.len() + count, 0);
    match field.kind {
        Kind::Char | Kind::Json | Kind::Xml => push(out, text(field)?),
        Kind::Jsonb | Kind::JsonPath => {
            out.push(1);
            push(out, text(field)?);
        }
        Kind::Bool => zeros(out, 1),
        Kind::Int2 => zeros(out, 2),
        Kind::Int4 | Kind::Oid | Kind::Reg | Kind::Float4 => zeros(out, 4),
        Kind::Int8 | Kind::Xid8 | Kind::Float8 | Kind::Money | Kind::PgLsn | Kind::Time => zeros(out, 8),
        // No digits, no weight, no sign, no decimals.
        Kind::Numeric => zeros(out, 8),
        Kind::MacAddr => zeros(out, 6),
        Kind::MacAddr8 => zeros(out, 8),
        Kind::TimeTz => zeros(out, 12),
        Kind::Uuid | Kind::Interval => zeros(out, 16),
        Kind::Bytea => {}
        Kind::Date => out.extend_from_slice(&UNIX_EPOCH_DAYS.to_be_bytes()),
        Kind::Timestamp | Kind::TimestampTz => out.extend_from_slice(&UNIX_EPOCH_MICROS.to_be_bytes()),
        // IPv4, all bits, whether it is a cidr, four bytes.
        Kind::Inet => out.extend_from_slice(&[2, 32, 0, 4, 0, 0, 0, 0]),
        Kind::Cidr => out.extend_from_slice(&[2, 32, 1, 4, 0, 0, 0, 0]),
        Kind::Bit => {
            let bits = bits(field)?;
            out.extend_from_slice(&bits.to_be_bytes());
            zeros(out, usize::try_from(bits).ok()?.div_ceil(8));
        }
        // A count of none.
        Kind::VarBit | Kind::TsVector => zeros(out, 4),
        // One item: a word, of any weight, not a prefix.
        Kind::TsQuery => out.extend_from_slice(b"\0\0\0\x01\x01\0\0redacted\0"),
        Kind::Array(element) => array::encode_empty(element, out),
        Kind::Text | Kind::VarChar | Kind::BpChar | Kind::Name => push(out, REDACTED),
        Kind::Other => return None,
    }
    Some(())
}

/// The width of `bit(n)`.
fn bits(field: &Field<'_>) -> Option<i32> {
    Some(field.ty.typmod).filter(|n| (1..=MAX_BITS).contains(n))
}
