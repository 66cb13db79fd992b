//! Retention: what goes, what stays, and what is left of what went.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use sluicegate_core::{
    SessionId,
    record::{Event, Recorder},
    sessions::{ApprovalReader, SessionReader},
};
use sluicegate_recorder::{Pace, Retention, SledRecorder};

use crate::support::{any, closed, command, export, held, hold_ended, new_approval, new_id, opened};

fn open(dir: &Path) -> SledRecorder {
    SledRecorder::open_with(dir, Pace { tidy: Duration::from_millis(50), ..Pace::default() }).unwrap()
}

async fn session(recorder: &SledRecorder, target: &str, commands: u64, ended_at: Option<i64>) -> SessionId {
    let id = new_id();
    let mut first = opened(id, "alice");
    if let Event::Opened(opened) = &mut first.event {
        opened.target = target.to_owned();
    }
    recorder.append(first).await.unwrap();
    for sequence in 1..=commands {
        recorder.append(command(id, sequence, None)).await.unwrap();
    }
    if let Some(at) = ended_at {
        let mut end = closed(id, commands);
        end.at = at;
        recorder.append(end).await.unwrap();
    }
    recorder.flush().await.unwrap();
    id
}

/// How many bytes each session's blocks take in the store, which nobody has open.
fn block_bytes(dir: &Path, sessions: &[SessionId]) -> Vec<u64> {
    let db = crate::support::open_raw(&dir.join("record"));
    let blocks = |id: &SessionId| db.scan_prefix([b"e", id.0.as_bytes().as_slice()].concat());
    sessions.iter().map(|id| blocks(id).map(|block| block.unwrap().1.len() as u64).sum()).collect()
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn old_sessions_go_with_their_approvals_and_leave_their_last_head() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = open(dir.path());
    let store = recorder.store();
    let now = sluicegate_core::record::now();
    let old = new_id();
    let approval = new_approval();
    recorder.append(opened(old, "alice")).await.unwrap();
    recorder.append(held(old, 1, approval)).await.unwrap();
    recorder.append(hold_ended(old, 1, approval, sluicegate_core::ApprovalState::Denied)).await.unwrap();
    let mut end = closed(old, 1);
    end.at = now - 10_000_000;
    recorder.append(end).await.unwrap();
    let elsewhere = session(&recorder, "billing", 1, Some(now - 10_000_000)).await;
    let recent = session(&recorder, "orders", 1, Some(now)).await;
    let running = session(&recorder, "orders", 1, None).await;
    assert_eq!(store.list(&any(10)).unwrap().items.len(), 4);
    let head = export(&store, old).lines().last().unwrap().to_owned();

    let hour = Retention { age: Some(Duration::from_secs(3600)), size: None };
    recorder.set_retention(Retention::default(), HashMap::from([("orders".to_owned(), hour)]));
    wait_until("the old session stays", || store.summary(old).unwrap().is_none());
    assert_eq!(store.approval(approval).unwrap(), None);
    assert_eq!(store.entries(old, 0).unwrap().entries, []);
    assert_eq!(store.export(old, 0).unwrap().lines, [] as [String; 0]);
    let left = store.left_of(old).unwrap().unwrap();
    assert!(left.at >= now && head.contains(&left.head.unwrap().head.hash.to_string()));
    for kept in [elsewhere, recent, running] {
        assert!(store.summary(kept).unwrap().is_some());
        assert_eq!(store.left_of(kept).unwrap(), None);
    }
}

#[tokio::test]
async fn the_oldest_sessions_go_until_the_rest_fits() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    {
        let recorder = open(dir.path());
        for _ in 0..8 {
            ids.push(session(&recorder, "orders", 2000, Some(0)).await);
        }
    }
    let sizes = block_bytes(dir.path(), &ids);
    let all: u64 = sizes.iter().sum();
    // The sizes are as known after a restart.
    let recorder = open(dir.path());
    let store = recorder.store();
    // Three sessions fit, and some of a fourth.
    let size = sizes[5..].iter().sum::<u64>() + sizes[4] / 2;
    recorder.set_retention(Retention { age: None, size: Some(all) }, HashMap::new());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(store.list(&any(10)).unwrap().items.len(), 8, "what fits exactly stays");
    recorder.set_retention(Retention { age: None, size: Some(size) }, HashMap::new());
    wait_until("the fifth session stays", || store.summary(ids[4]).unwrap().is_none());
    std::thread::sleep(Duration::from_millis(500));
    let kept: Vec<_> = ids.iter().filter(|id| store.summary(**id).unwrap().is_some()).collect();
    assert_eq!(kept, ids[5..].iter().collect::<Vec<_>>(), "the newest that fit stay, and no fewer");
    drop((recorder, store));
    let left: u64 = block_bytes(dir.path(), &ids).iter().sum();
    assert!(left <= size && left + sizes[4] > size, "{left} bytes are left of {size}");
    let recorder = open(dir.path());
    let store = recorder.store();
    recorder.set_retention(Retention { age: None, size: Some(0) }, HashMap::new());
    wait_until("sessions stay", || store.list(&any(10)).unwrap().items.is_empty());
    std::thread::sleep(Duration::from_millis(500));
    drop((recorder, store));
    let db = crate::support::open_raw(&dir.path().join("record"));
    assert_eq!(db.scan_prefix("e").count() + db.scan_prefix("h").count() + db.scan_prefix("t").count(), 0);
    assert_eq!(db.get("gorders").unwrap().unwrap(), &0_u64.to_be_bytes());
}
