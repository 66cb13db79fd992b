//! Commands that wait for people: approved, denied, cancelled, timed out, and given up by clients that
//! vanish.

use sluicegate_tests::wire::{Message, Wire, zero_ended};

use crate::stage::Stage;

/// What is held; no row has that number.
const DELETE: &str = "DELETE FROM orders WHERE id = -1";

/// Waits to its end. Policies are replaced while it waits, so it may be asked for again.
pub fn held(stage: &Stage<'_>, number: u64) {
    let mut wire = Wire::try_login(&stage.alice).expect("alice may");
    let (answer, expected) = match number % 3 {
        0 => (Some(true), None),
        1 => (Some(false), Some("42501")),
        _ => (None, Some("57014")),
    };
    if answer.is_none() {
        wire.query("SET statement_timeout = '500ms'");
    }
    wire.send('Q', &zero_ended(DELETE));
    let mut error = None;
    loop {
        let message = wire.read().expect("an answer");
        match message.tag {
            'N' => {
                if let (Some(approve), Some(id)) = (answer, waiting(&message)) {
                    // Where it was superseded meanwhile, another notice follows.
                    stage.dave.answer(&id, approve, "soaked");
                }
            }
            'E' => error = message.field('C'),
            'Z' => break,
            _ => {}
        }
    }
    assert_eq!(error.as_deref(), expected);
}

/// Vanishes while it waits.
pub fn abandoned(stage: &Stage<'_>, _: u64) {
    let mut wire = Wire::try_login(&stage.dora).expect("dora may");
    wire.send('Q', &zero_ended(DELETE));
    while waiting(&wire.read_until("N").pop().expect("a notice")).is_none() {}
}

/// The approval that a notice says is waited for.
fn waiting(notice: &Message) -> Option<String> {
    let text = notice.field('M').filter(|text| text.contains("waiting for approval"))?;
    // One that stands for another names that first.
    let id = text.split_whitespace().rfind(|word| word.len() >= 36 && word.matches('-').count() == 4)?;
    Some(id.trim_end_matches([':', ',', '.']).to_owned())
}
