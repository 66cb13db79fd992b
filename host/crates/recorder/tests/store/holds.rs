//! The index of approvals.

use sluicegate_core::{
    ApprovalState,
    record::{Entry, Recorder},
    sessions::{ApprovalFilter, ApprovalReader},
};
use sluicegate_recorder::{SledRecorder, Store};

use crate::support::{answered, closed, held, hold_ended, new_approval, new_id, opened};

fn all() -> ApprovalFilter {
    ApprovalFilter { limit: 100, ..ApprovalFilter::default() }
}

#[tokio::test]
async fn an_approval_is_found_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let (store, session) = (recorder.store(), new_id());
    let (given, refused, open) = (new_approval(), new_approval(), new_approval());
    recorder.append(opened(session, "alice")).await.unwrap();
    for (sequence, id) in (1..).zip([given, refused, open]) {
        recorder.append(held(session, sequence, id)).await.unwrap();
    }
    recorder.flush().await.unwrap();
    assert_eq!(store.approval(given).unwrap().unwrap().state, ApprovalState::Pending);

    recorder.append(answered(session, 1, given, true)).await.unwrap();
    recorder.append(answered(session, 2, refused, false)).await.unwrap();
    recorder.flush().await.unwrap();
    let stands = store.approval(given).unwrap().unwrap();
    assert_eq!((stands.state, stands.answers.len(), stands.ended_at), (ApprovalState::Pending, 1, None));
    let stands = store.approval(refused).unwrap().unwrap();
    assert_eq!((stands.state, stands.ended.as_str()), (ApprovalState::Denied, "denied by bob"));

    recorder.append(hold_ended(session, 1, given, ApprovalState::Approved)).await.unwrap();
    recorder.append(hold_ended(session, 2, refused, ApprovalState::Denied)).await.unwrap();
    recorder.flush().await.unwrap();
    let ended = store.approval(given).unwrap().unwrap();
    assert_eq!((ended.state, ended.answers.len()), (ApprovalState::Approved, 1));
    assert!(ended.ended_at.is_some() && ended.ended == "approved");
    assert_eq!(store.approval(new_approval()).unwrap(), None);

    let ids = |filter| store.list_approvals(&filter).unwrap().items.iter().map(|a| a.id).collect::<Vec<_>>();
    assert_eq!(ids(all()), [open, refused, given]);
    assert_eq!(ids(ApprovalFilter { state: Some(ApprovalState::Pending), ..all() }), [open]);
    assert_eq!(ids(ApprovalFilter { requester: Some("bob".to_owned()), ..all() }), []);
    assert_eq!(ids(ApprovalFilter { target: Some("orders".to_owned()), limit: 2, ..all() }), [open, refused]);
    let page = store.list_approvals(&ApprovalFilter { limit: 2, ..all() }).unwrap();
    assert_eq!(ids(ApprovalFilter { before: page.next, ..all() }), [given]);
}

#[tokio::test]
async fn nothing_is_waited_for_once_its_session_has_closed() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = SledRecorder::open(dir.path()).unwrap();
    let (session, other, left, kept, denied) = (new_id(), new_id(), new_approval(), new_approval(), new_approval());
    recorder.append(held(session, 1, left)).await.unwrap();
    recorder.append(held(other, 1, kept)).await.unwrap();
    recorder.append(held(session, 2, denied)).await.unwrap();
    let answer = answered(session, 2, denied, false);
    recorder.append(Entry { at: 5, ..answer }).await.unwrap();
    recorder.append(closed(session, 2)).await.unwrap();
    recorder.flush().await.unwrap();
    let ended = recorder.store().approval(denied).unwrap().unwrap();
    assert_eq!((ended.state, ended.ended.as_str(), ended.ended_at), (ApprovalState::Denied, "denied by bob", Some(5)));
    let ended = recorder.store().approval(left).unwrap().unwrap();
    assert_eq!((ended.state, ended.ended.as_str()), (ApprovalState::Abandoned, "its session ended"));
    assert_eq!(recorder.store().approval(kept).unwrap().unwrap().state, ApprovalState::Pending);
}

#[tokio::test]
async fn answers_reach_the_index_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (session, id) = (new_id(), new_approval());
    {
        let recorder = SledRecorder::open(dir.path()).unwrap();
        recorder.append(held(session, 1, id)).await.unwrap();
        recorder.append(answered(session, 1, id, true)).await.unwrap();
    }
    {
        let recorder = SledRecorder::open(dir.path()).unwrap();
        let ended = recorder.store().approval(id).unwrap().unwrap();
        assert_eq!((ended.state, ended.ended.as_str()), (ApprovalState::Abandoned, "the gateway stopped"));
    }
    let ended = Store::open_existing(dir.path()).unwrap().approval(id).unwrap().unwrap();
    assert_eq!((ended.state, ended.answers.len()), (ApprovalState::Abandoned, 1));
}
