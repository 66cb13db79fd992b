//! The bodies of the messages that the machine looks into, and the few messages that the gate says
//! itself. Source: PostgreSQL manual, "Message Formats".

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::HEADER;

/// A message's body is not what its type promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of type {0:?} is malformed")]
pub struct MessageError(pub char);

/// Reads a body from its front.
pub struct Reader<'a> {
    rest: &'a [u8],
    tag: u8,
}

impl<'a> Reader<'a> {
    /// Reads the message `bytes`, whose header is skipped.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { tag: bytes.first().copied().unwrap_or(b'?'), rest: bytes.get(HEADER..).unwrap_or_default() }
    }

    fn error(&self) -> MessageError {
        MessageError(char::from(self.tag))
    }

    /// A string that ends with a zero byte, without it.
    pub fn cstr(&mut self) -> Result<&'a [u8], MessageError> {
        let end = memchr::memchr(0, self.rest).ok_or(self.error())?;
        let (text, rest) = self.rest.split_at_checked(end).ok_or(self.error())?;
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// A name: a string that must be UTF-8.
    pub fn name(&mut self) -> Result<&'a str, MessageError> {
        let error = self.error();
        std::str::from_utf8(self.cstr()?).map_err(|_| error)
    }

    /// `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.error())?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, MessageError> {
        let error = self.error();
        self.take(1)?.first().copied().ok_or(error)
    }

    /// A 16-bit count.
    pub fn u16(&mut self) -> Result<u16, MessageError> {
        let error = self.error();
        self.take(2)?.try_into().map(u16::from_be_bytes).map_err(|_| error)
    }

    /// A 32-bit number.
    pub fn i32(&mut self) -> Result<i32, MessageError> {
        let error = self.error();
        self.take(4)?.try_into().map(i32::from_be_bytes).map_err(|_| error)
    }

    /// A field with its length before it; none for NULL.
    pub fn field(&mut self) -> Result<Option<&'a [u8]>, MessageError> {
        let error = self.error();
        match self.i32()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| error)?).map(Some),
        }
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), MessageError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error()) }
    }
}

/// Parse.
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub statement: &'a str,
    /// The SQL text, not yet known to be UTF-8.
    pub text: &'a [u8],
    /// The parameter types that the client chose; 0 leaves it to the server.
    pub types: Vec<u32>,
}

impl<'a> Parse<'a> {
    /// Reads a whole message.
    pub fn read(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(bytes);
        let (statement, text, count) = (reader.name()?, reader.cstr()?, reader.u16()?);
        let types = (0..count).map(|_| reader.i32().map(i32::cast_unsigned)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self { statement, text, types })
    }
}

/// The names in front of a Bind.
pub struct BindNames<'a> {
    /// The portal that it makes; empty for the unnamed one.
    pub portal: &'a str,
    /// The statement that it binds.
    pub statement: &'a str,
}

/// Bind.
pub struct Bind<'a> {
    /// Its names.
    pub names: BindNames<'a>,
    /// Format codes of the parameters: none, one for all, or one each.
    pub formats: Vec<u16>,
    /// The parameters.
    pub values: Vec<Option<&'a [u8]>>,
    /// Format codes of the result's columns: none, one for all, or one each.
    pub results: Vec<u16>,
}

impl<'a> BindNames<'a> {
    /// Reads the front of a message, which may be incomplete behind the names.
    pub fn read(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(bytes);
        Ok(Self { portal: reader.name()?, statement: reader.name()? })
    }
}

impl<'a> Bind<'a> {
    /// Reads a whole message.
    pub fn read(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(bytes);
        let names = BindNames { portal: reader.name()?, statement: reader.name()? };
        let formats = codes(&mut reader)?;
        let count = reader.u16()?;
        let values = (0..count).map(|_| reader.field()).collect::<Result<_, _>>()?;
        let results = codes(&mut reader)?;
        reader.end()?;
        Ok(Self { names, formats, values, results })
    }
}

/// FunctionCall.
pub struct FunctionCall<'a> {
    /// The function's OID.
    pub function: u32,
    /// Format codes of the arguments: none, one for all, or one each.
    pub formats: Vec<u16>,
    /// The arguments.
    pub arguments: Vec<Option<&'a [u8]>>,
}

impl<'a> FunctionCall<'a> {
    /// Reads a whole message.
    pub fn read(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(bytes);
        let function = reader.i32()?.cast_unsigned();
        let formats = codes(&mut reader)?;
        let count = reader.u16()?;
        let arguments = (0..count).map(|_| reader.field()).collect::<Result<_, _>>()?;
        let _result_format = reader.u16()?;
        reader.end()?;
        Ok(Self { function, formats, arguments })
    }
}

fn codes(reader: &mut Reader<'_>) -> Result<Vec<u16>, MessageError> {
    let count = reader.u16()?;
    (0..count).map(|_| reader.u16()).collect()
}

/// The format code of column `index`, by the rule of Bind: none is text, one is for all.
pub fn format_code(codes: &[u16], index: usize) -> u16 {
    match codes {
        [] => 0,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(0),
    }
}

