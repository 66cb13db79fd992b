//! What servers send: each message that the gateway reads, from any body.

use bytes::{BufMut, BytesMut};
use sluicegate_postgres::codec::{
    frame::HEADER,
    message::{message, notice, notice_fields, parameter_description, parameter_status, row_description},
    row::{DataRow, Edit, rewrite},
};

use crate::input::Input;

/// No body makes more than it holds, a row that is kept is the same bytes, and a row with a field
/// replaced differs in that field alone.
pub fn backend(data: &[u8]) {
    let mut input = Input::new(data);
    let at = usize::from(input.byte());
    let body = input.rest();
    row(body, at);
    if let Ok(fields) = row_description(&message(b'T', |out| out.put_slice(body))) {
        let names: usize = fields.iter().map(|field| field.name.chars().count()).sum();
        assert!(2 + fields.len() * 19 + names <= body.len());
    }
    if let Ok(types) = parameter_description(&message(b't', |out| out.put_slice(body))) {
        assert!(2 + types.len() * 4 <= body.len());
    }
    if let Ok((name, value)) = parameter_status(&message(b'S', |out| out.put_slice(body))) {
        assert!(name.chars().count() + value.chars().count() + 2 <= body.len());
    }
    let bytes = message(b'E', |out| out.put_slice(body));
    if let Ok(fields) = notice_fields(&bytes) {
        let again = notice(b'E', fields);
        assert!(bytes[HEADER..].starts_with(&again[HEADER..]));
    }
}

fn row(body: &[u8], at: usize) {
    let Ok(row) = DataRow::parse(body) else { return };
    let fields: Vec<_> = row.fields().collect();
    assert_eq!(fields.len(), row.len());
    let mut same = BytesMut::new();
    rewrite(row, &mut same, &mut Vec::new(), |_, _, _| Edit::Keep).expect("it was a row before");
    assert_eq!(same, message(b'D', |out| out.put_slice(body)));

    let mut changed = BytesMut::new();
    let edit = |index: usize, value: Option<&[u8]>, scratch: &mut Vec<u8>| {
        assert!(scratch.is_empty() && value == fields[index]);
        if index != at {
            return Edit::Keep;
        }
        scratch.extend_from_slice(b"masked");
        Edit::Replace
    };
    rewrite(row, &mut changed, &mut Vec::new(), edit).expect("it was a row before");
    let read = DataRow::parse(&changed[HEADER..]).expect("what is written is a row");
    let expected =
        fields.iter().enumerate().map(|(index, value)| if index == at { Some(&b"masked"[..]) } else { *value });
    assert!(read.fields().eq(expected));
}
