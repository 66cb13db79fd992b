//! Entries as a gateway writes them, and looks at the store.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use sluicegate_core::{
    Approval, ApprovalId, ApprovalState, Denial, Requirement, SessionId,
    approval::Answer,
    record::{Answered, Closed, CommandEntry, Entry, Event, HoldEnded, Opened, Outcome, now},
    sessions::{SessionFilter, SessionReader, SessionSummary},
};
use sluicegate_recorder::Store;
use uuid::Uuid;

pub fn entry(session: SessionId, event: Event) -> Entry {
    Entry { session, at: now(), event }
}

pub fn opened(session: SessionId, user: &str) -> Entry {
    let event = Event::Opened(Opened {
        user: user.to_owned(),
        groups: vec!["ops".to_owned()],
        target: "orders".to_owned(),
        protocol: "any".to_owned(),
        client: "127.0.0.1:1".to_owned(),
        authentication: "secret".to_owned(),
        application: "test".to_owned(),
        ..Opened::default()
    });
    entry(session, event)
}

pub fn command(session: SessionId, sequence: u64, denial: Option<Denial>) -> Entry {
    let event = Event::Command(CommandEntry {
        sequence,
        verb: "query".to_owned(),
        text: format!("select * from orders where id = {sequence} and note <> 'paid in full'"),
        cut: false,
        resources: vec!["public.orders".to_owned()],
        parameters: 0,
        values: Vec::new(),
        denial,
        approval: None,
        opinions: Vec::new(),
    });
    entry(session, event)
}

pub fn outcome(session: SessionId, sequence: u64) -> Entry {
    let event = Event::Outcome(Outcome {
        sequence,
        rows: 3,
        bytes: 100,
        masked: 2,
        status: "SELECT 3".to_owned(),
        failed: false,
        denial: None,
        opinions: Vec::new(),
        forwarded_at: None,
        micros: 0,
        output: Vec::new(),
    });
    entry(session, event)
}

pub fn closed(session: SessionId, commands: u64) -> Entry {
    entry(session, Event::Closed(Closed { commands, reason: "the client left".to_owned() }))
}

pub fn new_id() -> SessionId {
    SessionId(Uuid::now_v7())
}

pub fn any(limit: usize) -> SessionFilter {
    SessionFilter { limit, ..SessionFilter::default() }
}

pub fn everything(store: &Store, session: SessionId) -> Vec<Entry> {
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(next) = from {
        let page = store.entries(session, next).unwrap();
        all.extend(page.entries.into_iter().map(|kept| kept.entry));
        from = page.next;
    }
    all
}

pub fn only(store: &Store) -> SessionSummary {
    let page = store.list(&any(10)).unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
    page.items.into_iter().next().unwrap()
}

pub fn open_raw(path: &Path) -> sled::Db {
    for _ in 0..100 {
        if let Ok(db) = sled::open(path) {
            return db;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the store stays locked");
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub fn held(session: SessionId, sequence: u64, id: ApprovalId) -> Entry {
    let requirement = Requirement {
        policy: "hold-for-approval".to_owned(),
        module: "00".to_owned(),
        rule: Some("when[0]".to_owned()),
        reason: "deletes rows".to_owned(),
        approvers: vec!["group:dba".parse().unwrap()],
        min_approvals: 1,
        reason_required: false,
        expires_in: None,
        remember: None,
    };
    let approval = Approval {
        id,
        session,
        sequence,
        requester: "alice".to_owned(),
        target: "orders".to_owned(),
        protocol: "any".to_owned(),
        client: "127.0.0.1:1".to_owned(),
        digest: "ab".to_owned(),
        verb: "query".to_owned(),
        text: "delete from orders".to_owned(),
        cut: false,
        hidden: false,
        context: String::new(),
        resources: vec!["public.orders".to_owned()],
        parameters: 0,
        values: Vec::new(),
        kinds: vec!["delete".to_owned()],
        in_transaction: false,
        requirements: vec![requirement],
        requested_at: now(),
        expires_at: now() + 3_600_000,
        state: ApprovalState::Pending,
        answers: Vec::new(),
        ended_at: None,
        ended: String::new(),
    };
    entry(session, Event::Held(Box::new(approval)))
}

pub fn answered(session: SessionId, sequence: u64, approval: ApprovalId, approved: bool) -> Entry {
    let answer = Answer { approver: "bob".to_owned(), approved, note: "seen".to_owned(), at: now() };
    entry(session, Event::Answered(Answered { approval, sequence, answer }))
}

pub fn hold_ended(session: SessionId, sequence: u64, approval: ApprovalId, state: ApprovalState) -> Entry {
    let reason = state.word().to_owned();
    entry(session, Event::HoldEnded(HoldEnded { approval, sequence, state, reason }))
}

pub fn new_approval() -> ApprovalId {
    ApprovalId(Uuid::now_v7())
}

/// The whole export, as a file would have it.
pub fn export(store: &Store, session: SessionId) -> String {
    let (mut text, mut from) = (String::new(), Some(0));
    while let Some(next) = from {
        let page = store.export(session, next).unwrap();
        for line in page.lines {
            text.push_str(&line);
            text.push('\n');
        }
        from = page.next;
    }
    text
}
