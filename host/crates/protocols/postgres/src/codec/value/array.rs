//! Arrays in binary: `array_send` in `src/backend/utils/adt/arrayfuncs.c`.

use bytes::{Buf, BufMut};

use super::{Kind, scalar};

/// `MAXDIM` of `src/include/utils/array.h`.
const MAX_DIMENSIONS: i32 = 6;

/// A few bytes of `numeric` may stand for many digits, so the rendering of an array is bounded.
const MAX_RENDERED: usize = 1024 * 1024;

/// Appends the elements, flat, as `{a,NULL,b}`.
pub(crate) fn render(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let limit = out.len() + MAX_RENDERED + 4 * value.len();
    let mut rest = value;
    let dimensions = rest.try_get_i32().ok()?;
    let _flags = rest.try_get_i32().ok()?;
    let kind = Kind::scalar(rest.try_get_u32().ok()?);
    if !(0..=MAX_DIMENSIONS).contains(&dimensions) {
        return None;
    }
    for _ in 0..dimensions {
        let _length_and_lower_bound = rest.try_get_u64().ok()?;
    }
    out.push(b'{');
    let mut separator = "";
    while !rest.is_empty() {
        out.extend_from_slice(separator.as_bytes());
        separator = ",";
        match rest.try_get_i32().ok()? {
            -1 => out.extend_from_slice(b"NULL"),
            length => {
                let (element, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after;
                match kind {
                    Kind::Bytea => out.extend_from_slice(element),
                    kind => scalar(element, kind, out)?,
                }
            }
        }
        if out.len() > limit {
            return None;
        }
    }
    out.push(b'}');
    Some(())
}

/// Appends an empty array of elements of type `element`, in binary.
pub(crate) fn encode_empty(element: u32, out: &mut Vec<u8>) {
    out.put_i32(0);
    out.put_i32(0);
    out.put_u32(element);
}
