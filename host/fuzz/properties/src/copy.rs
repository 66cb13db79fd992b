//! The data of COPY, in each of its formats.

use bytes::BytesMut;
use sluicegate_postgres::codec::{
    copy::{CopyFormat, CopyItem, CopyReader, CopyRow, CsvOptions, TextOptions},
    error::CodecError,
    row::Edit,
};

use crate::input::Input;

type Values = Vec<Option<Vec<u8>>>;

/// What a reader found: what each item is when nothing is replaced, its values, and how it ended.
#[derive(Debug, PartialEq)]
struct Found {
    items: Vec<(Vec<u8>, Option<Values>)>,
    end: Result<(), CodecError>,
}

/// However data arrive, the same rows come out of them; a row that is kept is the same bytes; and what
/// is written in a row's place is read as what was written.
pub fn copy(data: &[u8]) {
    let mut input = Input::new(data);
    let format = format(&mut input);
    let columns = input.below(6);
    let piece = usize::from(input.byte()).max(1);
    let seed = input.byte();
    let data = input.rest();
    let Some(found) = read(&format, columns, data, data.len().max(1)) else { return };
    assert_eq!(read(&format, columns, data, piece).as_ref(), Some(&found), "in pieces of {piece}");
    let kept: Vec<u8> = found.items.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
    assert!(if found.end.is_ok() { data == kept } else { data.starts_with(&kept) });
    for (bytes, values) in &found.items {
        if let Some(values) = values {
            replaced(&format, bytes, values, seed);
        }
    }
}

fn format(input: &mut Input<'_>) -> CopyFormat {
    let bits = input.byte();
    // The defaults more often than not.
    let is_default = bits & 0x30 != 0;
    let header = bits & 0x40 != 0;
    match bits % 3 {
        0 => CopyFormat::Binary,
        1 if is_default => CopyFormat::Text(TextOptions { header, ..TextOptions::default() }),
        1 => CopyFormat::Text(TextOptions { delimiter: input.byte(), null: input.some(3).to_vec(), header }),
        _ if is_default => CopyFormat::Csv(CsvOptions { header, ..CsvOptions::default() }),
        _ => CopyFormat::Csv(CsvOptions {
            delimiter: input.byte(),
            quote: input.byte(),
            escape: input.byte(),
            null: input.some(3).to_vec(),
            header,
            force_quote: input.some(2).iter().map(|index| usize::from(*index)).collect(),
        }),
    }
}

/// None where the options are refused.
fn read(format: &CopyFormat, columns: usize, data: &[u8], piece: usize) -> Option<Found> {
    let mut reader = CopyReader::new(format.clone(), columns, "UTF8").ok()?;
    let mut items = Vec::new();
    for arrived in data.chunks(piece) {
        if let Err(error) = reader.feed(arrived).and_then(|()| take(&mut reader, columns, &mut items)) {
            return Some(Found { items, end: Err(error) });
        }
    }
    Some(Found { items, end: reader.finish() })
}

fn take(reader: &mut CopyReader, columns: usize, items: &mut Vec<(Vec<u8>, Option<Values>)>) -> Result<(), CodecError> {
    while let Some(item) = reader.next_item()? {
        match item {
            CopyItem::Verbatim(bytes) => items.push((bytes.to_vec(), None)),
            CopyItem::Row(row) => {
                let values: Values = row.values().map(|value| value.map(|v| v.into_owned())).collect();
                assert_eq!(values.len(), columns);
                items.push((rewritten(&row, |_| None), Some(values)));
            }
        }
    }
    Ok(())
}

/// The row with the fields replaced for which `new` has a value.
fn rewritten(row: &CopyRow, new: impl Fn(usize) -> Option<Option<Vec<u8>>>) -> Vec<u8> {
    let mut out = BytesMut::new();
    let edit = |index: usize, _: Option<&[u8]>, scratch: &mut Vec<u8>| match new(index) {
        None => Edit::Keep,
        Some(None) => Edit::Null,
        Some(Some(value)) => {
            scratch.extend_from_slice(&value);
            Edit::Replace
        }
    };
    row.rewrite(&mut out, &mut Vec::new(), edit).expect("a small row can be written");
    out.to_vec()
}

/// One row by itself, with its values moved to other columns, is read again as what was written.
fn replaced(format: &CopyFormat, bytes: &[u8], values: &Values, seed: u8) {
    let format = without_header(format);
    let mut reader = CopyReader::new(format.clone(), values.len(), "UTF8").expect("the options were accepted before");
    let alone = if bytes.starts_with(b"PGCOPY\n") || format != CopyFormat::Binary {
        bytes.to_vec()
    } else {
        [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", bytes].concat()
    };
    reader.feed(&alone).expect("a small row");
    let Ok(Some(CopyItem::Row(row))) = reader.next_item() else { panic!("it was a row before") };
    let moved = |index: usize| values[(index + usize::from(seed)) % values.len()].clone();
    let new = rewritten(&row, |index| (seed >> (index % 8) & 1 == 1).then(|| moved(index)));
    let expected: Values = (0..values.len())
        .map(|index| if seed >> (index % 8) & 1 == 1 { moved(index) } else { values[index].clone() })
        .map(|value| value.filter(|value| !is_taken_for_null(&format, value)))
        .collect();
    let again = read(&format, values.len(), &new, new.len().max(1)).expect("the options were accepted before");
    let rows: Vec<&Values> = again.items.iter().filter_map(|(_, values)| values.as_ref()).collect();
    assert_eq!(rows, [&expected]);
}

fn without_header(format: &CopyFormat) -> CopyFormat {
    match format.clone() {
        CopyFormat::Text(options) => CopyFormat::Text(TextOptions { header: false, ..options }),
        CopyFormat::Csv(options) => CopyFormat::Csv(CsvOptions { header: false, ..options }),
        CopyFormat::Binary => CopyFormat::Binary,
    }
}

/// In the text format a value that is spelt as NULL is NULL, as in what the server itself writes.
fn is_taken_for_null(format: &CopyFormat, value: &[u8]) -> bool {
    let CopyFormat::Text(options) = format else { return false };
    let spelt = value.iter().flat_map(|byte| match byte {
        8 => vec![b'\\', b'b'],
        9 => vec![b'\\', b't'],
        10 => vec![b'\\', b'n'],
        11 => vec![b'\\', b'v'],
        12 => vec![b'\\', b'f'],
        13 => vec![b'\\', b'r'],
        byte if *byte == b'\\' || *byte == options.delimiter => vec![b'\\', *byte],
        byte => vec![*byte],
    });
    spelt.eq(options.null.iter().copied())
}
