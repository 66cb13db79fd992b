//! For how long and how much: requests that stand too long, approvals that are remembered, and what a
//! session's summary counts.

use std::time::{Duration, Instant};

use sluicegate_core::{
    Command, Denial, DenialKind, GatedSession, Halt,
    approvals::ApprovalLimits,
    sessions::{SessionSummary, SessionVerdict},
};

use crate::{
    cast::REMEMBERED,
    edges::{hold, refused, run},
    stage::{ORDERS, Stage, command, over},
};

/// How many approvals cover later commands at once, at most.
const MAX_REMEMBERED: u32 = 10_000;

/// The index of policies of which two are remembered.
const BOTH_REMEMBERED: usize = REMEMBERED + 1;

/// A gate whose policies ask for this, with requirements that are remembered for so many seconds.
fn remembering(asks: usize, seconds: &[u32]) -> Stage {
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(asks);
    let left = std::sync::Mutex::new(seconds.iter().copied());
    stage.adjust(|requirement| requirement.remember = left.lock().unwrap().next());
    stage
}

/// Whether a command runs without waiting; one that waits is given up.
async fn is_covered(session: &mut GatedSession, command: Command) -> bool {
    match session.decide(command).await {
        Ok(permit) => {
            permit.redeem().finish(sluicegate_core::ResultSummary::default()).await.expect("it is recorded");
            true
        }
        Err(Halt::Suspended) => {
            let why = Denial::of(DenialKind::Cancelled, "the user said so");
            session.give_up(why).await.expect("it is recorded");
            false
        }
        Err(Halt::Denied(denial)) => panic!("{denial}"),
    }
}

/// Has a command held, approved and run.
async fn approve(stage: &Stage, session: &mut GatedSession, command: Command) {
    let id = hold(session, command.clone()).await;
    // Somebody of both groups, so that each requirement is met.
    stage.answer(id, "gina", true, "").await.expect("gina is asked");
    run(session, command).await;
}

#[tokio::test]
async fn an_approval_is_remembered_for_the_shortest_of_the_times_that_are_asked_for() {
    let cases: [(usize, &[u32], Duration); 4] = [
        (REMEMBERED, &[1], Duration::from_secs(1)),
        (BOTH_REMEMBERED, &[3600, 1], Duration::from_secs(1)),
        (BOTH_REMEMBERED, &[1, 3600], Duration::from_secs(1)),
        (BOTH_REMEMBERED, &[3600, 3600], Duration::from_secs(3600)),
    ];
    let watched = cases.map(|(asks, seconds, time)| {
        tokio::spawn(async move {
            let stage = remembering(asks, seconds);
            let mut session = stage.open("alice", ORDERS).await;
            let asked = Instant::now();
            approve(&stage, &mut session, command(1, false)).await;
            let covered = is_covered(&mut session, command(1, false)).await;
            assert!(covered || asked.elapsed() >= time, "{seconds:?} is forgotten too soon");
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let covered = is_covered(&mut session, command(1, false)).await;
            assert_eq!(covered, time > Duration::from_secs(2), "{seconds:?} is remembered for other than {time:?}");
        })
    });
    for case in watched {
        case.await.expect("no panic");
    }
}

#[tokio::test]
async fn where_one_policy_does_not_offer_it_nothing_is_remembered() {
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(BOTH_REMEMBERED);
    stage
        .adjust(|requirement| requirement.remember = requirement.remember.filter(|_| requirement.policy == "policy-0"));
    let mut session = stage.open("alice", ORDERS).await;
    approve(&stage, &mut session, command(1, false)).await;
    assert!(!is_covered(&mut session, command(1, false)).await);
}

#[tokio::test]
async fn only_so_many_approvals_are_remembered() {
    let stage = remembering(REMEMBERED, &[3600]);
    let mut session = stage.open("alice", ORDERS).await;
    let numbered = |n: u32| Command { text: format!("DELETE FROM t WHERE id = {n}").into(), ..command(1, false) };
    for n in 0..=MAX_REMEMBERED {
        approve(&stage, &mut session, numbered(n)).await;
    }
    assert!(is_covered(&mut session, numbered(MAX_REMEMBERED - 1)).await, "as many as that are");
    assert!(!is_covered(&mut session, numbered(MAX_REMEMBERED)).await, "one more asks again");
    assert!(is_covered(&mut session, numbered(0)).await, "and those before are not pushed out");
}

#[tokio::test]
async fn no_request_stands_for_longer_than_the_most() {
    let most = Duration::from_millis(200);
    for expires in [most, Duration::from_secs(3600)] {
        for asked in [None, Some(3600)] {
            let stage = Stage::new(ApprovalLimits { expires, max_expires: most, ..ApprovalLimits::default() });
            stage.govern(1);
            stage.adjust(|requirement| requirement.expires_in = asked);
            let mut session = stage.open("alice", ORDERS).await;
            let id = hold(&mut session, command(1, false)).await;
            let approval = stage.approvals.find(id).expect("it is waited for");
            assert_eq!(approval.expires_at - approval.requested_at, 200, "{expires:?} {asked:?}");
            over(&mut session).await;
            assert_eq!(refused(session.decide(command(1, false)).await).0, DenialKind::Approval);
        }
    }
}

/// Also where nothing is asked of anybody.
#[tokio::test]
async fn a_decision_that_cannot_be_recorded_permits_nothing() {
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(0);
    let mut session = stage.open("alice", ORDERS).await;
    stage.ledger.break_down(true);
    let (kind, reason) = refused(session.decide(command(1, false)).await);
    assert_eq!((kind, reason.as_str()), (DenialKind::Record, "the record cannot be written: the disk is full"));
    assert_eq!(stage.ledger.entries().len(), 1, "only the opening is recorded");
    stage.ledger.break_down(false);
    run(&mut session, command(1, false)).await;
}

/// The client's own mind is no verdict.
#[tokio::test]
async fn who_gives_up_was_not_denied() {
    let summary = |stage: &Stage, session: &GatedSession| {
        let mut summary = SessionSummary::new(session.session().id, 0);
        stage.ledger.entries().iter().for_each(|entry| summary.note(entry));
        [SessionVerdict::Held, SessionVerdict::Denied].map(|verdict| summary.has(verdict))
    };
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(1);
    let mut session = stage.open("alice", ORDERS).await;
    hold(&mut session, command(1, false)).await;
    session.end_hold(Denial::of(DenialKind::Cancelled, "the user said so"));
    assert_eq!(refused(session.decide(command(1, false)).await).0, DenialKind::Cancelled);
    assert_eq!(summary(&stage, &session), [true, false]);
    let id = hold(&mut session, command(2, false)).await;
    stage.answer(id, "dave", false, "").await.expect("dave is asked");
    assert_eq!(refused(session.decide(command(2, false)).await).0, DenialKind::Approval);
    assert_eq!(summary(&stage, &session), [true, true]);
}
