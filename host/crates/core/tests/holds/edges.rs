//! What the state machine does not reach: the clock, a record that breaks, sessions that vanish without
//! a word, and what exactly a command's digest covers.

use std::time::Duration;

use sluicegate_core::{
    Approval, ApprovalId, ApprovalState, Command, Denial, DenialKind, GatedSession, Halt, Phase, ResultSummary,
    approvals::{AnswerError, ApprovalLimits},
    command::Parameter,
    record::{Event, HoldEnded},
};

use crate::{
    invariants,
    stage::{ORDERS, Stage, command, is_over, over},
};

/// A gate whose policies ask for this, and alice's session in which a command has just been held.
async fn held(asks: usize, limits: ApprovalLimits) -> (Stage, GatedSession, ApprovalId) {
    let stage = Stage::new(limits);
    stage.govern(asks);
    let mut session = stage.open("alice", ORDERS).await;
    let id = hold(&mut session, command(1, false)).await;
    (stage, session, id)
}

pub async fn hold(session: &mut GatedSession, command: Command) -> ApprovalId {
    assert!(matches!(session.decide(command).await, Err(Halt::Suspended)));
    session.hold(false).await.expect("an approval is asked for").id
}

pub fn refused(decision: Result<sluicegate_core::ForwardPermit, Halt>) -> (DenialKind, String) {
    match decision {
        Err(Halt::Denied(denial)) => (denial.kind, denial.reason),
        Err(Halt::Suspended) => panic!("it still waits"),
        Ok(_) => panic!("it may run"),
    }
}

pub async fn run(session: &mut GatedSession, command: Command) {
    let permit = session.decide(command).await.map_err(|halt| format!("{halt:?}")).expect("it may run");
    permit.redeem().finish(ResultSummary::default()).await.expect("it is recorded");
}

fn ends(stage: &Stage) -> Vec<HoldEnded> {
    let events = stage.ledger.entries().into_iter().map(|entry| entry.event);
    events.filter_map(|event| if let Event::HoldEnded(ended) = event { Some(ended) } else { None }).collect()
}

#[tokio::test]
async fn one_of_two_approvals_in_time_is_not_enough() {
    let limits = ApprovalLimits { expires: Duration::from_millis(300), ..ApprovalLimits::default() };
    let (stage, mut session, id) = held(2, limits).await;
    stage.answer(id, "dave", true, "").await.expect("dave is asked");
    assert!(!is_over(&mut session));
    over(&mut session).await;
    assert!(matches!(stage.answer(id, "erin", true, "").await, Err(AnswerError::NotPending(_))));
    let (kind, reason) = refused(session.decide(command(1, false)).await);
    assert_eq!((kind, reason), (DenialKind::Approval, format!("nobody answered approval {id} in time")));
    assert_eq!(ends(&stage)[0].state, ApprovalState::Expired);
    session.close("goodbye").await;
    invariants::check(&stage.ledger.entries());
}

/// While the disk takes its time over an answer, the time is over, or the session gone.
#[tokio::test]
async fn an_answer_that_comes_to_the_disk_too_late_approves_nothing() {
    for vanishes in [false, true] {
        let limits = ApprovalLimits { expires: Duration::from_millis(400), ..ApprovalLimits::default() };
        let (stage, mut session, id) = held(6, limits).await;
        stage.ledger.slow_down(Duration::from_millis(800));
        let given_up = async {
            if vanishes {
                tokio::time::sleep(Duration::from_millis(200)).await;
                return drop(session);
            }
            over(&mut session).await;
            assert_eq!(refused(session.decide(command(1, false)).await).0, DenialKind::Approval);
            session.close("goodbye").await;
            invariants::check(&stage.ledger.entries());
        };
        let (answered, ()) = tokio::join!(stage.answer(id, "dave", true, ""), given_up);
        let stands = answered.expect("it came in time").state;
        assert_eq!(stands == ApprovalState::Abandoned, vanishes, "the approver reads {stands}");
        stage.ledger.slow_down(Duration::ZERO);
        hold(&mut stage.open("alice", ORDERS).await, command(1, false)).await;
    }
}

#[tokio::test]
async fn a_held_session_notices_by_itself_that_policies_are_others() {
    let (stage, mut session, id) = held(1, ApprovalLimits::default()).await;
    stage.govern(0);
    over(&mut session).await;
    run(&mut session, command(1, false)).await;
    assert_eq!((ends(&stage)[0].approval, ends(&stage)[0].state), (id, ApprovalState::Superseded));
}

