//! What it costs to cut a stream into messages, to write a row anew, and to mask a value:
//! `cargo bench -p sluicegate-postgres`.

#![allow(clippy::unwrap_used, reason = "what cannot be set up is not measured")]
#![allow(missing_docs, reason = "criterion's macros make functions of their own")]

use std::hint::black_box;

use bytes::{BufMut, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate_core::{DateUnit, Mask};
use sluicegate_postgres::codec::{
    frame::{Decoder, HEADER},
    mask::{self, HashKey},
    message,
    row::{DataRow, Edit, rewrite},
    value::{FieldType, Format},
};

/// The least that a decoder of a session buffers.
const WHOLE: usize = 1 << 20;

fn frames(c: &mut Criterion) {
    let text = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1\0";
    let length = u32::try_from(text.len() + 4).unwrap().to_be_bytes();
    let query = [&b"Q"[..], &length, text].concat();
    let row = row();
    let rows = row.repeat(256);
    let received = |bytes: &[u8]| {
        let mut decoder = Decoder::new(WHOLE);
        decoder.buffer().extend_from_slice(bytes);
        decoder
    };
    let mut group = c.benchmark_group("frames");
    group.bench_function("a Query", |b| {
        b.iter_batched(
            || received(&query),
            |mut decoder| decoder.next_frame().unwrap().unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(256));
    group.bench_function("256 rows as one run", |b| {
        b.iter_batched(
            || received(&rows),
            |mut decoder| decoder.rows(usize::MAX).unwrap().unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn rewriting(c: &mut Criterion) {
    let row = row();
    let body = row.get(HEADER..).unwrap();
    let (mut out, mut scratch) = (BytesMut::new(), Vec::new());
    c.bench_function("a row of 4 columns, one replaced", |b| {
        b.iter(|| {
            out.clear();
            let row = DataRow::parse(black_box(body)).unwrap();
            let replace = |index, _: Option<&[u8]>, scratch: &mut Vec<u8>| {
                if index != 2 {
                    return Edit::Keep;
                }
                scratch.put_slice(b"[redacted]");
                Edit::Replace
            };
            rewrite(row, &mut out, &mut scratch, replace).unwrap();
        });
    });
}

fn masks(c: &mut Criterion) {
    const TEXT: u32 = 25;
    const DATE: u32 = 1082;
    let values = [
        ("redact", Mask::Redact, TEXT, "customer.4711@example.com"),
        ("partial", Mask::Partial(4), TEXT, "4111 1111 1111 1111"),
        ("email", Mask::Email, TEXT, "customer.4711@example.com"),
        ("hash", Mask::Hash, TEXT, "customer.4711@example.com"),
        ("truncate-date", Mask::TruncateDate(DateUnit::Month), DATE, "2024-02-29"),
    ];
    let (key, mut out) = (HashKey::new([7; 32]), Vec::new());
    let mut group = c.benchmark_group("masks");
    for (name, mask, oid, value) in values {
        let ty = FieldType { oid, typmod: -1 };
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                mask::apply(&mask, black_box(Some(value.as_bytes())), ty, Format::Text, &key, &mut out)
            });
        });
    }
    group.finish();
}

/// One DataRow: two numbers, a name, a text.
fn row() -> BytesMut {
    let mut out = BytesMut::new();
    message::put(&mut out, b'D', |out| {
        out.put_u16(4);
        for value in ["471100", "100", "label 471100", "Order 471100 was shipped to depot 68"] {
            out.put_u32(u32::try_from(value.len()).unwrap());
            out.put_slice(value.as_bytes());
        }
    });
    out
}

criterion_group!(benches, frames, rewriting, masks);
criterion_main!(benches);
