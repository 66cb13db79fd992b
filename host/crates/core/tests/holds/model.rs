//! What ought to happen, in as few words as possible: the model that the state machine compares the
//! gate with. Approvals are numbered in the order in which they were asked for.

use std::collections::HashMap;

use sluicegate_core::ApprovalState::{self, Abandoned, Approved, Denied, Expired, Pending, Superseded};

use crate::{
    cast::{self, ASKS, Ask, BLOCK},
    script::{Mark, Op, Reply, SEATS},
    stage,
};

type Key = (u8, bool);

#[derive(Default, Clone)]
struct Seat {
    sequence: u64,
    seen: u64,
    waits: Option<Waits>,
}

#[derive(Clone)]
struct Waits {
    key: Key,
    sequence: u64,
    asks: usize,
    hold: Option<usize>,
    refused: bool,
}

struct Approval {
    seat: usize,
    asks: usize,
    state: ApprovalState,
    live: bool,
    answers: Vec<String>,
    votes: Vec<u32>,
}

/// The state that the gate ought to have.
#[derive(Default)]
pub struct Model {
    asks: usize,
    generation: u64,
    seats: [Seat; SEATS.len()],
    approvals: Vec<Approval>,
    remembered: HashMap<(&'static str, &'static str, Key), (usize, usize)>,
    /// Everything that ought to be recorded.
    pub record: Vec<Mark>,
}

impl Model {
    /// Every seat is taken.
    pub fn new() -> Self {
        let record = (0..SEATS.len()).map(Mark::Opened).collect();
        Self { record, ..Self::default() }
    }

    /// The command to hand in at this seat: the suspended one where there is one.
    pub fn key(&self, seat: usize, number: u8, twisted: bool) -> Key {
        self.seats[seat].waits.as_ref().map_or((number, twisted), |waits| (waits.key.0, waits.key.1 != twisted))
    }

    /// Whether the wait at this seat is over.
    pub fn is_over(&self, seat: usize) -> bool {
        let Some(waits) = &self.seats[seat].waits else { return false };
        waits.refused || waits.hold.is_some() && self.stands(waits) != Pending
    }

    /// The approvals that somebody waits for, with how many answered them.
    pub fn live(&self) -> Vec<(usize, ApprovalState, usize)> {
        let all = self.approvals.iter().enumerate().filter(|(_, approval)| approval.live);
        all.map(|(number, approval)| (number, approval.state, approval.answers.len())).collect()
    }

    /// Whether an approval may cover later commands.
    pub fn remembers(&self) -> bool {
        !self.remembered.is_empty()
    }

    /// What an operation answers; what it records is added to the record.
    pub fn apply(&mut self, op: &Op) -> Reply {
        match *op {
            Op::Decide { seat, number, twisted } => self.decide(seat, self.key(seat, number, twisted)),
            Op::Hold { seat, .. } => self.hold(seat),
            Op::End { seat } => {
                if let Some(waits) = &mut self.seats[seat].waits {
                    waits.refused = true;
                }
                Reply::Nothing
            }
            Op::Refuse { seat } => {
                if let Some(waits) = self.seats[seat].waits.take() {
                    self.end(seat, &waits, Superseded);
                }
                self.command(seat, true, None);
                Reply::Refused
            }
            Op::Reopen { seat } => {
                if let Some(waits) = self.seats[seat].waits.take() {
                    self.end(seat, &waits, Abandoned);
                }
                self.record.push(Mark::Closed { seat, commands: self.seats[seat].sequence });
                self.seats[seat] = Seat { seen: self.generation, ..Seat::default() };
                self.record.push(Mark::Opened(seat));
                Reply::Nothing
            }
            Op::Answer { which, who, yes, note } => self.answer(which, cast::PEOPLE[who].0, yes, note),
            Op::Govern { asks } => {
                (self.asks, self.generation) = (asks, self.generation + 1);
                Reply::Nothing
            }
            Op::Restart => {
                // What was waited for and what was remembered is gone; the record stays.
                self.remembered.clear();
                self.approvals.iter_mut().for_each(|approval| approval.live = false);
                for seat in 0..SEATS.len() {
                    self.seats[seat] = Seat { seen: self.generation, ..Seat::default() };
                    self.record.push(Mark::Opened(seat));
                }
                Reply::Nothing
            }
        }
    }

    fn decide(&mut self, seat: usize, key: Key) -> Reply {
        let Some(waits) = self.seats[seat].waits.take() else {
            self.govern(seat);
            return self.decided(seat, key);
        };
        let stands = self.stands(&waits);
        if waits.refused || matches!(stands, Denied | Expired) {
            self.end(seat, &waits, if waits.refused { Abandoned } else { stands });
            return Reply::Refused;
        }
        let outdated = self.seats[seat].seen != self.generation;
        self.govern(seat);
        if key != waits.key || outdated && self.asks != waits.asks {
            self.end(seat, &waits, Superseded);
            return self.decided(seat, key);
        }
        if stands != Approved {
            self.seats[seat].waits = Some(waits);
            return Reply::Suspended;
        }
        let number = waits.hold.expect("what is approved was asked for");
        self.approvals[number].live = false;
        self.record.push(Mark::Ended { approval: number, state: Approved });
        if asks(waits.asks).iter().all(|ask| ask.remember) {
            let (user, target) = SEATS[seat];
            self.remembered.insert((user, target, key), (number, waits.asks));
        }
        self.ran(seat, waits.sequence)
    }

