//! Errors and notices of servers whose results are masked.

use sluicegate_postgres::codec::text::{WITHHELD, WITHHELD_DETAIL, scrub};

use crate::input::Input;

/// Digits that stand for a value of the target's: they are in no template, no code and no word.
const SECRET: &[u8] = b"7731";

/// The types of fields that the server's own places and names are in.
const NAMES: &[u8] = b"stcdn";

/// Whatever a server says, no value passes unless the client said it, or the server read it in the
/// client's text or reports it as a name; and the other fields are what they may be.
pub fn notices(data: &[u8]) {
    let mut input = Input::new(data);
    let said = String::from_utf8_lossy(input.some(60)).into_owned();
    let mut fields: Vec<(u8, Vec<u8>)> = Vec::new();
    while !input.is_empty() && fields.len() < 32 {
        fields.push((input.byte(), with_secret(input.some(120))));
    }
    let borrowed: Vec<_> = fields.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
    let given = |kind: u8| fields.iter().filter(move |(k, _)| *k == kind).map(|(_, value)| value);
    for (kind, value) in scrub(&borrowed, &said) {
        let is_as_given = given(kind).any(|before| *before == value);
        match kind {
            b'S' | b'V' | b'F' | b'L' | b'R' => assert!(is_as_given),
            b'P' => assert!(is_as_given && value.iter().all(u8::is_ascii_digit)),
            b'C' => assert!((is_as_given && value.len() == 5) || value == b"P0001"),
            b'D' => assert_eq!(value, WITHHELD_DETAIL.as_bytes()),
            b'M' | b'H' => {
                let is_of_the_parser = given(b'P').next().is_some()
                    && given(b'W').next().is_none_or(Vec::is_empty)
                    && given(b'p').chain(given(b'q')).next().is_none();
                let is_known = NAMES.iter().any(|kind| given(*kind).any(|name| holds_secret(name)))
                    || holds_secret(said.as_bytes());
                assert!(!holds_secret(&value) || is_of_the_parser || is_known, "{:?}", String::from_utf8_lossy(&value));
                if given(b'R').next().is_none() {
                    assert_eq!((kind, value.as_slice()), (b'M', WITHHELD.as_bytes()), "nobody knows who said it");
                }
            }
            kind => assert!(NAMES.contains(&kind) && is_as_given),
        }
    }
}

/// The text with a value wherever the fuzzer puts a byte that no text holds.
fn with_secret(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| if *byte == 0xFF { SECRET } else { std::slice::from_ref(byte) }).copied().collect()
}

fn holds_secret(text: &[u8]) -> bool {
    text.windows(SECRET.len()).any(|window| window == SECRET)
}
