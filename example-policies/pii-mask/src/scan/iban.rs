//! Bank account numbers, ISO 13616: a country, two check digits and the country's own number, with
//! single spaces or dashes between groups.

use super::{Kind, Span, at, before, next};

/// The shortest number, Norway's.
pub(super) const SHORTEST: usize = 15;

pub(super) fn find(bytes: &[u8], spans: &mut Vec<Span>) {
    let mut from = 0;
    while let Some(digit) = next(bytes, from, |b| b.is_ascii_digit()) {
        from = digit + 1;
        let Some(start) = digit.checked_sub(2) else { continue };
        if !at(bytes, start).is_ascii_alphabetic() || before(bytes, start).is_ascii_alphanumeric() {
            continue;
        }
        if let Some(end) = account(bytes, start) {
            spans.push(Span { start, end, kind: Kind::Iban });
            from = end;
        }
    }
}

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
