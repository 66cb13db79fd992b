//! `numeric` in binary: `numeric_send` in `src/backend/utils/adt/numeric.c`. Digits are in base
//! 10 000; the first one's place is `weight`, and `dscale` counts the decimals to show.

use bytes::{Buf, BufMut};

use super::push;

const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// `NUMERIC_DSCALE_MASK`: the most decimals.
const MAX_SCALE: u16 = 0x3FFF;

/// Appends a binary `numeric` as text.
pub(crate) fn render(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = value;
    let count = usize::from(rest.try_get_u16().ok()?);
    let weight = i32::from(rest.try_get_i16().ok()?);
    let sign = rest.try_get_u16().ok()?;
    let scale = rest.try_get_u16().ok()?;
    if rest.len() != count * 2 || scale > MAX_SCALE {
        return None;
    }
    match sign {
        0 => {}
        NEGATIVE => out.push(b'-'),
        NOT_A_NUMBER => return special("NaN", out),
        POSITIVE_INFINITY => return special("Infinity", out),
        NEGATIVE_INFINITY => return special("-Infinity", out),
        _ => return None,
    }
    let digit = |place: i32| -> Option<u16> {
        let Ok(index) = usize::try_from(weight - place) else { return Some(0) };
        match rest.get(index * 2..index * 2 + 2) {
            Some(mut pair) => pair.try_get_u16().ok().filter(|d| *d < 10_000),
            None => Some(0),
        }
    };
    push(out, digit(weight.max(0))?);
    for place in (0..weight).rev() {
        push(out, format_args!("{:04}", digit(place)?));
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + usize::from(scale);
        for place in 1..=i32::from(scale.div_ceil(4)) {
            push(out, format_args!("{:04}", digit(-place)?));
        }
        out.truncate(end);
    }
    Some(())
}

fn special(text: &str, out: &mut Vec<u8>) -> Option<()> {
    push(out, text);
    Some(())
}

/// Appends an integer, given by its decimal digits, as a binary `numeric`; `None` where it has more
/// digits than the type can hold.
pub(crate) fn encode_integer(negative: bool, digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let groups: Vec<u16> =
        digits.rchunks(4).rev().map(|group| group.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'))).collect();
    let first = groups.iter().position(|g| *g != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|g| *g != 0).map_or(first, |at| at + 1);
    let shown = groups.get(first..last)?;
    let weight = if shown.is_empty() { 0 } else { i16::try_from(groups.len() - first - 1).ok()? };
    out.put_u16(u16::try_from(shown.len()).ok()?);
    out.put_i16(weight);
    out.put_u16(if negative && !shown.is_empty() { NEGATIVE } else { 0 });
    out.put_u16(0);
    for group in shown {
        out.put_u16(*group);
    }
    Some(())
}
