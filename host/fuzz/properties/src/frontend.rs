//! What clients send: each message that the gateway reads, from any body.

use bytes::{BufMut, BytesMut};
use sluicegate_postgres::codec::message::{
    Bind, BindNames, FunctionCall, ObjectKind, Parse, execute, format_code, message, object, put_cstr, query,
};

/// A body that is read is read whole: written again from what was found, it is the same bytes.
pub fn frontend(data: &[u8]) {
    parse(&message(b'P', |out| out.put_slice(data)));
    bind(&message(b'B', |out| out.put_slice(data)));
    function_call(&message(b'F', |out| out.put_slice(data)));
    if let Ok((kind, name)) = object(&message(b'D', |out| out.put_slice(data))) {
        let kind = if kind == ObjectKind::Statement { b'S' } else { b'P' };
        assert_eq!([&[kind], name.as_bytes(), &[0]].concat(), data);
    }
    if let Ok((portal, rows)) = execute(&message(b'E', |out| out.put_slice(data))) {
        assert_eq!([portal.as_bytes(), &[0], &rows.to_be_bytes()].concat(), data);
    }
    if let Ok(text) = query(&message(b'Q', |out| out.put_slice(data))) {
        assert_eq!([text, &[0]].concat(), data);
    }
}

fn parse(bytes: &[u8]) {
    let Ok(Parse { statement, text, types }) = Parse::read(bytes) else { return };
    let again = message(b'P', |out| {
        put_cstr(out, statement.as_bytes());
        put_cstr(out, text);
        out.put_u16(u16::try_from(types.len()).expect("a count of 16 bits was read"));
        types.iter().for_each(|oid| out.put_u32(*oid));
    });
    assert_eq!(again, bytes);
}

fn bind(bytes: &[u8]) {
    let Ok(Bind { names, formats, values, results }) = Bind::read(bytes) else { return };
    let early = BindNames::read(bytes).expect("the names of a whole message");
    assert_eq!((early.portal, early.statement), (names.portal, names.statement));
    let again = message(b'B', |out| {
        put_cstr(out, names.portal.as_bytes());
        put_cstr(out, names.statement.as_bytes());
        codes(out, &formats);
        fields(out, &values);
        codes(out, &results);
    });
    assert_eq!(again, bytes);
    for (index, code) in formats.iter().enumerate().filter(|_| formats.len() > 1) {
        assert_eq!(format_code(&formats, index), *code);
    }
}

fn function_call(bytes: &[u8]) {
    let Ok(FunctionCall { function, formats, arguments }) = FunctionCall::read(bytes) else { return };
    let mut again = BytesMut::new();
    again.put_u32(function);
    codes(&mut again, &formats);
    fields(&mut again, &arguments);
    // The result's format follows, which nobody needs.
    assert_eq!(again, bytes[5..bytes.len() - 2]);
}

fn codes(out: &mut BytesMut, codes: &[u16]) {
    out.put_u16(u16::try_from(codes.len()).expect("a count of 16 bits was read"));
    codes.iter().for_each(|code| out.put_u16(*code));
}

fn fields(out: &mut BytesMut, fields: &[Option<&[u8]>]) {
    out.put_u16(u16::try_from(fields.len()).expect("a count of 16 bits was read"));
    for field in fields {
        out.put_i32(field.map_or(-1, |bytes| i32::try_from(bytes.len()).expect("a length of 32 bits was read")));
        out.put_slice(field.unwrap_or_default());
    }
}
