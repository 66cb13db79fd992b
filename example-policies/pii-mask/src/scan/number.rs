//! Numbers that only their punctuation tells apart: social security numbers of the United States,
//! and telephone numbers. Nine or ten digits without any punctuation may be anything, and are not
//! found.

use super::{Kind, Span, at, before, next, run};

/// How many digits a social security number has.
pub(super) const SSN_DIGITS: usize = 9;

/// The fewest digits that a telephone number has with its country code.
pub(super) const FEWEST_PHONE_DIGITS: usize = 8;

/// ITU-T E.164, 6.1: the most digits of an international number.
const MOST_PHONE_DIGITS: usize = 15;

/// The most digits that stand together with nothing but separators between them. All that is found by its
/// digits stands in such a chain; the digits of a hash or an identifier are in short ones.
pub(super) fn longest_chain(bytes: &[u8]) -> usize {
    let (mut chain, mut longest) = (0, 0);
    for byte in bytes {
        // Digits and letters alternate at random in a hash, so there is no branch to foretell.
        let digit = usize::from(byte.is_ascii_digit());
        let goes_on = usize::from(SEPARATES.get(usize::from(*byte)) == Some(&true)) | digit;
        chain = (chain + digit) * goes_on;
        longest = longest.max(chain);
    }
    longest
}

/// The bytes that may separate the digits of what is found by its digits: of cards, of social security
/// numbers and of telephone numbers.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const SEPARATES: [bool; 256] = {
    let separators = b" -_./()\xc2\xa0";
    let mut table = [false; 256];
    let mut index = 0;
    while index < separators.len() {
        table[separators[index] as usize] = true;
        index += 1;
    }
    table
};

/// `123-45-6789` or with spaces, without the numbers that are never given out:
/// <https://www.ssa.gov/employer/randomizationfaqs.html>.
pub(super) fn find_ssn(bytes: &[u8], spans: &mut Vec<Span>) {
    for_each_number(
        bytes,
        |start, end| {
            let separator = at(bytes, end);
            let group = exact(bytes, end + 1, 2).filter(|_| end - start == 3 && matches!(separator, b'-' | b' '))?;
            let serial = exact(bytes, group + 1, 4).filter(|_| at(bytes, group) == separator)?;
            let zeros =
                |from: usize, to: usize| bytes.get(from..to).is_some_and(|part| part.iter().all(|b| *b == b'0'));
            let never = at(bytes, start) == b'9'
                || bytes.get(start..end) == Some(b"666")
                || zeros(start, end)
                || zeros(end + 1, group)
                || zeros(group + 1, serial);
            (!never).then_some(Span { start, end: serial, kind: Kind::Ssn })
        },
        spans,
    );
}

/// International numbers with `+`, and North American ones such as `(212) 555-0123`.
pub(super) fn find_phone(bytes: &[u8], spans: &mut Vec<Span>) {
    for_each_number(
        bytes,
        |start, end| {
            if before(bytes, start) == b'+' { international(bytes, start) } else { american(bytes, start, end) }
        },
        spans,
    );
}

/// Shows every run of digits to `look`, and goes on behind what it found.
fn for_each_number(bytes: &[u8], look: impl Fn(usize, usize) -> Option<Span>, spans: &mut Vec<Span>) {
    let mut from = 0;
    while let Some(start) = next(bytes, from, |b| b.is_ascii_digit()) {
        let end = run(bytes, start, |b| b.is_ascii_digit());
        let found = look(start, end);
        from = found.map_or(end, |span| span.end.max(end));
        spans.extend(found);
    }
}

/// The end of a run of exactly `count` digits at `start`.
fn exact(bytes: &[u8], start: usize, count: usize) -> Option<usize> {
    let digits = (start..=start + count).take_while(|index| at(bytes, *index).is_ascii_digit()).count();
    (digits == count).then_some(start + count)
}

/// `+` and 8 to 15 digits, with up to two separators between them.
fn international(bytes: &[u8], start: usize) -> Option<Span> {
    let plus = start.checked_sub(1)?;
    if before(bytes, plus).is_ascii_alphanumeric() || at(bytes, start) == b'0' {
        return None;
    }
    let (mut digits, mut end) = (0, start);
    loop {
        while digits <= MOST_PHONE_DIGITS && at(bytes, end).is_ascii_digit() {
            (digits, end) = (digits + 1, end + 1);
        }
        let gap = (end..end + 2).take_while(|index| b" -./()".contains(&at(bytes, *index))).count();
        if gap == 0 || digits > MOST_PHONE_DIGITS || !at(bytes, end + gap).is_ascii_digit() {
            break;
        }
        end += gap;
    }
    let fits = (FEWEST_PHONE_DIGITS..=MOST_PHONE_DIGITS).contains(&digits);
    fits.then_some(Span { start: plus, end, kind: Kind::Phone })
}

/// Area code, exchange and number with separators between them: the first digits of the former two
/// are 2 to 9.
fn american(bytes: &[u8], start: usize, end: usize) -> Option<Span> {
    let area = end - start == 3 && at(bytes, start) >= b'2';
    let bracket = before(bytes, start) == b'(' && at(bytes, end) == b')';
    let exchange = match at(bytes, end) {
        b')' if bracket => end + 1 + usize::from(matches!(at(bytes, end + 1), b' ' | b'-')),
        b'-' | b'.' | b' ' => end + 1,
        _ => return None,
    };
    let exchanged = exact(bytes, exchange, 3).filter(|_| area && at(bytes, exchange) >= b'2')?;
    let line = exact(bytes, exchanged + 1, 4).filter(|_| matches!(at(bytes, exchanged), b'-' | b'.' | b' '))?;
    Some(Span { start: start - usize::from(bracket), end: line, kind: Kind::Phone })
}