    /// A command that nothing is known about yet.
    fn decided(&mut self, seat: usize, key: Key) -> Reply {
        if self.asks == BLOCK {
            self.command(seat, true, None);
            return Reply::Refused;
        }
        let (user, target) = SEATS[seat];
        let covered = self.remembered.get(&(user, target, key)).filter(|(_, asks)| *asks == self.asks);
        let covered = covered.map(|(number, _)| *number);
        let sequence = self.command(seat, false, covered);
        if asks(self.asks).is_empty() || covered.is_some() {
            return self.ran(seat, sequence);
        }
        self.seats[seat].waits = Some(Waits { key, sequence, asks: self.asks, hold: None, refused: false });
        Reply::Suspended
    }

    fn hold(&mut self, seat: usize) -> Reply {
        let number = self.approvals.len();
        let pending = |user: Option<&str>| {
            let ours = |approval: &&Approval| approval.live && user.is_none_or(|user| SEATS[approval.seat].0 == user);
            self.approvals.iter().filter(ours).count()
        };
        let (user, _) = SEATS[seat];
        let limits = stage::narrow();
        let full = pending(None) >= limits.max_pending || pending(Some(user)) >= limits.max_pending_per_identity;
        let Some(waits) = &mut self.seats[seat].waits else { return Reply::Nothing };
        if waits.hold.is_some() || waits.refused {
            return Reply::Nothing;
        }
        if full {
            waits.refused = true;
            return Reply::Nothing;
        }
        waits.hold = Some(number);
        let (sequence, asked) = (waits.sequence, waits.asks);
        let votes = vec![0; asks(asked).len()];
        self.approvals.push(Approval { seat, asks: asked, state: Pending, live: true, answers: Vec::new(), votes });
        self.record.push(Mark::Held { seat, sequence, approval: number });
        Reply::Asked(number)
    }

    fn answer(&mut self, which: usize, who: &str, yes: bool, note: bool) -> Reply {
        let Some(approval) = self.approvals.get_mut(which) else { return Reply::NotCounted("not pending") };
        let asks = asks(approval.asks);
        let may = |ask: &Ask| cast::person(who).groups.contains(&ask.group.unwrap_or("admin").to_owned());
        let why = match approval {
            Approval { live: false, .. } => "not pending",
            _ if approval.state != Pending || asks.iter().any(|ask| ask.hasty) => "not pending",
            _ if SEATS[approval.seat].0 == who => "the requester",
            _ if !asks.iter().any(may) => "not asked",
            _ if approval.answers.iter().any(|known| known == who) => "already",
            _ if !note && asks.iter().any(|ask| may(ask) && ask.note) => "no note",
            _ => "",
        };
        if !why.is_empty() {
            return Reply::NotCounted(why);
        }
        approval.answers.push(who.to_owned());
        for (votes, ask) in approval.votes.iter_mut().zip(asks) {
            *votes += u32::from(yes && may(ask));
        }
        if !yes {
            approval.state = Denied;
        } else if approval.votes.iter().zip(asks).all(|(votes, ask)| *votes >= ask.count) {
            approval.state = Approved;
        }
        self.record.push(Mark::Answered { approval: which, who: who.to_owned(), yes });
        Reply::Counted(self.approvals[which].state)
    }

    fn stands(&self, waits: &Waits) -> ApprovalState {
        let state = waits.hold.map_or(Pending, |number| self.approvals[number].state);
        let late = waits.hold.is_some() && asks(waits.asks).iter().any(|ask| ask.hasty);
        if state == Pending && late { Expired } else { state }
    }

    /// Ends a wait without a run. What was denied stays denied; what was approved was not used.
    fn end(&mut self, seat: usize, waits: &Waits, state: ApprovalState) {
        if let Some(number) = waits.hold {
            let approval = &mut self.approvals[number];
            approval.live = false;
            let state = if approval.state == Denied { Denied } else { state };
            self.record.push(Mark::Ended { approval: number, state });
        }
        let status = state.word().to_owned();
        self.record.push(Mark::Outcome { seat, sequence: waits.sequence, denied: true, status });
    }

    fn govern(&mut self, seat: usize) {
        if self.seats[seat].seen != self.generation {
            self.seats[seat].seen = self.generation;
            self.record.push(Mark::Governed(seat));
        }
    }

    fn command(&mut self, seat: usize, denied: bool, covered: Option<usize>) -> u64 {
        self.seats[seat].sequence += 1;
        let sequence = self.seats[seat].sequence;
        self.record.push(Mark::Command { seat, sequence, denied, covered });
        sequence
    }

    fn ran(&mut self, seat: usize, sequence: u64) -> Reply {
        self.record.push(Mark::Outcome { seat, sequence, denied: false, status: "RAN".to_owned() });
        Reply::Ran
    }
}

fn asks(index: usize) -> &'static [Ask] {
    ASKS.get(index).copied().unwrap_or_default()
}
