//! What is done at the next start about sessions that were cut off, whole and damaged ones.

use std::path::Path;

use sluicegate_core::{
    SessionId,
    record::{Event, Recorder},
    sessions::SessionReader,
};
use sluicegate_recorder::{
    Pace, SledRecorder, Store,
    proof::{Fault, PublicKey, verify},
};

use crate::support::{command, everything, export, new_id, open_raw, opened};

/// A session of 3001 entries, with heads, that a crash cuts off.
async fn cut_off(dir: &Path) -> SessionId {
    let id = new_id();
    let recorder = SledRecorder::open(dir).unwrap();
    recorder.append(opened(id, "alice")).await.unwrap();
    for sequence in 1..=3000 {
        recorder.append(command(id, sequence, None)).await.unwrap();
        if sequence % 700 == 0 {
            recorder.flush().await.unwrap();
        }
    }
    id
}

fn key(store: &Store) -> PublicKey {
    PublicKey::from_pem(&store.public_key()).unwrap()
}

#[tokio::test]
async fn a_session_that_was_cut_off_is_closed_and_signed() {
    let dir = tempfile::tempdir().unwrap();
    let id = cut_off(dir.path()).await;
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let store = recorder.store();
    let summary = store.summary(id).unwrap().unwrap();
    assert_eq!((summary.ended.as_deref(), summary.entries), (Some("interrupted"), 3002));
    let Some(Event::Closed(closed)) = everything(&store, id).pop().map(|entry| entry.event) else { panic!() };
    assert_eq!((closed.commands, closed.reason.as_str()), (3000, "interrupted"));
    let report = verify(export(&store, id).as_bytes(), &key(&store)).unwrap();
    assert!(report.complete && report.entries == 3002);
}

#[tokio::test]
async fn a_damaged_session_does_not_keep_the_gateway_from_starting() {
    type Damage = fn(&sled::Db, SessionId);
    let prefix = |kind: u8, id: SessionId| [&[kind], id.0.as_bytes().as_slice()].concat();
    let cases: [(&str, Damage); 4] = [
        ("the last block is gone", |db, id| {
            let key = db.scan_prefix([b"e", id.0.as_bytes().as_slice()].concat()).keys().next_back().unwrap().unwrap();
            db.remove(key).unwrap();
        }),
        ("the last block is another", |db, id| {
            let blocks: Vec<_> =
                db.scan_prefix([b"e", id.0.as_bytes().as_slice()].concat()).map(Result::unwrap).collect();
            db.insert(&blocks[blocks.len() - 1].0, &blocks[blocks.len() - 2].1).unwrap();
        }),
        ("the last block does not decompress", |db, id| {
            let key = db.scan_prefix([b"e", id.0.as_bytes().as_slice()].concat()).keys().next_back().unwrap().unwrap();
            db.insert(key, b"nonsense").unwrap();
        }),
        ("the last head is not signed", |db, id| {
            let (key, mut head) =
                db.scan_prefix([b"h", id.0.as_bytes().as_slice()].concat()).next_back().unwrap().unwrap();
            head[8] ^= 1;
            db.insert(key, head).unwrap();
        }),
    ];
    for (what, damage) in cases {
        let dir = tempfile::tempdir().unwrap();
        let id = cut_off(dir.path()).await;
        let other = cut_off_another(dir.path()).await;
        {
            let db = open_raw(&dir.path().join("record"));
            // As a crash leaves it: open, which the start in between has put right.
            for id in [id, other] {
                assert_eq!(db.scan_prefix(prefix(b'r', id)).count(), 0);
            }
            damage(&db, id);
            db.insert(prefix(b'o', id), &[]).unwrap();
            db.flush().unwrap();
        }
        let recorder = SledRecorder::open(dir.path()).unwrap();
        let store = recorder.store();
        let summary = store.summary(id).unwrap().unwrap();
        assert_eq!(summary.ended.as_deref(), Some("damaged"), "{what}");
        let fault = verify(export(&store, id).as_bytes(), &key(&store)).unwrap_err();
        assert!(matches!(fault, Fault::Missing { .. } | Fault::Changed { .. } | Fault::Head { .. }), "{what}: {fault}");
        assert!(verify(export(&store, other).as_bytes(), &key(&store)).unwrap().complete);
        recorder.append(command(new_id(), 1, None)).await.unwrap();
        recorder.flush().await.unwrap();
    }
}

async fn cut_off_another(dir: &Path) -> SessionId {
    let id = new_id();
    let recorder = SledRecorder::open(dir).unwrap();
    recorder.append(command(id, 1, None)).await.unwrap();
    id
}

#[tokio::test]
async fn an_open_session_has_heads_at_intervals_and_when_it_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let pace = Pace { heads: std::time::Duration::from_millis(100), ..Pace::default() };
    let (asked, unasked) = (new_id(), new_id());
    let report = {
        let recorder = SledRecorder::open(dir.path()).unwrap();
        recorder.append(command(asked, 1, None)).await.unwrap();
        recorder.append(command(asked, 2, None)).await.unwrap();
        let store = recorder.store();
        recorder.flush().await.unwrap();
        verify(export(&store, asked).as_bytes(), &key(&store)).unwrap()
    };
    assert_eq!((report.entries, report.complete), (2, false));
    let recorder = SledRecorder::open_with(dir.path(), pace).unwrap();
    recorder.append(command(unasked, 1, None)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    recorder.append(command(unasked, 2, None)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    drop(recorder);
    let db = open_raw(&dir.path().join("record"));
    assert_eq!(db.scan_prefix([b"h", unasked.0.as_bytes().as_slice()].concat()).count(), 2);
}

#[tokio::test]
async fn a_session_that_ends_with_the_gateway_is_proven_up_to_there_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let id = new_id();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    recorder.append(command(id, 1, None)).await.unwrap();
    recorder.close().await.unwrap();
    drop(recorder);
    let store = Store::open_existing(dir.path()).unwrap();
    let report = verify(export(&store, id).as_bytes(), &key(&store)).unwrap();
    assert_eq!((report.entries, report.complete), (1, false));
}
