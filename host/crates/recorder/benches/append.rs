//! What it costs to hand an entry to the recorder, and to wait until it is on disk:
//! `cargo bench -p sluicegate-recorder`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up is not measured")]
#![allow(missing_docs, reason = "criterion's macros make functions of their own")]
#![allow(dead_code, reason = "the tests' support has more than is needed here")]

#[path = "../tests/store/support.rs"]
mod support;

use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sluicegate_core::record::Recorder;
use sluicegate_recorder::SledRecorder;

use crate::support::{command, new_id};

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let recorder = runtime.block_on(async { SledRecorder::open(folder.path()).unwrap() });
    let session = new_id();
    // With the waiting that a full queue demands, so it is what the writer keeps up with.
    c.bench_function("append a command", |b| {
        b.iter_custom(|count| {
            let entries: Vec<_> = (0..count).map(|sequence| command(session, sequence, None)).collect();
            runtime.block_on(async {
                let started = Instant::now();
                for entry in entries {
                    recorder.append(entry).await.unwrap();
                }
                started.elapsed()
            })
        });
    });
    c.bench_function("append a command and have it on disk", |b| {
        b.iter_batched(
            || command(session, 1, None),
            |entry| {
                runtime.block_on(async {
                    recorder.append(entry).await.unwrap();
                    recorder.flush().await.unwrap();
                });
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, append);
criterion_main!(benches);
