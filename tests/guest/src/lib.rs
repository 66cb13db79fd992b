//! A policy whose behaviour tests write into its module, so that one build is many policies: `allow`,
//! `block`, `mask COLUMN`, `spare COLUMN`, `suspend` with words of what it asks for, `refuse` its settings,
//! `trap`, `loop` for ever, `eat memory`, `recurse`, answer `at length` or with `2 GB` that are not there, or
//! `edit outside` of the rows that it was shown.

use std::{hint::black_box, time::Duration};

use sluicegate_policy::{
    Approval, Cell, Command, Events, Interests, Mask, NoSettings, Plan, Policy, ResultSet, ResultVerdict, Rows,
    RowsVerdict, Session, Verdict, host,
};

/// Where the behaviour stands. The tests look for exactly these bytes.
#[used]
static MARK: [u8; 32] = *b"behaviour=allow                 ";

/// Suspends sessions instead of commands.
const OPENING: &str = "suspend opening";

/// Answers with edits of rows that it was not shown.
const EDITING: &str = "edit outside";

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
        let opening = if behaviour() == OPENING { Events::SESSION_OPENED } else { Events::empty() };
        let interests = Interests::in_events(opening | Events::COMMAND | Events::RESULT);
        let hides = ["mask ", "spare ", EDITING].iter().any(|word| behaviour().starts_with(word));
        if hides { interests.masking() } else { interests }
    }

    fn on_session_opened(&mut self, _: &Session) -> Verdict {
        if behaviour() == OPENING { suspend("") } else { Verdict::Allow }
    }

    #[allow(clippy::panic, reason = "to trap is what a test asked for")]
    fn on_command(&mut self, _: &Session, _: &Command) -> Verdict {
        match behaviour() {
            OPENING => Verdict::Allow,
            text if text.starts_with("suspend") => suspend(text.trim_start_matches("suspend")),
            "block" => Verdict::block("the guest blocks everything"),
            "trap" => panic!("the guest traps"),
            "loop" => spin(),
            "eat memory" => eat(),
            "recurse" => Verdict::block(recurse(0).to_string()),
            "at length" => Verdict::block("x".repeat(4 << 20)),
            "2 GB" => Verdict::Block(forged()),
            _ => Verdict::Allow,
        }
    }

    fn on_result(&mut self, _: &Session, _: &Command, result: &ResultSet, plan: &Plan) -> ResultVerdict {
        if behaviour() == EDITING {
            plan.inspect(0);
            return ResultVerdict::Proceed;
        }
        let Some((what @ ("mask" | "spare"), name)) = behaviour().split_once(' ') else {
            return ResultVerdict::Proceed;
        };
        for (index, column) in (0..).zip(result.columns()) {
            if column.sources.iter().any(|source| source.column == name) {
                if what == "mask" { plan.mask(index, &Mask::Redact) } else { plan.spare(index) }
            }
        }
        ResultVerdict::Proceed
    }

    fn on_rows(&mut self, _: &Session, _: &ResultSet, rows: &Rows) -> RowsVerdict {
        RowsVerdict::Mask(vec![Cell { row: rows.row_count(), column: 0, mask: Mask::Redact }])
    }
}

/// The words say what is asked for, in any order: `group:dba` or anything else that is to stand for an
/// approver, `2` approvals, `note`, `5s` until it expires, `+5s` for which it is remembered.
fn suspend(words: &str) -> Verdict {
    host::cite("suspend");
    let seconds = |word: &str| word.strip_suffix('s')?.parse().ok().map(Duration::from_secs);
    let asked = words.split_whitespace().fold(Approval::new("the guest wants a person to look"), |asked, word| {
        if let Ok(count) = word.parse() {
            asked.at_least(count)
        } else if let Some(time) = word.strip_prefix('+').and_then(seconds) {
            asked.remembered_for(time)
        } else if let Some(time) = seconds(word) {
            asked.expiring_after(time)
        } else if word == "note" {
            asked.with_note()
        } else {
            asked.by([word])
        }
    });
    asked.into()
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

fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    if here[1] == u64::MAX {
        return depth;
    }
    here[0].wrapping_add(recurse(depth + 1)).wrapping_add(here[63])
}

/// A text that says of itself to be 2 GB long, most of which are beyond the module's memory.
#[allow(unsafe_code, reason = "a policy in another language could answer so, and the gateway must not believe it")]
fn forged() -> String {
    let start: &'static mut [u8] = vec![b'x'; 8].leak();
    let size = i32::MAX as usize;
    // SAFETY: there is none. Nothing reads the text in here; the host does, which knows where the memory ends.
    unsafe { String::from_raw_parts(start.as_mut_ptr(), size, size) }
}

sluicegate_policy::export!(Guest);
