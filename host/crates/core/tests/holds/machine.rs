//! Random mixes of everything that can happen to held commands, compared step by step with the model;
//! and once more, without the model, what must never be found in a record.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*};
use sluicegate_core::{
    ApprovalId, Denial, DenialKind, GatedSession, Halt, ResultSummary, SessionId,
    approvals::AnswerError,
    record::{Entry, Event},
};

use crate::{
    cast::{ASKS, PEOPLE},
    invariants,
    model::{Mark, Model, Op, Reply, SEATS},
    stage::{Stage, command, is_over, narrow, over},
};

fn op() -> impl Strategy<Value = Op> {
    let seat = 0..SEATS.len();
    prop_oneof![
        6 => (seat.clone(), 0..2u8, prop::bool::weighted(0.05))
            .prop_map(|(seat, number, twisted)| Op::Decide { seat, number, twisted }),
        4 => (seat.clone(), prop::bool::weighted(0.2))
            .prop_map(|(seat, in_transaction)| Op::Hold { seat, in_transaction }),
        1 => seat.clone().prop_map(|seat| Op::End { seat }),
        1 => seat.clone().prop_map(|seat| Op::Refuse { seat }),
        1 => seat.prop_map(|seat| Op::Reopen { seat }),
        8 => (0..6usize, 0..PEOPLE.len(), prop::bool::weighted(0.85), any::<bool>())
            .prop_map(|(which, who, yes, note)| Op::Answer { which, who, yes, note }),
        2 => (0..=ASKS.len()).prop_map(|asks| Op::Govern { asks }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn held_commands_do_what_the_model_says(first in 1..ASKS.len(), ops in vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut machine = Machine::new().await;
            machine.step(&Op::Govern { asks: first }).await;
            for op in &ops {
                machine.step(op).await;
            }
            machine.leave().await;
        });
    }
}

struct Machine {
    model: Model,
    stage: Stage,
    seats: Vec<GatedSession>,
    /// Whose seat a session is, also after it has ended.
    sessions: HashMap<SessionId, usize>,
    /// The approvals in the order in which they were asked for.
    approvals: Vec<ApprovalId>,
}

impl Machine {
    async fn new() -> Self {
        let stage = Stage::new(narrow());
        let mut machine =
            Self { model: Model::new(), stage, seats: Vec::new(), sessions: HashMap::new(), approvals: Vec::new() };
        for (seat, (user, target)) in SEATS.iter().enumerate() {
            let session = machine.stage.open(user, target).await;
            machine.sessions.insert(session.session().id, seat);
            machine.seats.push(session);
        }
        machine
    }

    /// Does one thing to both, and compares what they say, what they record and what they wait for.
    async fn step(&mut self, op: &Op) {
        // Approvals are named from the newest backwards, so that answers find something to answer.
        let op = match op.clone() {
            Op::Answer { which, who, yes, note } => {
                Op::Answer { which: self.approvals.len().saturating_sub(1 + which), who, yes, note }
            }
            op => op,
        };
        let done = self.perform(&op).await;
        assert_eq!(done, self.model.apply(&op), "what {op:?} answers");
        let record = self.stage.ledger.entries();
        assert!(!self.stage.ledger.owes_the_disk(), "{op:?} left something that is not on disk");
        let marks: Vec<Mark> = record.iter().map(|entry| self.mark(entry)).collect();
        assert_eq!(marks, self.model.record, "what is recorded after {op:?}");
        let pending = self.stage.approvals.pending();
        let live: Vec<_> = pending.iter().map(|a| (self.number(a.id), a.state, a.answers.len())).collect();
        assert_eq!(live, self.model.live(), "what is waited for after {op:?}");
        for (seat, session) in self.seats.iter_mut().enumerate() {
            if self.model.is_over(seat) {
                over(session).await;
            } else {
                assert!(!is_over(session), "seat {seat} does not wait any more after {op:?}");
            }
        }
    }

