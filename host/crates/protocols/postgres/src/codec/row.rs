//! The body of a DataRow: read field by field, and written again with some fields replaced.
//! Format: <https://www.postgresql.org/docs/current/protocol-message-formats.html>, `DataRow`.

use bytes::{Buf, BufMut, BytesMut};

use super::error::CodecError;

/// `MaxTupleAttributeNumber` of `access/htup_details.h`: the most columns of a result.
pub const MAX_COLUMNS: usize = 1664;

/// What stands before each field.
const LENGTH: usize = 4;

/// A DataRow whose lengths have all been checked.
#[derive(Clone, Copy)]
pub struct DataRow<'a> {
    count: usize,
    fields: &'a [u8],
}

/// What happens to one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// It stays as it is, byte for byte.
    Keep,
    /// It becomes NULL.
    Null,
    /// It becomes what was appended to the scratch buffer.
    Replace,
}

impl<'a> DataRow<'a> {
    /// Reads the body, which is what follows the message's type and length. Every byte is accounted
    /// for, so iterating cannot fail.
    pub fn parse(body: &'a [u8]) -> Result<Self, CodecError> {
        let mut rest = body;
        let count = rest.try_get_i16().map_err(|_| CodecError::Row("it has no column count"))?;
        let count = usize::try_from(count).map_err(|_| CodecError::Row("its column count is negative"))?;
        if count > MAX_COLUMNS {
            return Err(CodecError::TooManyColumns(count));
        }
        let fields = rest;
        for _ in 0..count {
            let length = rest.try_get_i32().map_err(|_| CodecError::Row("it ends before its last field"))?;
            match usize::try_from(length) {
                Ok(length) if length <= rest.len() => rest.advance(length),
                Ok(_) => return Err(CodecError::Row("a field is longer than the row")),
                Err(_) if length == -1 => {}
                Err(_) => return Err(CodecError::Row("a field's length is negative")),
            }
        }
        if !rest.is_empty() {
            return Err(CodecError::Row("bytes follow its last field"));
        }
        Ok(Self { count, fields })
    }

    /// How many fields.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no fields at all: `SELECT FROM t`.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The fields in order; `None` is NULL.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.fields }
    }
}

/// The fields of a [`DataRow`].
#[derive(Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = self.rest.try_get_i32().ok()?;
        let Ok(length) = usize::try_from(length) else { return Some(None) };
        let (field, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(field))
    }
}

/// Writes `row` to the end of `out` as a whole message, with the fields replaced that `edit` says.
/// `edit` is told the field's index and value, and appends a replacement to the buffer, which is
/// empty when it is called. What stays between two replaced fields is copied in one piece. `scratch`
/// is only kept to save allocations. After an error `out` is as it was.
pub fn rewrite(
    row: DataRow<'_>,
    out: &mut BytesMut,
    scratch: &mut Vec<u8>,
    mut edit: impl FnMut(usize, Option<&[u8]>, &mut Vec<u8>) -> Edit,
) -> Result<(), CodecError> {
    let start = out.len();
    let count = u16::try_from(row.count).map_err(|_| CodecError::TooManyColumns(row.count))?;
    out.put_slice(b"D\0\0\0\0");
    out.put_u16(count);
    let (mut copied, mut at) = (0, 0);
    for (index, value) in row.fields().enumerate() {
        let end = at + LENGTH + value.map_or(0, <[u8]>::len);
        scratch.clear();
        let edited = edit(index, value, scratch);
        if edited != Edit::Keep {
            out.put_slice(row.fields.get(copied..at).unwrap_or_default());
            if edited == Edit::Null {
                out.put_i32(-1);
            } else {
                // A row that this is too long for is too long as a whole.
                out.put_i32(i32::try_from(scratch.len()).unwrap_or(i32::MAX));
                out.put_slice(scratch);
            }
            copied = end;
        }
        at = end;
    }
    out.put_slice(row.fields.get(copied..).unwrap_or_default());
    let length = i32::try_from(out.len() - start - 1);
    match (length, out.get_mut(start + 1..)) {
        (Ok(length), Some(mut header)) => header.put_i32(length),
        _ => {
            out.truncate(start);
            return Err(CodecError::RowTooLarge);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn message(fields: &[Option<Vec<u8>>]) -> BytesMut {
        let mut out = BytesMut::from(&b"D\0\0\0\0"[..]);
        out.put_u16(u16::try_from(fields.len()).unwrap());
        for field in fields {
            out.put_i32(field.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap()));
            out.put_slice(field.as_deref().unwrap_or_default());
        }
        let length = u32::try_from(out.len() - 1).unwrap();
        out[1..5].copy_from_slice(&length.to_be_bytes());
        out
    }

    #[test]
    fn the_bytes_are_those_of_the_manual() {
        let out = message(&[Some(b"ab".to_vec()), None, Some(vec![])]);
        assert_eq!(&out[..], b"D\0\0\0\x14\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0");
    }

    #[test]
    fn contradictory_lengths_are_errors() {
        for bad in [
            &b""[..],
            b"\0",
            b"\xff\xff",
            b"\0\x01",
            b"\0\x01\0\0\0\x02a",
            b"\0\x01\xff\xff\xff\xfe",
            b"\0\x01\0\0\0\x01ab",
            b"\0\0a",
        ] {
            assert!(DataRow::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(DataRow::parse(b"\x7f\xff").err(), Some(CodecError::TooManyColumns(32767)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in vec(option::of(vec(any::<u8>(), 0..40)), 0..30)) {
            let out = message(&fields);
            let row = DataRow::parse(&out[7 - 2..]).unwrap();
            prop_assert_eq!(row.len(), fields.len());
            let read: Vec<_> = row.fields().map(|f| f.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn keeping_everything_changes_nothing(fields in vec(option::of(vec(any::<u8>(), 0..40)), 0..30)) {
            let before = message(&fields);
            let mut after = BytesMut::new();
            let row = DataRow::parse(&before[5..]).unwrap();
            rewrite(row, &mut after, &mut Vec::new(), |_, _, _| Edit::Keep).unwrap();
            prop_assert_eq!(before, after);
        }

        #[test]
        fn only_the_named_fields_change(
            fields in vec((option::of(vec(any::<u8>(), 0..40)), any::<bool>(), option::of("new|")), 1..30)
        ) {
            let before = message(&fields.iter().map(|(value, ..)| value.clone()).collect::<Vec<_>>());
            let mut after = BytesMut::from(&b"before"[..]);
            let row = DataRow::parse(&before[5..]).unwrap();
            rewrite(row, &mut after, &mut Vec::new(), |index, value, scratch| {
                assert_eq!(value, fields[index].0.as_deref());
                match &fields[index] {
                    (_, false, _) => Edit::Keep,
                    (_, true, None) => Edit::Null,
                    (_, true, Some(new)) => {
                        scratch.extend_from_slice(new.as_bytes());
                        Edit::Replace
                    }
                }
            }).unwrap();
            let expected = fields.iter().map(|(value, changes, new)| {
                if *changes { new.clone().map(String::into_bytes) } else { value.clone() }
            });
            prop_assert_eq!(&after[6..], &message(&expected.collect::<Vec<_>>())[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(row) = DataRow::parse(&bytes) {
                prop_assert_eq!(row.fields().count(), row.len());
            }
        }
    }
}
