//! `round`, and how numbers are written in either format.

use std::borrow::Cow;

use super::Field;
use crate::codec::value::{FieldType, Format, Kind, float, numeric, push, render};

/// The most digits before the point of a `numeric`:
/// <https://www.postgresql.org/docs/current/datatype-numeric.html>.
const MAX_INTEGER_DIGITS: usize = 131_072;

/// Rounds down, towards minus infinity, to a multiple of ten to `power`.
pub(super) fn round(field: &Field<'_>, power: u32, out: &mut Vec<u8>) -> Option<()> {
    let text = text(field)?;
    match field.kind {
        Kind::Int2 | Kind::Int4 | Kind::Int8 => put_integer(field, round_integer(text.parse().ok()?, power)?, out),
        Kind::Numeric => {
            let (negative, digits) = round_decimal(&text, power)?;
            (digits.len() <= integer_digits(field.ty)).then_some(())?;
            put_numeric(field, negative, digits.as_bytes(), out)
        }
        Kind::Float4 | Kind::Float8 => put_float(field, round_float(text.parse().ok()?, power)?, out),
        _ => None,
    }
}

/// Appends an integer; `None` where the type cannot hold it.
pub(super) fn put_integer(field: &Field<'_>, value: i64, out: &mut Vec<u8>) -> Option<()> {
    let largest = largest(field.kind)?;
    if !(-largest - 1..=largest).contains(&value) {
        return None;
    }
    match (field.format, field.kind) {
        (Format::Text, _) => push(out, value),
        (Format::Binary, Kind::Int2) => out.extend_from_slice(&i16::try_from(value).ok()?.to_be_bytes()),
        (Format::Binary, Kind::Int4) => out.extend_from_slice(&i32::try_from(value).ok()?.to_be_bytes()),
        (Format::Binary, _) => out.extend_from_slice(&value.to_be_bytes()),
    }
    Some(())
}

/// Appends an integral `numeric`, given by its digits.
pub(super) fn put_numeric(field: &Field<'_>, negative: bool, digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match field.format {
        Format::Binary => numeric::encode_integer(negative, digits, out),
        Format::Text => {
            if negative {
                out.push(b'-');
            }
            out.extend_from_slice(digits);
            Some(())
        }
    }
}

/// The largest value of an integer type.
pub(super) fn largest(kind: Kind) -> Option<i64> {
    match kind {
        Kind::Int2 => Some(i64::from(i16::MAX)),
        Kind::Int4 => Some(i64::from(i32::MAX)),
        Kind::Int8 => Some(i64::MAX),
        _ => None,
    }
}

/// How many digits before the point a `numeric(p, s)` holds. One with a negative scale holds only
/// multiples of a power of ten, and is treated as holding none but 0.
pub(super) fn integer_digits(ty: FieldType) -> usize {
    let Some(typmod) = ty.typmod.checked_sub(4).filter(|t| *t >= 0) else { return MAX_INTEGER_DIGITS };
    let precision = typmod >> 16 & 0xFFFF;
    // Eleven bits, signed: `numeric_typmod_scale`.
    let scale = ((typmod & 0x7FF) ^ 1024) - 1024;
    if scale < 0 { 0 } else { usize::try_from(precision - scale).unwrap_or(0) }
}

/// The number as text.
fn text<'a>(field: &Field<'a>) -> Option<Cow<'a, str>> {
    match field.format {
        Format::Text => std::str::from_utf8(field.value).ok().map(Cow::Borrowed),
        Format::Binary => {
            let mut text = Vec::new();
            render(field.value, field.ty, Format::Binary, &mut text);
            String::from_utf8(text).ok().map(Cow::Owned)
        }
    }
}

fn round_integer(value: i64, power: u32) -> Option<i64> {
    match 10_i64.checked_pow(power) {
        Some(unit) => value.checked_sub(value.rem_euclid(unit)),
        // The unit is larger than any value: what is not negative becomes 0.
        None => (value >= 0).then_some(0),
    }
}

