//! COPY's binary format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".

use bytes::{Buf, BufMut, BytesMut};

use super::{CodecError, MAX_COLUMNS, MAX_ROW_BYTES, Span};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// A column count of -1 ends the data.
pub(super) const TRAILER: [u8; 2] = [0xff, 0xff];

/// What stands before each field.
pub(super) const LENGTH: usize = 4;

/// A header that is longer holds something that no server has ever written.
const MAX_EXTENSION: u32 = 64 * 1024;

pub(super) fn header_length(data: &[u8]) -> Result<Option<usize>, CodecError> {
    let common = data.len().min(SIGNATURE.len());
    if data.get(..common) != SIGNATURE.get(..common) {
        return Err(CodecError::Copy("the signature is not PGCOPY"));
    }
    let mut rest = data.get(common..).unwrap_or_default();
    let (Ok(flags), Ok(extension)) = (rest.try_get_u32(), rest.try_get_u32()) else { return Ok(None) };
    if flags >> 16 != 0 {
        return Err(CodecError::Copy("the header announces fields that no current server writes"));
    }
    if extension > MAX_EXTENSION {
        return Err(CodecError::Copy("the header is too long"));
    }
    let length = SIGNATURE.len() + 8 + extension as usize;
    Ok((length <= data.len()).then_some(length))
}

/// The length of the row, or of the trailer, at the start of `data`. Walks over the lengths only.
pub(super) fn row_length(data: &[u8]) -> Result<Option<usize>, CodecError> {
    let mut rest = data;
    let Ok(count) = rest.try_get_i16() else { return Ok(None) };
    if count == -1 {
        return Ok(Some(TRAILER.len()));
    }
    let count = usize::try_from(count).map_err(|_| CodecError::Copy("a column count is negative"))?;
    if count > MAX_COLUMNS {
        return Err(CodecError::TooManyColumns(count));
    }
    let mut total = 2;
    for _ in 0..count {
        let Some(mut rest) = data.get(total..) else { return Ok(None) };
        let Ok(length) = rest.try_get_i32() else { return Ok(None) };
        total += 4 + field_length(length)?.unwrap_or(0);
        if total > MAX_ROW_BYTES {
            return Err(CodecError::CopyRowTooLarge(MAX_ROW_BYTES));
        }
    }
    Ok((total <= data.len()).then_some(total))
}

pub(super) fn split(row: &[u8], spans: &mut Vec<Span>) -> Result<(), CodecError> {
    let mut rest = row;
    let count = usize::try_from(rest.try_get_i16().unwrap_or(0)).unwrap_or(0);
    for _ in 0..count {
        let length = field_length(rest.try_get_i32().map_err(|_| CodecError::Copy("a row ends early"))?)?;
        let start = row.len() - rest.len();
        let end = start + length.unwrap_or(0);
        rest = row.get(end..).ok_or(CodecError::Copy("a row ends early"))?;
        spans.push(Span { range: start..end, is_null: length.is_none(), is_plain: true });
    }
    Ok(())
}

pub(super) fn put(value: Option<&[u8]>, out: &mut BytesMut) -> Result<(), CodecError> {
    match value {
        None => out.put_i32(-1),
        Some(value) => {
            out.put_i32(i32::try_from(value.len()).map_err(|_| CodecError::RowTooLarge)?);
            out.put_slice(value);
        }
    }
    Ok(())
}

/// `None` is NULL.
fn field_length(length: i32) -> Result<Option<usize>, CodecError> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| CodecError::Copy("a field's length is negative")),
    }
}
