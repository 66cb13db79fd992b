//! Approvers, the requester and the clock at the same moment, on real threads.

use std::sync::Arc;

use sluicegate_core::{
    ApprovalId, ApprovalState, Denial, DenialKind, GatedSession, Halt, ResultSummary,
    approvals::{AnswerError, ApprovalLimits},
    record::Event,
};
use tokio::sync::Barrier;

use crate::{
    invariants,
    stage::{Answered, ORDERS, Stage, command, over},
};

/// How often each race is run.
const ROUNDS: usize = 300;

async fn stage(asks: usize) -> Arc<Stage> {
    let stage = Stage::new(ApprovalLimits::default());
    stage.govern(asks);
    Arc::new(stage)
}

async fn held(stage: &Stage) -> (GatedSession, ApprovalId) {
    let mut session = stage.open("alice", ORDERS).await;
    assert!(matches!(session.decide(command(1, false)).await, Err(Halt::Suspended)));
    let id = session.hold(false).await.expect("an approval is asked for").id;
    (session, id)
}

/// All of them answer at once.
async fn race<const N: usize>(stage: &Arc<Stage>, id: ApprovalId, answers: [(&'static str, bool); N]) -> [Answered; N] {
    let start = Arc::new(Barrier::new(N));
    let running = answers.map(|(who, yes)| {
        let (stage, start) = (Arc::clone(stage), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            stage.answer(id, who, yes, "").await
        })
    });
    let mut done = Vec::new();
    for answer in running {
        done.push(answer.await.expect("no panic"));
    }
    done.try_into().unwrap_or_else(|_| panic!("as many as there were"))
}

/// Hands the command in until it is over; says whether it ran.
async fn settle(session: &mut GatedSession) -> bool {
    over(session).await;
    let ran = match session.decide(command(1, false)).await {
        Ok(permit) => {
            permit.redeem().finish(ResultSummary::default()).await.expect("it is recorded");
            true
        }
        Err(Halt::Denied(_)) => false,
        Err(Halt::Suspended) => panic!("its wait is over"),
    };
    session.close("goodbye").await;
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_approvers_where_one_is_enough_only_one_counts() {
    let stage = stage(1).await;
    for _ in 0..ROUNDS {
        let (mut session, id) = held(&stage).await;
        let answers = race(&stage, id, [("dave", true), ("erin", true)]).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert!(answers.iter().any(|answer| matches!(answer, Err(AnswerError::NotPending(_)))));
        assert!(settle(&mut session).await);
    }
    invariants::check(&stage.ledger.entries());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_approvers_where_both_are_needed_approve_once() {
    let stage = stage(2).await;
    for _ in 0..ROUNDS {
        let (mut session, id) = held(&stage).await;
        let states = race(&stage, id, [("dave", true), ("erin", true)]).await.map(|answer| answer.unwrap().state);
        assert!(states.contains(&ApprovalState::Pending) && states.contains(&ApprovalState::Approved), "{states:?}");
        assert!(settle(&mut session).await);
    }
    invariants::check(&stage.ledger.entries());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_approver_on_two_connections_is_still_one() {
    let stage = stage(2).await;
    for _ in 0..ROUNDS {
        let (mut session, id) = held(&stage).await;
        let answers = race(&stage, id, [("dave", true), ("dave", true), ("alice", true)]).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert!(matches!(answers[2], Err(AnswerError::Requester)));
        session.end_hold(Denial::of(DenialKind::Cancelled, "the client is gone"));
        assert!(!settle(&mut session).await);
    }
    invariants::check(&stage.ledger.entries());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_an_approval_and_a_denial_the_first_counts() {
    let stage = stage(1).await;
    for _ in 0..ROUNDS {
        let (mut session, id) = held(&stage).await;
        let [yes, no] = race(&stage, id, [("dave", true), ("erin", false)]).await;
        assert_ne!(yes.is_ok(), no.is_ok());
        assert_eq!(settle(&mut session).await, yes.is_ok());
    }
    invariants::check(&stage.ledger.entries());
}

/// The client gives up, its session ends or vanishes, while somebody approves.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_gives_up_while_somebody_approves_has_not_run_anything() {
    let stage = stage(6).await;
    let mut vanished = Vec::new();
    for round in 0..ROUNDS {
        let (mut session, id) = held(&stage).await;
        let answering = tokio::spawn({
            let stage = Arc::clone(&stage);
            async move { stage.answer(id, "dave", true, "").await }
        });
        match round % 3 {
            0 => {
                session.end_hold(Denial::of(DenialKind::Cancelled, "the user said so"));
                assert!(!settle(&mut session).await);
            }
            1 => session.close("the client is gone").await,
            _ => {
                vanished.push(session.session().id);
                drop(session);
            }
        }
        let _ = answering.await.expect("no panic");
        assert!(stage.approvals.find(id).is_none());
        // What was never used covers nothing.
        let (mut session, _) = held(&stage).await;
        session.close("goodbye").await;
    }
    let mut entries = stage.ledger.entries();
    let ran = entries.iter().any(|entry| matches!(&entry.event, Event::Outcome(o) if o.forwarded_at.is_some()));
    assert!(!ran);
    entries.retain(|entry| !vanished.contains(&entry.session));
    invariants::check(&entries);
}
