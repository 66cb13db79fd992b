//! A policy whose behaviour tests write into its module, so that one build is many policies: `allow`,
//! `block`, `mask COLUMN`, `refuse` its settings, `trap`, `loop` for ever, `eat memory`.

use std::hint::black_box;

use sluicegate_policy::{
    Command, Events, Interests, Mask, NoSettings, Plan, Policy, ResultSet, ResultVerdict, Session, Verdict,
};

/// Where the behaviour stands. The tests look for exactly these bytes.
#[used]
static MARK: [u8; 32] = *b"behaviour=allow                 ";

/// The policy.
#[derive(Debug)]
pub struct Guest;

/// What stands behind `behaviour=`; read at run time, since the module may have been changed since
/// it was built.
fn behaviour() -> &'static str {
    let mark: &'static [u8] = black_box(&MARK);
    let text = std::str::from_utf8(mark).unwrap_or_default();
    text.split_once('=').map_or("", |(_, behaviour)| behaviour.trim_end())
}

impl Policy for Guest {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Settings = NoSettings;

    fn configure(_: NoSettings) -> Result<Self, String> {
        if behaviour() == "refuse" { Err("the guest refuses its settings".to_owned()) } else { Ok(Self) }
    }

    fn interests(&self) -> Interests {
        let interests = Interests::in_events(Events::COMMAND | Events::RESULT);
        if behaviour().starts_with("mask ") { interests.masking() } else { interests }
    }

    #[allow(clippy::panic, reason = "to trap is what a test asked for")]
    fn on_command(&mut self, _: &Session, _: &Command) -> Verdict {
        match behaviour() {
            "block" => Verdict::block("the guest blocks everything"),
            "trap" => panic!("the guest traps"),
            "loop" => spin(),
            "eat memory" => eat(),
            _ => Verdict::Allow,
        }
    }

    fn on_result(&mut self, _: &Session, _: &Command, result: &ResultSet, plan: &Plan) -> ResultVerdict {
        let Some(name) = behaviour().strip_prefix("mask ") else { return ResultVerdict::Proceed };
        for (index, column) in (0..).zip(result.columns()) {
            if column.sources.iter().any(|source| source.column == name) {
                plan.mask(index, &Mask::Redact);
            }
        }
        ResultVerdict::Proceed
    }
}

fn spin() -> Verdict {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn eat() -> Verdict {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(black_box(vec![1; 1 << 20]));
    }
}

sluicegate_policy::export!(Guest);
