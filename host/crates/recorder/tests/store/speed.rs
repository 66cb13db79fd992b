//! How fast the recorder is.

use std::sync::Arc;

use sluicegate_core::record::Recorder;
use sluicegate_recorder::SledRecorder;

use crate::support::{command, new_id};

/// How fast entries are taken: `cargo test -p sluicegate-recorder --test store -- --ignored --nocapture speed`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn speed() {
    const SESSIONS: u64 = 16;
    const EACH: u64 = 50_000;
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(SledRecorder::open(dir.path()).unwrap());
    let start = std::time::Instant::now();
    let tasks: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let recorder = Arc::clone(&recorder);
            tokio::spawn(async move {
                let id = new_id();
                for sequence in 1..=EACH {
                    recorder.append(command(id, sequence, None)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let appended = start.elapsed();
    recorder.flush().await.unwrap();
    let durable = start.elapsed();
    let total = (SESSIONS * EACH) as f64;
    println!("appended {:.0}/s, on disk {:.0}/s", total / appended.as_secs_f64(), total / durable.as_secs_f64());

    let id = new_id();
    let start = std::time::Instant::now();
    for sequence in 1..=200 {
        recorder.append(command(id, sequence, None)).await.unwrap();
        recorder.flush().await.unwrap();
    }
    println!("one append and flush: {:?}", start.elapsed() / 200);
    let size = std::process::Command::new("du").arg("-sh").arg(dir.path()).output().unwrap();
    println!("on disk: {}", String::from_utf8_lossy(&size.stdout));
}
