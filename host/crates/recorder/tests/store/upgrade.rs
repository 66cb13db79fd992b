//! A store as format 1 wrote it is brought up to date at the next start.

use std::path::Path;

use serde::Serialize;
use sluicegate_core::{
    SessionId,
    record::Event,
    sessions::{SessionReader, SessionVerdict},
};
use sluicegate_recorder::{
    SledRecorder, Store, StoreError,
    proof::{PublicKey, verify},
};

use crate::support::{everything, export, new_id, only, open_raw};

/// Events with the fields that they had then.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Old {
    Opened {
        user: &'static str,
        groups: Vec<&'static str>,
        target: &'static str,
        protocol: &'static str,
        client: &'static str,
        application: &'static str,
        policies: Vec<(&'static str, &'static str)>,
        opinions: Vec<OldOpinion>,
    },
    Command {
        sequence: u64,
        verb: &'static str,
        text: String,
        cut: bool,
        resources: Vec<&'static str>,
        parameters: u32,
        values: Vec<Option<&'static str>>,
        denial: Option<()>,
        opinions: Vec<OldOpinion>,
    },
    Outcome {
        sequence: u64,
        rows: u64,
        bytes: u64,
        masked: u64,
        status: &'static str,
        failed: bool,
        denial: Option<()>,
        opinions: Vec<OldOpinion>,
    },
    Closed {
        commands: u64,
        reason: &'static str,
    },
}

#[derive(Serialize)]
struct OldOpinion {
    policy: &'static str,
    digest: &'static str,
    mode: &'static str,
    said: &'static str,
    reason: &'static str,
}

#[derive(Serialize)]
struct OldEntry {
    at: i64,
    event: Old,
}

fn opinion() -> Vec<OldOpinion> {
    vec![OldOpinion { policy: "sql-guard", digest: "ab", mode: "monitor", said: "allow", reason: "" }]
}

fn old_session(commands: u64, closed: bool) -> Vec<OldEntry> {
    let mut events = vec![Old::Opened {
        user: "alice",
        groups: vec!["ops"],
        target: "orders",
        protocol: "any",
        client: "127.0.0.1:1",
        application: "test",
        policies: vec![("sql-guard", "ab")],
        opinions: opinion(),
    }];
    for sequence in 1..=commands {
        events.push(Old::Command {
            sequence,
            verb: "query",
            text: format!("select {sequence}"),
            cut: false,
            resources: vec!["public.orders"],
            parameters: 1,
            values: vec![Some("1")],
            denial: None,
            opinions: opinion(),
        });
        events.push(Old::Outcome {
            sequence,
            rows: 1,
            bytes: 5,
            masked: 1,
            status: "SELECT 1",
            failed: false,
            denial: None,
            opinions: Vec::new(),
        });
    }
    if closed {
        events.push(Old::Closed { commands, reason: "the client left" });
    }
    events.into_iter().zip(1000..).map(|(event, at)| OldEntry { at, event }).collect()
}

/// Writes a session as format 1 did: numbered blocks of MessagePack entries, a summary, an open mark.
fn store_old(db: &sled::Db, session: SessionId, entries: &[OldEntry], closed: bool) {
    for (number, some) in (0_u64..).zip(entries.chunks(50)) {
        let block: Vec<u8> = some.iter().flat_map(|entry| rmp_serde::to_vec_named(entry).unwrap()).collect();
        let key = [b"b", session.0.as_bytes().as_slice(), &number.to_be_bytes()].concat();
        db.insert(key, lz4_flex::block::compress_prepend_size(&block)).unwrap();
    }
    db.insert([b"s", session.0.as_bytes().as_slice()].concat(), b"an older summary").unwrap();
    if !closed {
        db.insert([b"o", session.0.as_bytes().as_slice()].concat(), &[]).unwrap();
    }
}

fn old_store(dir: &Path, sessions: &[(SessionId, u64, bool)]) {
    std::fs::create_dir(dir.join("record")).unwrap();
    let db = open_raw(&dir.join("record"));
    db.insert("v", &1_u32.to_be_bytes()).unwrap();
    for &(id, commands, closed) in sessions {
        store_old(&db, id, &old_session(commands, closed), closed);
    }
    db.flush().unwrap();
}

fn key(store: &Store) -> PublicKey {
    PublicKey::from_pem(&store.public_key()).unwrap()
}

#[test]
fn what_is_there_is_chained_signed_and_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let (ended, open) = (new_id(), new_id());
    old_store(dir.path(), &[(ended, 1000, true), (open, 3, false)]);
    assert!(matches!(Store::open_existing(dir.path()).err().unwrap(), StoreError::Older(1)));
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let store = recorder.store();

    let entries = everything(&store, ended);
    assert_eq!((entries.len(), entries[0].at, entries[2001].at), (2002, 1000, 3001));
    let Event::Opened(opened) = &entries[0].event else { panic!() };
    assert_eq!((opened.user.as_str(), opened.authentication.as_str()), ("alice", ""));
    let Event::Outcome(outcome) = &entries[2].event else { panic!() };
    assert_eq!((outcome.sequence, outcome.rows, outcome.forwarded_at, outcome.output.len()), (1, 1, None, 0));
    let summary = store.summary(ended).unwrap().unwrap();
    assert_eq!((summary.entries, summary.commands, summary.masked), (2002, 1000, 1000));
    assert_eq!((summary.opened_at, summary.closed_at), (1000, Some(3001)));
    assert!(summary.may_name("orders") && summary.has(SessionVerdict::Masked));

    let interrupted = store.summary(open).unwrap().unwrap();
    assert_eq!((interrupted.ended.as_deref(), interrupted.entries), (Some("interrupted"), 8));
    for id in [ended, open] {
        let report = verify(export(&store, id).as_bytes(), &key(&store)).unwrap();
        assert!(report.complete, "{report:?}");
    }
    drop((recorder, store));
    assert!(Store::open_existing(dir.path()).is_ok());
}

#[test]
fn an_upgrade_that_was_cut_off_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let id = new_id();
    old_store(dir.path(), &[(id, 200, true)]);
    {
        // New blocks of a first attempt are there; the old ones are, too.
        let db = open_raw(&dir.path().join("record"));
        db.insert([b"e", id.0.as_bytes().as_slice(), &0_u64.to_be_bytes()].concat(), b"unfinished").unwrap();
        db.flush().unwrap();
    }
    let recorder = SledRecorder::open(dir.path()).unwrap();
    assert_eq!(everything(&recorder.store(), id).len(), 402);
    assert!(verify(export(&recorder.store(), id).as_bytes(), &key(&recorder.store())).unwrap().complete);
}

#[test]
fn a_damaged_old_block_is_told_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let id = new_id();
    old_store(dir.path(), &[(id, 200, true)]);
    {
        let db = open_raw(&dir.path().join("record"));
        db.insert([b"b", id.0.as_bytes().as_slice(), &2_u64.to_be_bytes()].concat(), b"damage").unwrap();
        db.flush().unwrap();
    }
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let summary = only(&recorder.store());
    assert_eq!((summary.ended.as_deref(), summary.entries), (Some("damaged"), 352));
}
