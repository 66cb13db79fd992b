//! Rows written and read again under any options, and data that the server would not write.

use proptest::{collection::vec, option, prelude::*};

use super::*;

type Row = Vec<Option<Vec<u8>>>;

fn text(delimiter: u8, null: &[u8]) -> CopyFormat {
    CopyFormat::Text(TextOptions { delimiter, null: null.to_vec(), header: false })
}

fn csv(delimiter: u8, quote: u8, escape: u8, null: &[u8]) -> CopyFormat {
    CopyFormat::Csv(CsvOptions { delimiter, quote, escape, null: null.to_vec(), ..CsvOptions::default() })
}

/// Data as the server writes them.
fn data(format: &CopyFormat, rows: &[Row]) -> Vec<u8> {
    let mut out = BytesMut::new();
    if *format == CopyFormat::Binary {
        out.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    }
    for row in rows {
        let put = |out: &mut BytesMut, index: usize, value: Option<&[u8]>| match format {
            CopyFormat::Text(options) => super::text::put(value, options, out),
            CopyFormat::Csv(options) => super::csv::put(value, index, row.len(), options, out),
            CopyFormat::Binary => binary::put(value, out).unwrap(),
        };
        let delimiter = match format {
            CopyFormat::Text(options) => Some(options.delimiter),
            CopyFormat::Csv(options) => Some(options.delimiter),
            CopyFormat::Binary => None,
        };
        if *format == CopyFormat::Binary {
            out.put_u16(u16::try_from(row.len()).unwrap());
        }
        for (index, value) in row.iter().enumerate() {
            out.extend(delimiter.filter(|_| index > 0));
            put(&mut out, index, value.as_deref());
        }
        out.extend(delimiter.map(|_| b'\n'));
    }
    if *format == CopyFormat::Binary {
        out.put_slice(&binary::TRAILER);
    }
    out.to_vec()
}

fn read(format: &CopyFormat, columns: usize, data: &[u8], size: usize) -> Result<Vec<Row>, CodecError> {
    let mut reader = CopyReader::new(format.clone(), columns, "UTF8")?;
    let mut rows = Vec::new();
    for piece in data.chunks(size) {
        reader.feed(piece)?;
        while let Some(item) = reader.next_item()? {
            if let CopyItem::Row(row) = item {
                rows.push(row.values().map(|v| v.map(Cow::into_owned)).collect());
            }
        }
    }
    reader.finish()?;
    Ok(rows)
}

