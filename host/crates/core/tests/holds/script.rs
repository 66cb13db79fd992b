//! What happens to held commands, in the words of the state machine and its model: the operations and
//! their mix, the seats, and what is recorded and answered.

use proptest::{collection::vec, prelude::*};
use sluicegate_core::ApprovalState;

use crate::{
    cast::{ASKS, PEOPLE, REMEMBERED},
    stage,
};

/// One thing that somebody does.
#[derive(Debug, Clone)]
pub enum Op {
    /// Sends a command, or hands in the suspended one again; `twisted` means something else.
    Decide { seat: usize, number: u8, twisted: bool },
    /// Asks for the approval.
    Hold { seat: usize, in_transaction: bool },
    /// Cancels, times out or goes away.
    End { seat: usize },
    /// The gate itself refuses the command now.
    Refuse { seat: usize },
    /// The session ends, and another of the same person begins.
    Reopen { seat: usize },
    /// Somebody answers an approval, which may have ended long ago.
    Answer { which: usize, who: usize, yes: bool, note: bool },
    /// Other policies, or the same ones anew.
    Govern { asks: usize },
    /// The gateway is killed and starts again, and everybody connects anew.
    Restart,
}

/// The sessions: who, and where to.
pub const SEATS: [(&str, &str); 4] =
    [("alice", stage::ORDERS), ("alice", stage::BILLING), ("carol", stage::ORDERS), ("alice", stage::ORDERS)];

/// One recorded event, without what does not matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    Opened(usize),
    Governed(usize),
    Command { seat: usize, sequence: u64, denied: bool, covered: Option<usize> },
    Held { seat: usize, sequence: u64, approval: usize },
    Answered { approval: usize, who: String, yes: bool },
    Ended { approval: usize, state: ApprovalState },
    Outcome { seat: usize, sequence: u64, denied: bool, status: String },
    Closed { seat: usize, commands: u64 },
}

/// What a call answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Nothing,
    Ran,
    Refused,
    Suspended,
    Asked(usize),
    Counted(ApprovalState),
    NotCounted(&'static str),
}

/// A mix of operations: many that come as they like, and some that bring a command to its end.
pub fn mix() -> impl Strategy<Value = Vec<Op>> {
    let one = op().prop_map(|op| vec![op]);
    vec(prop_oneof![12 => one, 1 => story()], 1..60).prop_map(|parts| parts.concat())
}

fn op() -> impl Strategy<Value = Op> {
    let seat = 0..SEATS.len();
    prop_oneof![
        12 => (seat.clone(), 0..2u8, prop::bool::weighted(0.05))
            .prop_map(|(seat, number, twisted)| Op::Decide { seat, number, twisted }),
        8 => (seat.clone(), prop::bool::weighted(0.2))
            .prop_map(|(seat, in_transaction)| Op::Hold { seat, in_transaction }),
        2 => seat.clone().prop_map(|seat| Op::End { seat }),
        2 => seat.clone().prop_map(|seat| Op::Refuse { seat }),
        2 => seat.prop_map(|seat| Op::Reopen { seat }),
        16 => (0..6usize, 0..PEOPLE.len(), prop::bool::weighted(0.85), any::<bool>())
            .prop_map(|(which, who, yes, note)| Op::Answer { which, who, yes, note }),
        4 => (0..=ASKS.len()).prop_map(|asks| Op::Govern { asks }),
        2 => Just(Op::Restart),
    ]
}

/// A command that is held and answered by two people, and then handed in twice.
fn story() -> impl Strategy<Value = Vec<Op>> {
    let who = || 0..PEOPLE.len();
    let asks = prop_oneof![2 => 1..=ASKS.len(), 1 => Just(REMEMBERED)];
    let held = (0..SEATS.len(), 0..2u8, asks, prop::bool::weighted(0.8));
    (held, who(), who()).prop_map(|((seat, number, asks, yes), first, second)| {
        let decide = Op::Decide { seat, number, twisted: false };
        let answer = |who| Op::Answer { which: 0, who, yes, note: true };
        let hold = Op::Hold { seat, in_transaction: false };
        vec![Op::Govern { asks }, decide.clone(), hold, answer(first), answer(second), decide.clone(), decide]
    })
}