fn round_float(value: f64, power: u32) -> Option<f64> {
    let unit = 10_f64.powi(i32::try_from(power).unwrap_or(i32::MAX));
    if !unit.is_finite() {
        return (value >= 0.0).then_some(0.0);
    }
    Some((value / unit).floor() * unit).filter(|rounded| rounded.is_finite())
}

fn put_float(field: &Field<'_>, value: f64, out: &mut Vec<u8>) -> Option<()> {
    if field.kind == Kind::Float8 {
        match field.format {
            Format::Text => float::render8(value, out),
            Format::Binary => out.extend_from_slice(&value.to_be_bytes()),
        }
        return Some(());
    }
    #[expect(clippy::cast_possible_truncation, reason = "the nearest float4 is wanted, and checked to be finite")]
    let value = Some(value as f32).filter(|narrow| narrow.is_finite())?;
    match field.format {
        Format::Text => float::render4(value, out),
        Format::Binary => out.extend_from_slice(&value.to_be_bytes()),
    }
    Some(())
}

/// Rounds a decimal number given as text; answers its sign and the digits before its point.
fn round_decimal(text: &str, power: u32) -> Option<(bool, String)> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let power = usize::try_from(power).ok()?;
    let (kept, lost) = whole.split_at(whole.len().saturating_sub(power));
    let is_exact = lost.bytes().chain(fraction.bytes()).all(|b| b == b'0');
    let mut digits = kept.trim_start_matches('0').to_owned();
    if negative && !is_exact {
        digits = successor(&digits);
    }
    if digits.is_empty() {
        return Some((false, "0".to_owned()));
    }
    if digits.len().checked_add(power)? > MAX_INTEGER_DIGITS {
        return None;
    }
    digits.extend(std::iter::repeat_n('0', power));
    Some((negative, digits))
}

/// The next whole number, in decimal digits.
fn successor(digits: &str) -> String {
    let nines = digits.len() - digits.trim_end_matches('9').len();
    let mut bytes = digits.as_bytes().to_vec();
    bytes.truncate(digits.len() - nines);
    match bytes.last_mut() {
        Some(last) => *last += 1,
        None => bytes.push(b'1'),
    }
    bytes.extend(std::iter::repeat_n(b'0', nines));
    bytes.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_round_down() {
        for (text, power, expected) in [
            ("12345.67", 2, "12300"),
            ("-12345.67", 2, "-12400"),
            ("-12300.00", 2, "-12300"),
            ("-0.5", 0, "-1"),
            ("0.5", 0, "0"),
            ("99", 5, "0"),
            ("-99", 5, "-100000"),
            ("-999.1", 0, "-1000"),
            ("5", u32::MAX, "0"),
        ] {
            let (negative, digits) = round_decimal(text, power).unwrap();
            assert_eq!(format!("{}{digits}", if negative { "-" } else { "" }), expected, "{text} {power}");
        }
        assert_eq!(round_decimal("-5", u32::MAX), None);
        assert_eq!(round_decimal("NaN", 1), None);
    }

    #[test]
    fn a_modifier_limits_the_digits() {
        let digits = |precision: i32, scale: i32| {
            integer_digits(FieldType { oid: 1700, typmod: (precision << 16 | scale & 0x7FF) + 4 })
        };
        assert_eq!(digits(10, 2), 8);
        assert_eq!(digits(2, 5), 0);
        assert_eq!(digits(2, -3), 0);
        assert_eq!(integer_digits(FieldType { oid: 1700, typmod: -1 }), MAX_INTEGER_DIGITS);
    }

    proptest! {
        #[test]
        fn integers_and_decimals_agree(value: i64, power in 0_u32..18) {
            if let Some(expected) = round_integer(value, power) {
                let (negative, digits) = round_decimal(&value.to_string(), power).unwrap();
                let got: i64 = format!("{}{digits}", if negative { "-" } else { "" }).parse().unwrap();
                prop_assert_eq!(got, expected);
                prop_assert!(expected <= value && expected.rem_euclid(10_i64.pow(power)) == 0);
            }
        }
    }
}
