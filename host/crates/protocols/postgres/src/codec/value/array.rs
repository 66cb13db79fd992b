//! Arrays in binary: `array_send` in `src/backend/utils/adt/arrayfuncs.c`.

use bytes::{Buf, BufMut};

use super::{Kind, push, scalar};

/// `MAXDIM` of `src/include/utils/array.h`.
const MAX_DIMENSIONS: i32 = 6;

/// A few bytes of `numeric` may stand for many digits, so the rendering of an array is bounded.
const MAX_RENDERED: usize = 1024 * 1024;

/// Appends it as `array_out` writes it: `{a,NULL,"b c"}`, with braces for each dimension and with bounds
/// where one is not 1. Elements of `bytea` are appended as they are.
pub(crate) fn render(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = value;
    let dimensions = rest.try_get_i32().ok()?;
    let _flags = rest.try_get_i32().ok()?;
    let kind = Kind::scalar(rest.try_get_u32().ok()?);
    if !(0..=MAX_DIMENSIONS).contains(&dimensions) {
        return None;
    }
    let mut lengths = Vec::new();
    let mut bounds = Vec::new();
    for _ in 0..dimensions {
        lengths.push(usize::try_from(rest.try_get_i32().ok()?).ok()?);
        bounds.push(rest.try_get_i32().ok()?);
    }
    if lengths.contains(&0) {
        return None;
    }
    if bounds.iter().any(|bound| *bound != 1) {
        for (bound, length) in bounds.iter().zip(&lengths) {
            push(out, format_args!("[{bound}:{}]", i64::from(*bound) + i64::try_from(*length).ok()? - 1));
        }
        out.push(b'=');
    }
    if lengths.is_empty() {
        out.extend_from_slice(b"{}");
    } else {
        let limit = out.len() + MAX_RENDERED + 4 * value.len();
        elements(&mut rest, &lengths, kind, limit, out)?;
    }
    rest.is_empty().then_some(())
}

/// One dimension and those inside it; every element takes bytes of `rest`, so few bytes make few.
fn elements(rest: &mut &[u8], lengths: &[usize], kind: Kind, limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let Some((length, inner)) = lengths.split_first() else { return element(rest, kind, out) };
    out.push(b'{');
    for index in 0..*length {
        if index > 0 {
            out.push(b',');
        }
        elements(rest, inner, kind, limit, out)?;
        if out.len() > limit {
            return None;
        }
    }
    out.push(b'}');
    Some(())
}

fn element(rest: &mut &[u8], kind: Kind, out: &mut Vec<u8>) -> Option<()> {
    let length = rest.try_get_i32().ok()?;
    if length == -1 {
        out.extend_from_slice(b"NULL");
        return Some(());
    }
    let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    let start = out.len();
    match kind {
        Kind::Bytea => out.extend_from_slice(value),
        kind => scalar(value, kind, out)?,
    }
    quote(start, out);
    Some(())
}

/// Quotes what was appended from `start` on, where it could be taken for something else without.
fn quote(start: usize, out: &mut Vec<u8>) {
    let text = out.get(start..).unwrap_or_default();
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t'..=b'\r');
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        return;
    }
    let text = out.split_off(start);
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Appends an empty array of elements of type `element`, in binary.
pub(crate) fn encode_empty(element: u32, out: &mut Vec<u8>) {
    out.put_i32(0);
    out.put_i32(0);
    out.put_u32(element);
}
