//! Bank account numbers, ISO 13616: a country, two check digits and the country's own number, with
//! single spaces or dashes between groups.

use super::{Kind, Span, at, before};

/// The shortest number, Norway's.
pub(super) const SHORTEST: usize = 15;

pub(super) fn find(bytes: &[u8], spans: &mut Vec<Span>) {
    let (mut from, mut last) = (0, 0_u8);
    for (index, byte) in bytes.iter().enumerate() {
        // The classes of the last four bytes, two bits each: one comparison a byte, since in a hash no branch
        // could be foretold.
        last = last << 2 | CLASSES.get(usize::from(*byte)).unwrap_or(&0);
        let Some(start) = index.checked_sub(2).filter(|_| last & BEGINNING_BITS == BEGINNING) else { continue };
        if index >= from
            && let Some(end) = account(bytes, start)
        {
            spans.push(Span { start, end, kind: Kind::Iban });
            from = end;
        }
    }
}

/// How an account number begins: what is neither letter nor digit, a letter, whatever, a digit.
const BEGINNING: u8 = LETTER << 4 | DIGIT;
const BEGINNING_BITS: u8 = 0b11_11_00_11;

const LETTER: u8 = 0b01;
const DIGIT: u8 = 0b10;

/// Whether a byte is a letter, a digit, or neither.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        if byte.is_ascii_alphabetic() {
            table[byte as usize] = LETTER;
        } else if byte.is_ascii_digit() {
            table[byte as usize] = DIGIT;
        }
        byte += 1;
    }
    table
};

/// The end of the account number at `start`. Looks at no more than the country's length.
fn account(bytes: &[u8], start: usize) -> Option<usize> {
    let country = [at(bytes, start).to_ascii_uppercase(), at(bytes, start + 1).to_ascii_uppercase()];
    let (_, length) = LENGTHS.iter().find(|(code, _)| code.as_bytes() == country)?;
    let mut number = Vec::with_capacity(*length);
    let mut index = start;
    while number.len() < *length {
        let byte = at(bytes, index);
        if byte.is_ascii_alphanumeric() {
            number.push(byte);
        } else if !matches!(byte, b' ' | b'-') || !before(bytes, index).is_ascii_alphanumeric() {
            return None;
        }
        index += 1;
    }
    (!at(bytes, index).is_ascii_alphanumeric() && has_check(&number)).then_some(index)
}

/// ISO 7064, MOD 97-10: the first four characters moved to the end, letters as 10 to 35.
fn has_check(number: &[u8]) -> bool {
    let (head, body) = number.split_at(4.min(number.len()));
    let rest = body.iter().chain(head).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    rest == 1 && head.iter().skip(2).all(u8::is_ascii_digit)
}

/// The length of each country's numbers: SWIFT's IBAN registry,
/// <https://www.swift.com/standards/data-standards/iban-international-bank-account-number>.
#[rustfmt::skip]
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22),
    ("BI", 27), ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DJ", 27),
    ("DK", 18), ("DO", 28), ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FK", 18), ("FO", 18), ("FR", 27),
    ("GB", 22), ("GE", 22), ("GI", 23), ("GL", 18), ("GR", 27), ("GT", 28), ("HN", 28), ("HR", 21), ("HU", 28),
    ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28),
    ("LC", 32), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("LY", 25), ("MC", 27), ("MD", 24), ("ME", 22),
    ("MK", 19), ("MN", 20), ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18), ("NO", 15), ("OM", 23),
    ("PK", 24), ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33), ("SA", 24),
    ("SC", 31), ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("SO", 23), ("ST", 25), ("SV", 28),
    ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20), ("YE", 30),
];
