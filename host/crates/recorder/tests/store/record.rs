//! The recorder against a real store: order, group commit, listing, and who may open it.

use std::{sync::Arc, time::Duration};

use sluicegate_core::{
    ApprovalState, Denial,
    record::{Event, Recorder, Refused},
    sessions::{ApprovalReader, SessionFilter, SessionReader, SessionVerdict},
};
use sluicegate_recorder::{
    SledRecorder, Store, StoreError,
    proof::{PublicKey, verify},
};

use crate::support::{
    answered, any, closed, command, entry, everything, export, held, mode, new_approval, new_id, only, open_raw,
    opened, outcome,
};

#[tokio::test]
async fn a_session_is_read_back_in_order_with_its_summary() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let id = new_id();
    let mut said = vec![opened(id, "alice")];
    for sequence in 1..=2000 {
        said.push(command(id, sequence, (sequence == 7).then(|| Denial::gate("no"))));
        said.push(outcome(id, sequence));
    }
    said.push(closed(id, 2000));
    for entry in &said {
        recorder.append(entry.clone()).await.unwrap();
    }
    recorder.flush().await.unwrap();
    assert_eq!(everything(&recorder.store(), id), said);
    assert!(recorder.store().entries(id, 0).unwrap().next.is_some(), "a long session has pages");
    let summary = only(&recorder.store());
    assert_eq!((summary.id, summary.user.as_str(), summary.target.as_str()), (id, "alice", "orders"));
    assert_eq!((summary.commands, summary.denied, summary.rows, summary.masked), (2000, 1, 6000, 4000));
    assert_eq!((summary.opened_at, summary.closed_at), (said[0].at, Some(said[4001].at)));
}

#[tokio::test]
async fn what_was_appended_is_seen_soon_without_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let id = new_id();
    recorder.append(opened(id, "alice")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(only(&recorder.store()).id, id);
    recorder.append(command(id, 1, None)).await.unwrap();
    recorder.flush().await.unwrap();
    assert_eq!(everything(&recorder.store(), id).len(), 2);
}

#[tokio::test]
async fn closing_writes_everything_and_then_nothing_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let id = new_id();
    {
        let recorder = SledRecorder::open(dir.path()).unwrap();
        for sequence in 1..=500 {
            recorder.append(command(id, sequence, None)).await.unwrap();
        }
        recorder.close().await.unwrap();
        assert!(recorder.append(command(id, 501, None)).await.is_err());
        assert!(recorder.flush().await.is_err());
        assert!(recorder.close().await.is_err());
    }
    assert_eq!(everything(&Store::open_existing(dir.path()).unwrap(), id).len(), 500);
}

#[tokio::test]
async fn a_dropped_recorder_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let id = new_id();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    for sequence in 1..=100 {
        recorder.append(command(id, sequence, None)).await.unwrap();
    }
    recorder.append(closed(id, 100)).await.unwrap();
    drop(recorder);
    let store = Store::open_existing(dir.path()).unwrap();
    assert_eq!((everything(&store, id).len(), only(&store).commands), (101, 100));
}

#[tokio::test]
async fn a_session_that_has_ended_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (id, approval) = (new_id(), new_approval());
    let mut exports = Vec::new();
    for round in 0..2 {
        let recorder = SledRecorder::open(dir.path()).unwrap();
        if round == 0 {
            for entry in [opened(id, "alice"), held(id, 1, approval), closed(id, 1)] {
                recorder.append(entry).await.unwrap();
            }
        }
        // Before its end is on disk, then after it, and in another life of the gateway.
        for _ in 0..2 {
            recorder.append(answered(id, 1, approval, false)).await.unwrap();
            recorder.append(command(id, 2, None)).await.unwrap();
            recorder.flush().await.unwrap();
            exports.push(export(&recorder.store(), id));
        }
        let store = recorder.store();
        assert_eq!((everything(&store, id).len(), only(&store).commands), (3, 0));
        assert_eq!(store.approval(approval).unwrap().unwrap().state, ApprovalState::Abandoned);
        let key = PublicKey::from_pem(&store.public_key()).unwrap();
        let report = verify(exports[0].as_bytes(), &key).unwrap();
        assert_eq!((report.entries, report.complete), (3, true));
    }
    exports.dedup();
    assert_eq!(exports.len(), 1);
}

#[tokio::test]
async fn sessions_that_were_cut_off_are_ended_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let id = new_id();
    {
        let recorder = SledRecorder::open(dir.path()).unwrap();
        recorder.append(opened(id, "alice")).await.unwrap();
        recorder.append(command(id, 1, None)).await.unwrap();
        recorder.flush().await.unwrap();
        assert_eq!(only(&recorder.store()).closed_at, None);
    }
    let recorder = SledRecorder::open(dir.path()).unwrap();
    assert!(only(&recorder.store()).closed_at.is_some());
    let entries = everything(&recorder.store(), id);
    let Some(Event::Closed(end)) = entries.last().map(|e| &e.event) else { panic!("{entries:?}") };
    assert_eq!((end.commands, entries.len()), (1, 3));
    assert_eq!(end.reason, "interrupted");
}

