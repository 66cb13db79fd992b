//! Random mixes of everything that can happen to held commands, compared step by step with the model;
//! and once more, without the model, what must never be found in a record.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
};

use proptest::test_runner::{Config, TestRunner};
use sluicegate_core::{
    ApprovalId, ApprovalState, Denial, DenialKind, GatedSession, Halt, ResultSummary, SessionId,
    approvals::AnswerError,
    record::{Entry, Event},
};

use crate::{
    cast::{ASKS, PEOPLE},
    invariants,
    model::Model,
    script::{self, Mark, Op, Reply, SEATS},
    stage::{Stage, command, is_over, narrow, over},
};

/// How many mixes are tried.
const CASES: u32 = 1000;

#[test]
fn held_commands_do_what_the_model_says() {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let seen = Cell::new(Tally::default());
    let mixes = (1..ASKS.len(), script::mix());
    let tried = TestRunner::new(config).run(&mixes, |(first, ops)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut machine = Machine::new().await;
            machine.step(&Op::Govern { asks: first }).await;
            for op in &ops {
                machine.step(op).await;
            }
            seen.set(seen.get().and(machine.tally()));
            machine.leave().await;
        });
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    seen.get().is_enough();
}

/// How often it came to what these tests are about.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    approved: u32,
    denied: u32,
    expired: u32,
    covered: u32,
    /// Restarts while somebody waited,
    cut_off: u32,
    /// and while something was remembered.
    forgotten: u32,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            approved: self.approved + other.approved,
            denied: self.denied + other.denied,
            expired: self.expired + other.expired,
            covered: self.covered + other.covered,
            cut_off: self.cut_off + other.cut_off,
            forgotten: self.forgotten + other.forgotten,
        }
    }

    fn is_enough(self) {
        let Self { approved, denied, expired, covered, cut_off, forgotten } = self;
        let rarest = [approved, denied, expired, covered, cut_off, forgotten].into_iter().min().unwrap_or(0);
        assert!(rarest >= CASES / 10, "too little of something is tried: {self:?}");
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
    /// The sessions that a restart cut off.
    cut_off: HashSet<SessionId>,
    restarts: Tally,
}

impl Machine {
    async fn new() -> Self {
        let mut machine = Self {
            model: Model::new(),
            stage: Stage::new(narrow()),
            seats: Vec::new(),
            sessions: HashMap::new(),
            approvals: Vec::new(),
            cut_off: HashSet::new(),
            restarts: Tally::default(),
        };
        machine.take_seats().await;
        machine
    }

    async fn take_seats(&mut self) {
        for (seat, (user, target)) in SEATS.iter().enumerate() {
            let session = self.stage.open(user, target).await;
            self.sessions.insert(session.session().id, seat);
            self.seats.push(session);
        }
    }

    /// What came of it so far.
    fn tally(&self) -> Tally {
        let ended = |state| self.count(|mark| matches!(mark, Mark::Ended { state: ended, .. } if *ended == state));
        Tally {
            approved: ended(ApprovalState::Approved),
            denied: ended(ApprovalState::Denied),
            expired: ended(ApprovalState::Expired),
            covered: self.count(|mark| matches!(mark, Mark::Command { covered: Some(_), .. })),
            ..self.restarts
        }
    }

    /// The model's record is the gate's.
    fn count(&self, is: impl Fn(&Mark) -> bool) -> u32 {
        self.model.record.iter().map(|mark| u32::from(is(mark))).sum()
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
            Op::Restart => {
                self.restarts.cut_off += u32::from(!self.stage.approvals.pending().is_empty());
                self.restarts.forgotten += u32::from(self.model.remembers());
                self.cut_off.extend(self.seats.drain(..).map(|session| session.session().id));
                self.stage.restart();
                self.take_seats().await;
                Reply::Nothing
            }
        }
    }

    /// Everybody leaves; places and approvals are free again.
    async fn leave(mut self) {
        for seat in 0..SEATS.len() {
            self.step(&Op::Reopen { seat }).await;
        }
        invariants::check_after_crashes(&self.stage.ledger.entries(), &self.cut_off);
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
        AnswerError::Agent => "an agent",
        AnswerError::NotAsked(_) => "not asked",
        AnswerError::Already => "already",
        AnswerError::NoteRequired => "no note",
        AnswerError::NoteText => "the note is no text",
        AnswerError::NoteTooLong => "the note is too long",
        AnswerError::Record(_) => "not recorded",
    }
}