/// Whether a Describe or Close names a statement or a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// Reads a Describe or a Close.
pub fn object(bytes: &[u8]) -> Result<(ObjectKind, &str), MessageError> {
    let mut reader = Reader::new(bytes);
    let kind = match reader.u8()? {
        b'S' => ObjectKind::Statement,
        b'P' => ObjectKind::Portal,
        _ => return Err(reader.error()),
    };
    let name = reader.name()?;
    reader.end()?;
    Ok((kind, name))
}

/// Reads an Execute: the portal and the most rows (0 for all).
pub fn execute(bytes: &[u8]) -> Result<(&str, i32), MessageError> {
    let mut reader = Reader::new(bytes);
    let found = (reader.name()?, reader.i32()?);
    reader.end()?;
    Ok(found)
}

/// Reads a Query's text.
pub fn query(bytes: &[u8]) -> Result<&[u8], MessageError> {
    let mut reader = Reader::new(bytes);
    let text = reader.cstr()?;
    reader.end()?;
    Ok(text)
}

/// A column of a RowDescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name that the client sees.
    pub name: String,
    /// The table's OID, or 0.
    pub table: u32,
    /// The column's number in that table, or 0.
    pub attnum: i16,
    /// The type's OID.
    pub type_oid: u32,
    /// The type's modifier, or -1.
    pub typmod: i32,
    /// 0 for text, 1 for binary.
    pub format: u16,
}

/// Reads a RowDescription.
pub fn row_description(bytes: &[u8]) -> Result<Vec<Field>, MessageError> {
    let mut reader = Reader::new(bytes);
    let count = reader.u16()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let name = String::from_utf8_lossy(reader.cstr()?).into_owned();
        let (table, attnum) = (reader.i32()?.cast_unsigned(), reader.u16()?.cast_signed());
        let (type_oid, _size) = (reader.i32()?.cast_unsigned(), reader.u16()?);
        let (typmod, format) = (reader.i32()?, reader.u16()?);
        fields.push(Field { name, table, attnum, type_oid, typmod, format });
    }
    reader.end()?;
    Ok(fields)
}

/// Reads a ParameterDescription: the types of a statement's parameters.
pub fn parameter_description(bytes: &[u8]) -> Result<Vec<u32>, MessageError> {
    let mut reader = Reader::new(bytes);
    let count = reader.u16()?;
    (0..count).map(|_| reader.i32().map(i32::cast_unsigned)).collect()
}

/// Reads a ParameterStatus.
pub fn parameter_status(bytes: &[u8]) -> Result<(String, String), MessageError> {
    let mut reader = Reader::new(bytes);
    let name = String::from_utf8_lossy(reader.cstr()?).into_owned();
    Ok((name, String::from_utf8_lossy(reader.cstr()?).into_owned()))
}

/// Reads the fields of an ErrorResponse or a NoticeResponse.
pub fn notice_fields(bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, MessageError> {
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::new();
    loop {
        match reader.u8()? {
            0 => return Ok(fields),
            kind => fields.push((kind, reader.cstr()?)),
        }
    }
}

/// Writes a message: its type, and a body that `write` fills in.
pub fn put(out: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u8(tag);
    out.put_u32(0);
    write(out);
    let length = u32::try_from(out.len() - start - 1).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(start + 1..start + HEADER) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

/// Writes a string and its zero byte. Zero bytes inside would cut it, so they are left out.
pub fn put_cstr(out: &mut BytesMut, text: &[u8]) {
    out.extend(text.iter().filter(|b| **b != 0));
    out.put_u8(0);
}

/// One message as its own bytes.
pub fn message(tag: u8, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, tag, write);
    out.freeze()
}

/// An ErrorResponse or NoticeResponse (`tag`) from its fields.
pub fn notice<'a>(tag: u8, fields: impl IntoIterator<Item = (u8, &'a [u8])>) -> Bytes {
    message(tag, |out| {
        for (kind, text) in fields {
            out.put_u8(kind);
            put_cstr(out, text);
        }
        out.put_u8(0);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_read_whole_and_by_its_names() {
        let bytes = message(b'B', |out| {
            put_cstr(out, b"p");
            put_cstr(out, b"s");
            out.put_u16(1);
            out.put_u16(1);
            out.put_u16(2);
            out.put_i32(-1);
            out.put_i32(2);
            out.put_slice(b"xy");
            out.put_u16(0);
        });
        let bind = Bind::read(&bytes).unwrap();
        assert_eq!((bind.names.portal, bind.names.statement), ("p", "s"));
        assert_eq!(bind.values, [None, Some(b"xy".as_slice())]);
        assert_eq!(BindNames::read(&bytes[..10]).unwrap().statement, "s");
        for cut in HEADER..bytes.len() {
            assert!(Bind::read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn fields_of_an_error_are_read_and_written() {
        let bytes = notice(b'E', [(b'S', b"ERROR".as_slice()), (b'M', b"no\0 way")]);
        assert_eq!(notice_fields(&bytes).unwrap(), [(b'S', b"ERROR".as_slice()), (b'M', b"no way")]);
    }
}