#[tokio::test]
async fn listings_are_newest_first_filtered_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let mut ids = Vec::new();
    for number in 0..25 {
        let id = new_id();
        recorder.append(opened(id, if number % 5 == 0 { "bob" } else { "alice" })).await.unwrap();
        ids.push(id);
    }
    let refused = new_id();
    let event = Event::Refused(Refused {
        user: "mallory".to_owned(),
        target: "orders".to_owned(),
        protocol: "any".to_owned(),
        client: "127.0.0.1:2".to_owned(),
        reason: "unknown user or wrong secret".to_owned(),
        opinions: Vec::new(),
    });
    recorder.append(entry(refused, event)).await.unwrap();
    recorder.flush().await.unwrap();
    ids.push(refused);
    ids.reverse();
    let store = recorder.store();

    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(&SessionFilter { before, ..any(10) }).unwrap();
        assert!(page.items.len() <= 10);
        seen.extend(page.items.iter().map(|s| s.id));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);

    let by = |user: &str| store.list(&SessionFilter { user: Some(user.to_owned()), ..any(100) }).unwrap().items;
    assert_eq!((by("bob").len(), by("alice").len(), by("nobody").len()), (5, 20, 0));
    assert_eq!(by("mallory")[0].refused.as_deref(), Some("unknown user or wrong secret"));
    let elsewhere = store.list(&SessionFilter { target: Some("billing".to_owned()), ..any(100) }).unwrap();
    assert_eq!(elsewhere.items, []);
    assert_eq!(store.summary(refused).unwrap().map(|s| s.user), Some("mallory".to_owned()));
    assert_eq!(store.summary(new_id()).unwrap(), None);
}

#[tokio::test]
async fn many_write_at_once_while_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(SledRecorder::open(dir.path()).unwrap());
    let ids: Vec<_> = (0..20).map(|_| new_id()).collect();
    let writers: Vec<_> = ids
        .iter()
        .map(|&id| {
            let recorder = Arc::clone(&recorder);
            tokio::spawn(async move {
                for sequence in 1..=300 {
                    recorder.append(command(id, sequence, None)).await.unwrap();
                    if sequence % 100 == 0 {
                        recorder.flush().await.unwrap();
                        let seen = everything(&recorder.store(), id).len() as u64;
                        assert!(seen >= sequence, "{seen} of {sequence}");
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for id in ids {
        let sequences: Vec<_> = everything(&recorder.store(), id)
            .into_iter()
            .map(|entry| if let Event::Command(command) = entry.event { command.sequence } else { 0 })
            .collect();
        assert_eq!(sequences, (1..=300).collect::<Vec<_>>());
    }
}

#[test]
fn only_one_can_have_the_store() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open_existing(dir.path()), Err(StoreError::Missing(_))));
    let recorder = SledRecorder::open(dir.path()).unwrap();
    assert!(matches!(Store::open_existing(dir.path()), Err(StoreError::Running(_))));
    assert!(matches!(SledRecorder::open(dir.path()), Err(StoreError::Running(_))));
    let folder = dir.path().join("record");
    assert_eq!(mode(&folder), 0o700);
    drop(recorder);
    assert!(Store::open_existing(dir.path()).is_ok());
}

#[test]
fn a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(SledRecorder::open(dir.path()).unwrap());
    {
        let db = open_raw(&dir.path().join("record"));
        db.insert("v", &3_u32.to_be_bytes()).unwrap();
        db.flush().unwrap();
    }
    let error = SledRecorder::open(dir.path()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 3, known: 2 }), "{error}");
}

#[tokio::test]
async fn listings_are_filtered_by_what_came_of_sessions_and_when() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let (denied, masked, allowed) = (new_id(), new_id(), new_id());
    for (id, entries) in [
        (denied, vec![command(denied, 1, Some(Denial::gate("no")))]),
        (masked, vec![command(masked, 1, None), outcome(masked, 1)]),
        (allowed, Vec::new()),
    ] {
        let mut open = opened(id, "alice");
        open.at = 1000 * i64::from(id == masked) + 2000 * i64::from(id == allowed);
        for entry in std::iter::once(open).chain(entries) {
            recorder.append(entry).await.unwrap();
        }
    }
    recorder.flush().await.unwrap();
    let store = recorder.store();
    let ids = |filter: SessionFilter| {
        store.list(&SessionFilter { limit: 10, ..filter }).unwrap().items.iter().map(|s| s.id).collect::<Vec<_>>()
    };
    let with = |verdict| ids(SessionFilter { verdict: Some(verdict), ..SessionFilter::default() });
    assert_eq!(with(SessionVerdict::Denied), [denied]);
    assert_eq!(with(SessionVerdict::Masked), [masked]);
    assert_eq!(with(SessionVerdict::Allowed), [allowed]);
    assert_eq!(with(SessionVerdict::Held), []);
    let naming = |table: &str| ids(SessionFilter { table: Some(table.to_owned()), ..SessionFilter::default() });
    assert_eq!(naming("orders"), [masked, denied]);
    assert_eq!(naming("public.orders"), [masked, denied]);
    assert_eq!(naming("rders"), []);
    // By the clock the ids are of now, and by their entries the sessions opened long ago.
    let until = |until| ids(SessionFilter { until: Some(until), ..SessionFilter::default() });
    assert_eq!(until(sluicegate_core::record::now() - 3_600_000), []);
    let since = |since| ids(SessionFilter { since: Some(since), ..SessionFilter::default() });
    assert_eq!(since(0), [allowed, masked, denied]);
    assert_eq!(since(1000), [allowed, masked]);
    assert_eq!(since(2001), []);
    let none = SessionFilter { since: Some(2000), before: Some(denied), ..SessionFilter::default() };
    assert_eq!(ids(none), []);
}