#[tokio::test]
async fn a_session_that_vanishes_takes_its_approval_with_it() {
    let limits = ApprovalLimits { max_pending_per_identity: 1, ..ApprovalLimits::default() };
    let (stage, session, id) = held(1, limits).await;
    let mut another = stage.open("alice", ORDERS).await;
    assert!(matches!(another.decide(command(2, false)).await, Err(Halt::Suspended)));
    assert_eq!(another.hold(false).await, None);
    let (kind, reason) = refused(another.decide(command(2, false)).await);
    assert!(kind == DenialKind::Gate && reason.contains('1'), "{reason}");
    drop(session);
    assert_eq!(stage.approvals.pending(), []);
    assert!(matches!(stage.answer(id, "dave", true, "").await, Err(AnswerError::NotPending(_))));
    hold(&mut another, command(2, false)).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_does_not_count() {
    let (stage, mut session, id) = held(1, ApprovalLimits::default()).await;
    stage.ledger.break_down(true);
    assert!(matches!(stage.answer(id, "dave", true, "").await, Err(AnswerError::Record(_))));
    assert!(!is_over(&mut session));
    session.end_hold(Denial::of(DenialKind::Cancelled, "the user said so"));
    assert_eq!(refused(session.decide(command(1, false)).await).0, DenialKind::Record);
    assert_eq!(stage.approvals.pending(), []);
}

/// The disk may be back by then: the client reads that it was the record, and nobody was asked.
#[tokio::test]
async fn an_approval_that_cannot_be_recorded_is_not_asked_for() {
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(1);
    let mut session = stage.open("alice", ORDERS).await;
    assert!(matches!(session.decide(command(1, false)).await, Err(Halt::Suspended)));
    stage.ledger.break_down(true);
    assert_eq!(session.hold(false).await, None);
    stage.ledger.break_down(false);
    assert!(is_over(&mut session));
    let (kind, reason) = refused(session.decide(command(1, false)).await);
    assert_eq!((kind, reason.as_str()), (DenialKind::Record, "the record cannot be written: the disk is full"));
    assert!(stage.approvals.pending().is_empty() && ends(&stage).is_empty());
}

#[tokio::test]
async fn what_is_given_up_ends_in_the_record() {
    let (stage, mut session, id) = held(1, ApprovalLimits::default()).await;
    session.give_up(Denial::of(DenialKind::Cancelled, "the client is gone")).await.expect("it is recorded");
    let ended = &ends(&stage)[0];
    assert_eq!(
        (ended.approval, ended.state, ended.reason.as_str()),
        (id, ApprovalState::Abandoned, "the client is gone")
    );
    let last = stage.ledger.entries().pop().map(|entry| entry.event);
    let Some(Event::Outcome(outcome)) = last else { panic!("{last:?}") };
    assert_eq!((outcome.status.as_str(), outcome.forwarded_at), ("abandoned", None));
    assert!(!session.is_suspended() && stage.approvals.pending().is_empty());

    hold(&mut session, command(2, false)).await;
    session.end_hold(Denial::of(DenialKind::Cancelled, "the user said so"));
    stage.ledger.break_down(true);
    let unrecorded = session.give_up(Denial::of(DenialKind::Cancelled, "the client is gone")).await.unwrap_err();
    assert_eq!(unrecorded.to_string(), "the record cannot be written: the disk is full");
    assert!(!session.is_suspended() && stage.approvals.pending().is_empty());
    session.give_up(Denial::of(DenialKind::Cancelled, "again")).await.expect("there is nothing to give up");
}

#[tokio::test]
async fn an_approved_command_does_not_run_when_that_cannot_be_recorded() {
    let (stage, mut session, id) = held(6, ApprovalLimits::default()).await;
    stage.answer(id, "dave", true, "").await.expect("dave is asked");
    stage.ledger.break_down(true);
    assert_eq!(refused(session.decide(command(1, false)).await).0, DenialKind::Record);
}

#[tokio::test]
async fn zero_approvals_are_one() {
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(1);
    stage.adjust(|requirement| requirement.min_approvals = 0);
    let mut session = stage.open("alice", ORDERS).await;
    let id = hold(&mut session, command(1, false)).await;
    assert!(matches!(session.decide(command(1, false)).await, Err(Halt::Suspended)));
    stage.answer(id, "dave", true, "").await.expect("dave is asked");
    run(&mut session, command(1, false)).await;
}

#[tokio::test]
async fn a_note_is_bounded_and_kept() {
    let (stage, _session, id) = held(1, ApprovalLimits::default()).await;
    let long = "x".repeat(sluicegate_core::approval::MAX_NOTE_BYTES + 1);
    assert!(matches!(stage.answer(id, "dave", false, &long).await, Err(AnswerError::NoteTooLong)));
    let escape = stage.answer(id, "dave", false, "\u{1b}[2Jno").await;
    assert!(matches!(escape, Err(AnswerError::NoteText)), "it would reach the client's terminal");
    let denied = stage.answer(id, "dave", false, &long[1..]).await.expect("that fits");
    assert_eq!((denied.answers[0].note.len(), denied.state), (long.len() - 1, ApprovalState::Denied));
}

#[tokio::test]
async fn what_was_denied_says_by_whom_and_why() {
    let (stage, mut session, id) = held(1, ApprovalLimits::default()).await;
    stage.answer(id, "dave", false, "not on a Friday").await.expect("dave is asked");
    let (kind, reason) = refused(session.decide(command(1, false)).await);
    assert_eq!((kind, reason), (DenialKind::Approval, format!("dave denied approval {id}: not on a Friday")));
    assert!(!session.is_suspended());
}

/// An approval as the record tells of it.
fn recorded(stage: &Stage, id: ApprovalId) -> Approval {
    let mut found: Option<Approval> = None;
    for entry in stage.ledger.entries() {
        match (&mut found, entry.event) {
            (None, Event::Held(held)) if held.id == id => found = Some(*held),
            (Some(approval), event) if approval.session == entry.session => approval.note(&event, entry.at),
            _ => {}
        }
    }
    found.expect("it was held")
}

#[tokio::test]
async fn what_an_approver_is_told_is_what_the_record_says() {
    let (stage, mut session, id) = held(1, ApprovalLimits::default()).await;
    let told = stage.answer(id, "dave", false, "no").await.expect("dave is asked");
    assert_eq!((told.state, told.ended_at), (ApprovalState::Denied, Some(told.answers[0].at)));
    tokio::time::sleep(Duration::from_millis(5)).await;
    refused(session.decide(command(1, false)).await);
    session.close("goodbye").await;
    assert_eq!(recorded(&stage, id), told);

    let (stage, mut session, id) = held(1, ApprovalLimits::default()).await;
    let told = stage.answer(id, "dave", true, "").await.expect("dave is asked");
    assert_eq!((told.state, told.ended_at), (ApprovalState::Approved, None), "it has not run yet");
    run(&mut session, command(1, false)).await;
    let ended_at = stage.ledger.entries().iter().find(|e| matches!(e.event, Event::HoldEnded(_))).map(|e| e.at);
    assert_eq!(recorded(&stage, id), Approval { ended_at, ..told });

    // A denial counts, also when its session has vanished meanwhile.
    let (stage, session, id) = held(1, ApprovalLimits::default()).await;
    stage.ledger.slow_down(Duration::from_millis(200));
    let gone = async move { drop((tokio::time::sleep(Duration::from_millis(50)).await, session)) };
    let (told, ()) = tokio::join!(stage.answer(id, "dave", false, "no"), gone);
    assert_eq!(recorded(&stage, id), told.expect("it came in time"));
}

/// Whatever could make it another command makes it another digest, so that no remembered approval covers it.
#[tokio::test]
async fn a_digest_is_of_everything_that_a_command_is() {
    let same = || command(1, false);
    let sql = |unanalysable: &str| {
        let unanalysable = Some(unanalysable.to_owned());
        Some(std::sync::Arc::new(sluicegate_core::sql::SqlFacts { unanalysable, ..Default::default() }))
    };
    let others = [
        Command { text: "DELETE FROM t1 ".into(), ..same() },
        Command { verb: "execute", ..same() },
        Command { context: "role=other".into(), ..same() },
        Command { parameters: vec![Parameter::Text("2".into()), Parameter::Null], ..same() },
        Command { parameters: vec![Parameter::Null, Parameter::Text("1".into())], ..same() },
        Command { parameters: vec![Parameter::Opaque(b"1".as_slice().into()), Parameter::Null], ..same() },
        Command { parameters: vec![Parameter::Text("1".into())], ..same() },
        Command { resources: vec!["t1".to_owned()], ..same() },
        Command { sql: sql("one reason"), ..same() },
        Command { sql: sql("another reason"), ..same() },
    ];
    let (stage, mut session, id) = held(6, ApprovalLimits::default()).await;
    stage.answer(id, "dave", true, "").await.expect("dave is asked");
    run(&mut session, same()).await;
    run(&mut session, same()).await;
    let mut digests = vec![stage.ledger.entries().into_iter().find_map(digest).expect("one was held")];
    for other in others {
        let what = format!("{other:?}");
        hold(&mut session, other.clone()).await;
        digests.push(stage.ledger.entries().into_iter().rev().find_map(digest).expect("another was held"));
        session.end_hold(Denial::of(DenialKind::Cancelled, "what came before it failed"));
        refused(session.decide(other).await);
        assert!(!session.is_suspended(), "{what}");
    }
    for (user, target) in [("carol", ORDERS), ("alice", crate::stage::BILLING)] {
        hold(&mut stage.open(user, target).await, same()).await;
        digests.push(stage.ledger.entries().into_iter().rev().find_map(digest).expect("another was held"));
    }
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!((digests.len(), count), (13, 13));
}

fn digest(entry: sluicegate_core::record::Entry) -> Option<String> {
    if let Event::Held(approval) = entry.event { Some(approval.digest) } else { None }
}

#[tokio::test]
async fn what_is_only_made_ready_is_not_held_and_what_is_not_whole_never_runs() {
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(1);
    let mut session = stage.open("alice", ORDERS).await;
    run(&mut session, Command { phase: Phase::Prepare, ..command(1, false) }).await;
    let (kind, _) = refused(session.decide(Command { whole: false, ..command(1, false) }).await);
    assert_eq!(kind, DenialKind::Gate);
    assert!(!session.is_suspended());
}
