//! COPY against a real PostgreSQL: kept fields come out byte for byte, and masked ones are what the
//! server reads back, in every format, however the data are cut.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, TryStreamExt as _};
use sluicegate_postgres::codec::{
    copy::{CopyFormat, CopyItem, CopyReader, CsvOptions, TextOptions},
    error::CodecError,
    row::Edit,
};
use support::server::Server;
use tokio_postgres::{Client, NoTls};

/// Values that every format has to work for.
const SETUP: &str = r#"
    set client_encoding = 'UTF8';
    create table t (id int, a text, b text, c text);
    insert into t values
        (1, 'plain', 'x', 'y'), (2, null, '', null), (3, E'tab\there', E'line\nbreak', E'back\\slash'),
        (4, E'\b\f\n\r\t\x0b\x01', '"quoted"', 'a,b'), (5, E'\\N', '\.', E'\\'), (6, 'it''s', E'"\n"', '|;|'),
        (7, 'äöü€𝄞', repeat('long ', 5000), ''), (8, 'NULL', 'n', '"'), (9, '', E'\\n', E'\r'), (10, null, null, null);
"#;

/// COPY options and what they are to the reader. The masked column is the third.
fn formats() -> Vec<(&'static str, CopyFormat)> {
    let text = TextOptions::default;
    let csv = CsvOptions::default;
    vec![
        ("format text", CopyFormat::Text(text())),
        (
            "format text, delimiter '|', null 'NULL', header",
            CopyFormat::Text(TextOptions { delimiter: b'|', null: b"NULL".to_vec(), header: true }),
        ),
        (
            "format text, delimiter 'N', null ''",
            CopyFormat::Text(TextOptions { delimiter: b'N', null: Vec::new(), header: false }),
        ),
        ("format csv", CopyFormat::Csv(csv())),
        (
            "format csv, header, force_quote *",
            CopyFormat::Csv(CsvOptions { header: true, force_quote: vec![0, 1, 2, 3], ..csv() }),
        ),
        (
            "format csv, delimiter ';', quote '''', null 'NULL'",
            CopyFormat::Csv(CsvOptions {
                delimiter: b';',
                quote: b'\'',
                escape: b'\'',
                null: b"NULL".to_vec(),
                ..csv()
            }),
        ),
        (
            "format csv, escape '\\', force_quote (b)",
            CopyFormat::Csv(CsvOptions { escape: b'\\', force_quote: vec![2], ..csv() }),
        ),
        (
            "format csv, quote '|', escape '/', delimiter E'\\t', null '\\N'",
            CopyFormat::Csv(CsvOptions { delimiter: b'\t', quote: b'|', escape: b'/', null: b"\\N".to_vec(), ..csv() }),
        ),
        ("format binary", CopyFormat::Binary),
    ]
}

async fn connect(server: &Server) -> Client {
    let config = format!("host=localhost port={} user=postgres dbname=postgres", server.port);
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(SETUP).await.unwrap();
    client
}

async fn copy_out(client: &Client, sql: &str) -> Vec<Bytes> {
    client.copy_out(sql).await.unwrap().try_collect().await.unwrap()
}

/// What the client receives, one payload per item.
fn through(
    format: &CopyFormat,
    columns: usize,
    chunks: &[Bytes],
    edit: impl Fn(usize, Option<&[u8]>, &mut Vec<u8>) -> Edit,
) -> Result<Vec<Bytes>, CodecError> {
    let mut reader = CopyReader::new(format.clone(), columns, "UTF8")?;
    let mut sent = Vec::new();
    let mut scratch = Vec::new();
    for chunk in chunks {
        reader.feed(chunk)?;
        while let Some(item) = reader.next_item()? {
            sent.push(match item {
                CopyItem::Verbatim(bytes) => bytes,
                CopyItem::Row(row) => {
                    let mut out = BytesMut::new();
                    row.rewrite(&mut out, &mut scratch, &edit)?;
                    out.freeze()
                }
            });
        }
    }
    reader.finish()?;
    Ok(sent)
}