#[test]
fn what_the_server_does_not_write_is_refused() {
    let tab = text(b'\t', b"\\N");
    let comma = csv(b',', b'"', b'"', b"");
    let slash = csv(b',', b'"', b'/', b"");
    for (format, bad) in [
        (&tab, &b"a\tb\tc\n"[..]),
        (&tab, b"a\n"),
        (&tab, b"a\tb"),
        (&tab, b"a\\\tb\n"),
        (&tab, b"a\\x41\tb\n"),
        (&tab, b"a\tb\\\n"),
        (&tab, b"\\.\n"),
        (&comma, b"a\"b,c\n"),
        (&comma, b"\"a\"b,c\n"),
        (&comma, b"\"a,b\n"),
        (&comma, b"a,b,c\n"),
        (&slash, b"\"a/b\",c\n"),
        (&CopyFormat::Binary, b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff"),
        (&CopyFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0\xff\xff"),
        (&CopyFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\0\0\0\x7f\xff\xff\xff"),
        (&CopyFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"),
        (&CopyFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff\0"),
        (&CopyFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\xff\xff"),
        (&CopyFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xfe"),
    ] {
        assert!(read(format, 2, bad, 1000).is_err(), "{format:?} {bad:?}");
    }
}

#[test]
fn a_row_has_a_largest_size() {
    let chunk = vec![b'x'; 1024 * 1024];
    for format in [text(b'\t', b"\\N"), csv(b',', b'"', b'"', b"")] {
        let mut reader = CopyReader::new(format, 1, "UTF8").unwrap();
        let failed = (0..20).any(|_| reader.feed(&chunk).is_err() || reader.next_item().is_err());
        assert!(failed && reader.buffer.len() <= MAX_ROW_BYTES + chunk.len());
    }
    let announced = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\x7f\xff\xff\xff";
    assert_eq!(read(&CopyFormat::Binary, 1, announced, 1000), Err(CodecError::CopyRowTooLarge(MAX_ROW_BYTES)));
}

#[test]
fn options_that_make_data_ambiguous_are_refused() {
    for format in [
        text(b'\\', b"\\N"),
        text(b'n', b"\\N"),
        text(b'|', b"a|b"),
        text(b'|', b"a\\"),
        csv(b'"', b'"', b'"', b""),
        csv(b',', b'"', b'"', b"\""),
        csv(b',', b'\n', b'"', b""),
    ] {
        assert!(CopyReader::new(format.clone(), 1, "UTF8").is_err(), "{format:?}");
    }
}

#[test]
fn encodings_in_which_a_delimiter_may_be_half_a_character_are_refused() {
    for (encoding, is_safe) in [
        ("UTF8", true),
        ("utf-8", true),
        ("SQL_ASCII", true),
        ("LATIN1", true),
        ("ISO_8859_5", true),
        ("WIN1252", true),
        ("WIN874", true),
        ("EUC_JIS_2004", true),
        ("KOI8R", true),
        ("SJIS", false),
        ("SHIFT_JIS_2004", false),
        ("WIN932", false),
        ("Windows949", false),
        ("BIG5", false),
        ("GBK", false),
        ("GB18030", false),
        ("UHC", false),
        ("JOHAB", false),
        ("", false),
    ] {
        let reader = CopyReader::new(text(b'\t', b"\\N"), 1, encoding);
        assert_eq!(reader.is_ok(), is_safe, "{encoding}");
        assert!(CopyReader::new(CopyFormat::Binary, 1, encoding).is_ok());
    }
}

fn any_format() -> impl Strategy<Value = CopyFormat> {
    prop::sample::select(vec![
        text(b'\t', b"\\N"),
        text(b'|', b""),
        text(b'N', b"\\\\"),
        csv(b',', b'"', b'"', b""),
        csv(b';', b'\'', b'\\', b"NULL"),
        csv(b'\t', b'"', b',', b"\\N"),
        csv(b',', b'"', b'x', b"x"),
        CopyFormat::Binary,
    ])
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        format in any_format(), size in 1_usize..50,
        rows in (1_usize..5).prop_flat_map(|n| vec(vec(option::of("[a-c,;|N\\\\\"'x\t\n\r\u{8}.]{0,8}"), n), 0..5)),
    ) {
        let bytes = |v: String| v.into_bytes();
        let rows: Vec<Row> = rows.into_iter().map(|r| r.into_iter().map(|v| v.map(bytes)).collect()).collect();
        let null = match &format {
            CopyFormat::Text(options) => Some(options.null.clone()),
            _ => None,
        };
        let columns = rows.first().map_or(1, Vec::len);
        let read = read(&format, columns, &data(&format, &rows), size).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        for (got, expected) in read.iter().flatten().zip(rows.iter().flatten()) {
            // In text, a value that is written like the NULL string is read as NULL.
            let mut written = BytesMut::new();
            if let CopyFormat::Text(options) = &format {
                super::text::put(expected.as_deref(), options, &mut written);
            }
            prop_assert!(got == expected || (got.is_none() && null.as_deref() == Some(&written[..])));
        }
    }

    #[test]
    fn any_data_are_read_or_refused(format in any_format(), data in vec(any::<u8>(), 0..200), columns in 0_usize..4, size in 1_usize..50) {
        let _ = read(&format, columns, &data, size);
        let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        binary.extend_from_slice(&data);
        let _ = read(&CopyFormat::Binary, columns, &binary, size);
    }
}
