//! Payment card numbers, ISO/IEC 7812: an issuer's prefix, 13 to 19 digits, and a Luhn digit. The
//! digits may stand in groups with up to three spaces, dashes, underscores or no-break spaces
//! between them. A number starts and ends where a group does, so that a part of a longer number is
//! none.

use super::{Kind, Span, at, before, next, run};

/// The fewest digits that a card has.
pub(super) const FEWEST_DIGITS: usize = 13;

const MOST_DIGITS: usize = 19;
const LONGEST_SEPARATOR: usize = 3;

pub(super) fn find(bytes: &[u8], spans: &mut Vec<Span>) {
    let mut from = 0;
    while let Some(start) = next(bytes, from, |b| b.is_ascii_digit()) {
        let end = if is_fraction(bytes, start) { None } else { number(bytes, start) };
        if let Some(end) = end {
            spans.push(Span { start, end, kind: Kind::Card });
        }
        from = end.unwrap_or_else(|| run(bytes, start, |b| b.is_ascii_digit()));
    }
}

/// Whether the digits at `start` follow a decimal point: `0.4123456789012` is no card.
fn is_fraction(bytes: &[u8], start: usize) -> bool {
    before(bytes, start) == b'.' && start.checked_sub(2).is_some_and(|index| at(bytes, index).is_ascii_digit())
}

/// The end of the longest card number that starts at `start`. Looks at no more digits than a card
/// can have.
fn number(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut digits, mut count) = ([0; MOST_DIGITS], 0);
    let mut longest = None;
    let mut group = start;
    loop {
        let reach = (group + MOST_DIGITS + 1).min(bytes.len());
        let end = run(bytes.get(..reach)?, group, |b| b.is_ascii_digit());
        let read = bytes.get(group..end)?;
        let Some(places) = digits.get_mut(count..count + read.len()) else { return longest };
        places.iter_mut().zip(read).for_each(|(digit, byte)| *digit = byte - b'0');
        count += read.len();
        if digits.get(..count).is_some_and(is_card) {
            longest = Some(end);
        }
        let separated = (end..end + LONGEST_SEPARATOR).take_while(|index| is_separator(at(bytes, *index))).count();
        group = end + separated;
        if separated == 0 || !at(bytes, group).is_ascii_digit() {
            return longest;
        }
    }
}

fn is_separator(byte: u8) -> bool {
    // The last two are the bytes of U+00A0 in UTF-8.
    matches!(byte, b' ' | b'-' | b'_' | 0xc2 | 0xa0)
}

fn is_card(digits: &[u8]) -> bool {
    digits.len() >= FEWEST_DIGITS && has_issuer(digits) && luhn(digits)
}

/// Whether an issuer's prefix and its lengths fit:
/// <https://en.wikipedia.org/wiki/Payment_card_number#Issuer_identification_number_(IIN)>.
fn has_issuer(digits: &[u8]) -> bool {
    let prefix = digits.iter().take(4).fold(0_u16, |sum, digit| sum * 10 + u16::from(*digit));
    let length = digits.len();
    match prefix {
        // Visa.
        4000..=4999 => matches!(length, 13 | 16 | 19),
        // Mastercard.
        5100..=5599 | 2221..=2720 => length == 16,
        // American Express.
        3400..=3499 | 3700..=3799 => length == 15,
        // Diners Club.
        3000..=3059 | 3090..=3099 | 3600..=3699 | 3800..=3999 => length >= 14,
        // JCB, Mir, RuPay and UnionPay.
        3528..=3589 | 2200..=2204 | 8100..=8299 => length >= 16,
        // Maestro, Discover, UnionPay and RuPay.
        5000..=5099 | 5600..=6999 => true,
        _ => false,
    }
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