    async fn perform(&mut self, op: &Op) -> Reply {
        match *op {
            Op::Decide { seat, number, twisted } => {
                let (number, twisted) = self.model.key(seat, number, twisted);
                match self.seats[seat].decide(command(number, twisted)).await {
                    Ok(permit) => {
                        let summary = ResultSummary { status: "RAN".to_owned(), ..ResultSummary::default() };
                        permit.redeem().finish(summary).await.unwrap();
                        Reply::Ran
                    }
                    Err(Halt::Suspended) => Reply::Suspended,
                    Err(Halt::Denied(_)) => Reply::Refused,
                }
            }
            Op::Hold { seat, in_transaction } => match self.seats[seat].hold(in_transaction).await {
                None => Reply::Nothing,
                Some(approval) => {
                    assert_eq!(self.stage.approvals.find(approval.id).as_ref(), Some(&approval));
                    assert_eq!(approval.in_transaction, in_transaction);
                    self.approvals.push(approval.id);
                    Reply::Asked(self.approvals.len() - 1)
                }
            },
            Op::End { seat } => {
                self.seats[seat].end_hold(Denial::of(DenialKind::Cancelled, "the user said so"));
                Reply::Nothing
            }
            Op::Refuse { seat } => {
                let denial = Denial::gate("the session must end");
                assert_eq!(self.seats[seat].refuse(command(0, false), denial.clone()).await, denial);
                Reply::Refused
            }
            Op::Reopen { seat } => {
                self.seats[seat].close("goodbye").await;
                self.seats[seat].close("goodbye again").await;
                let (user, target) = SEATS[seat];
                self.seats[seat] = self.stage.open(user, target).await;
                self.sessions.insert(self.seats[seat].session().id, seat);
                Reply::Nothing
            }
            Op::Answer { which, who, yes, note } => {
                let id = self.approvals.get(which).copied().unwrap_or(ApprovalId(uuid::Uuid::nil()));
                let note = if note { "seen" } else { " " };
                match self.stage.answer(id, PEOPLE[who].0, yes, note).await {
                    Ok(approval) => Reply::Counted(approval.state),
                    Err(error) => Reply::NotCounted(word(&error)),
                }
            }
            Op::Govern { asks } => {
                self.stage.govern(asks);
                Reply::Nothing
            }
        }
    }

    /// Everybody leaves; places and approvals are free again.
    async fn leave(mut self) {
        for seat in 0..SEATS.len() {
            self.step(&Op::Reopen { seat }).await;
        }
        invariants::check(&self.stage.ledger.entries());
        assert_eq!(self.stage.approvals.pending(), []);
        self.step(&Op::Govern { asks: 1 }).await;
        for (seat, number) in [(0, 7), (2, 8), (3, 9)] {
            self.step(&Op::Decide { seat, number, twisted: false }).await;
            let asked = self.approvals.len();
            self.step(&Op::Hold { seat, in_transaction: false }).await;
            assert_eq!(self.approvals.len(), asked + 1, "seat {seat} finds no place");
        }
    }

    fn number(&self, id: ApprovalId) -> usize {
        self.approvals.iter().position(|known| *known == id).expect("an approval that the client was told of")
    }

    fn mark(&self, entry: &Entry) -> Mark {
        let seat = self.sessions[&entry.session];
        match &entry.event {
            Event::Opened(_) => Mark::Opened(seat),
            Event::Governed(_) => Mark::Governed(seat),
            Event::Command(command) => Mark::Command {
                seat,
                sequence: command.sequence,
                denied: command.denial.is_some(),
                covered: command.approval.map(|id| self.number(id)),
            },
            Event::Held(held) => Mark::Held { seat, sequence: held.sequence, approval: self.number(held.id) },
            Event::Answered(answered) => Mark::Answered {
                approval: self.number(answered.approval),
                who: answered.answer.approver.clone(),
                yes: answered.answer.approved,
            },
            Event::HoldEnded(ended) => Mark::Ended { approval: self.number(ended.approval), state: ended.state },
            Event::Outcome(outcome) => Mark::Outcome {
                seat,
                sequence: outcome.sequence,
                denied: outcome.denial.is_some(),
                status: outcome.status.clone(),
            },
            Event::Closed(closed) => Mark::Closed { seat, commands: closed.commands },
            Event::Refused(refused) => panic!("nobody is turned away: {refused:?}"),
        }
    }
}

fn word(error: &AnswerError) -> &'static str {
    match error {
        AnswerError::NotPending(_) => "not pending",
        AnswerError::Requester => "the requester",
        AnswerError::NotAsked(_) => "not asked",
        AnswerError::Already => "already",
        AnswerError::NoteRequired => "no note",
        AnswerError::NoteText => "the note is no text",
        AnswerError::NoteTooLong => "the note is too long",
        AnswerError::Record(_) => "not recorded",
    }
}