#[tokio::test]
async fn rows_that_are_kept_come_out_as_they_came() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    for (options, format) in formats() {
        let chunks = copy_out(&client, &format!("copy (select * from t order by id) to stdout ({options})")).await;
        let sent = through(&format, 4, &chunks, |_, _, _| Edit::Keep).unwrap();
        // Message by message: drivers rely on a row for each, and on binary's header with the first.
        assert_eq!(sent.concat(), chunks.concat(), "{options}");
        let data: Vec<_> = chunks.iter().filter(|c| !c.is_empty()).cloned().collect();
        assert_eq!(sent, data, "{options}");
        for size in [1, 2, 3, 7, 1000] {
            let whole = chunks.concat();
            let pieces: Vec<_> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
            assert_eq!(through(&format, 4, &pieces, |_, _, _| Edit::Keep).unwrap().concat(), whole, "{options} {size}");
        }
    }
}

#[tokio::test]
async fn values_are_read_as_they_are_stored() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    let stored = client.query("select a, b, c from t order by id", &[]).await.unwrap();
    for (options, format) in formats() {
        let chunks =
            copy_out(&client, &format!("copy (select a, b, c from t order by id) to stdout ({options})")).await;
        let mut reader = CopyReader::new(format.clone(), 3, "UTF8").unwrap();
        let mut rows = stored.iter();
        for chunk in &chunks {
            reader.feed(chunk).unwrap();
            while let Some(item) = reader.next_item().unwrap() {
                let CopyItem::Row(row) = item else { continue };
                let expected = rows.next().unwrap();
                for (index, value) in row.values().enumerate() {
                    let expected: Option<&[u8]> = expected.get::<_, Option<&str>>(index).map(str::as_bytes);
                    // Text writes a value that equals the NULL string no differently from NULL.
                    let is_ambiguous = matches!(&format, CopyFormat::Text(o) if expected == Some(&o.null));
                    assert!(is_ambiguous || value.as_deref() == expected, "{options} {value:?} {expected:?}");
                }
            }
        }
        assert!(rows.next().is_none(), "{options}");
    }
}

#[tokio::test]
async fn the_server_reads_masked_rows_back() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    let masks: [&[u8]; 6] = [b"[redacted]", b"", b"a,b;\"'|/\\\tN", b"\\.", b"line\nbreak\r", b"NULL"];
    for (options, format) in formats() {
        let chunks = copy_out(&client, &format!("copy (select * from t order by id) to stdout ({options})")).await;
        for mask in masks {
            let sent = through(&format, 4, &chunks, |index, value, out| match (index, value) {
                (2, Some(_)) => {
                    out.extend_from_slice(mask);
                    Edit::Replace
                }
                (3, _) => Edit::Null,
                _ => Edit::Keep,
            });
            client.batch_execute("create temp table back (like t)").await.unwrap();
            let read = options.split(", force_quote").next().unwrap();
            copy_in(&client, &format!("copy back from stdin ({read})"), sent.unwrap()).await;
            let null: &[u8] = match &format {
                CopyFormat::Text(options) => &options.null,
                _ => b"no string",
            };
            let text = std::str::from_utf8(mask).unwrap();
            let expected = (null != mask).then_some(text);
            let differing = "select count(*) from t full join back using (id) where \
                (t.a is distinct from back.a and nullif(t.a, $2) is not null) or back.c is not null or back.b is distinct from \
                case when t.b is null or t.b = $2 then null else $1 end";
            let null = std::str::from_utf8(null).unwrap();
            let count: i64 = client.query_one(differing, &[&expected, &null]).await.unwrap().get(0);
            assert_eq!(count, 0, "{options} {text:?}");
            client.batch_execute("drop table back").await.unwrap();
        }
    }
}

async fn copy_in(client: &Client, sql: &str, data: Vec<Bytes>) {
    let mut sink = pin!(client.copy_in::<_, Bytes>(sql).await.unwrap());
    for bytes in data {
        sink.feed(bytes).await.unwrap();
    }
    sink.finish().await.unwrap();
}

#[tokio::test]
async fn no_rows_and_no_columns_are_fine() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    for (options, format) in formats() {
        let copy = |query: &str| format!("copy ({query}) to stdout ({})", options.replace(", force_quote (b)", ""));
        let empty = copy_out(&client, &copy("select * from t where false")).await;
        assert_eq!(through(&format, 4, &empty, |_, _, _| Edit::Keep).unwrap().concat(), empty.concat(), "{options}");
        let bare = copy_out(&client, &copy("select from t")).await;
        assert_eq!(through(&format, 0, &bare, |_, _, _| Edit::Keep).unwrap().concat(), bare.concat(), "{options}");
        let one = copy_out(&client, &copy("select a from t")).await;
        assert_eq!(through(&format, 1, &one, |_, _, _| Edit::Keep).unwrap().concat(), one.concat(), "{options}");
    }
}
