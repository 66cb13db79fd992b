//! `hash`: HMAC-SHA256 of the value's canonical text under the deployment's key, cut to what the
//! type can hold. Equal values of a type are hashed alike whatever their format.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Field, HashKey, characters, number};
use crate::codec::value::{Format, Kind, bytea, push, render};

/// The characters of a hashed text.
const TEXT_LENGTH: usize = 16;

/// Appends the value's hash.
pub(super) fn hash(field: &Field<'_>, key: &HashKey, out: &mut Vec<u8>) -> Option<()> {
    match field.kind {
        Kind::Text | Kind::VarChar | Kind::BpChar | Kind::Name => {
            let hex = format!("{:032x}", mac(field, key)?);
            characters::put(field, hex.get(..TEXT_LENGTH)?, out);
        }
        Kind::Int2 | Kind::Int4 | Kind::Int8 => {
            // The low 63 bits; a narrower type takes its share of them.
            let number = i64::try_from(mac(field, key)? & u128::from(i64::MAX.unsigned_abs())).ok()?;
            number::put_integer(field, number & number::largest(field.kind)?, out)?;
        }
        Kind::Numeric => {
            let digits = number::integer_digits(field.ty).min(15);
            let modulus = 10_u128.pow(u32::try_from(digits).ok()?);
            let number = (mac(field, key)? % modulus).to_string();
            number::put_numeric(field, false, number.as_bytes(), out)?;
        }
        Kind::Uuid => put_uuid(mac(field, key)?, field.format, out),
        Kind::Bytea => {
            let bytes = mac(field, key)?.to_be_bytes();
            match field.format {
                Format::Text => bytea::encode(&bytes, out),
                Format::Binary => out.extend_from_slice(&bytes),
            }
        }
        _ => return None,
    }
    Some(())
}

/// The first half of the code.
fn mac(field: &Field<'_>, key: &HashKey) -> Option<u128> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).ok()?;
    mac.update(&canonical(field)?);
    let (half, _) = mac.finalize().into_bytes().split_first_chunk::<16>().map(|(half, rest)| (*half, rest.len()))?;
    Some(u128::from_be_bytes(half))
}

/// What equal values have in common: their text, without the blanks of `char(n)` and the trailing
/// zeros of `numeric`.
fn canonical(field: &Field<'_>) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(field.value.len());
    render(field.value, field.ty, field.format, &mut text);
    let kept = match field.kind {
        Kind::BpChar => text.trim_ascii_end().len(),
        Kind::Numeric if text.contains(&b'.') => {
            let digits = text.iter().rposition(|b| *b != b'0')?;
            if text.get(digits) == Some(&b'.') { digits } else { digits + 1 }
        }
        _ => text.len(),
    };
    text.truncate(kept);
    Some(text)
}

/// RFC 9562, section 5.8: version 8 is for values of one's own making.
fn put_uuid(mac: u128, format: Format, out: &mut Vec<u8>) {
    let id = mac & !(0xF << 76) & !(0x3 << 62) | (0x8 << 76) | (0x2 << 62);
    match format {
        Format::Binary => out.extend_from_slice(&id.to_be_bytes()),
        Format::Text => {
            let [a, b, c, d, e] =
                [id >> 96, id >> 80 & 0xFFFF, id >> 64 & 0xFFFF, id >> 48 & 0xFFFF, id & 0xFFFF_FFFF_FFFF];
            push(out, format_args!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"));
        }
    }
}
