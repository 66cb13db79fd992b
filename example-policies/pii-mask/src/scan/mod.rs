//! Finds personal data and secrets in a value. Every detector is one pass over the bytes with a
//! bounded look around each candidate, so the time is linear in the value's length, and a first
//! pass leaves out the detectors whose characters do not occur.
//!
//! This finds data as it is commonly written. It does not find data that somebody has transformed
//! (encoded, reversed, cut in pieces): against that only masking by column helps.

mod card;
mod email;
mod iban;
mod number;
mod secret;

use serde::Deserialize;

/// What can be detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A payment card's number: 13 to 19 digits with an issuer's prefix and a right Luhn digit.
    Card,
    /// An e-mail address.
    Email,
    /// A bank account's number, ISO 13616, with right check digits.
    Iban,
    /// A social security number of the United States, written `123-45-6789`.
    Ssn,
    /// A telephone number: international with `+`, or North American with separators.
    Phone,
    /// A JSON Web Token.
    Jwt,
    /// The id of an AWS access key.
    AwsKey,
    /// A private key in PEM or PGP armour.
    PrivateKey,
}

impl Kind {
    /// Whether it is of no use to see a part of it.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::Jwt | Self::AwsKey | Self::PrivateKey)
    }
}

/// Where an item stands: from byte `start` up to, without, byte `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// What it is.
    pub kind: Kind,
}

/// Looks for the kinds it was made with.
#[derive(Debug, Clone)]
pub struct Scanner {
    kinds: Vec<Kind>,
    /// Whether any of them is found by its digits.
    reads_numbers: bool,
}

/// PostgreSQL's types whose text can hold nothing that is detected: too few digits, or digits that
/// mean something else. `int8`, `numeric` and everything unknown are read. Arrays have a `_` before
/// the name of their elements' type.
const NOT_READ: [&str; 26] = [
    "bit",
    "bool",
    "box",
    "bytea",
    "cid",
    "cidr",
    "circle",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "interval",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "oid",
    "path",
    "point",
    "polygon",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
];

/// What characters a value has; each detector needs some.
#[derive(Debug, Default)]
struct Characters {
    digits: usize,
    at: bool,
    dash: bool,
    capital_i: bool,
    capital_j: bool,
}

impl Scanner {
    /// A scanner for these kinds.
    pub fn new(kinds: &[Kind]) -> Self {
        let reads_numbers = kinds.iter().any(|kind| matches!(kind, Kind::Card | Kind::Ssn | Kind::Phone));
        Self { kinds: kinds.to_vec(), reads_numbers }
    }

    /// Whether values of this type are worth a look.
    pub fn reads(&self, type_name: &str) -> bool {
        !self.kinds.is_empty() && !NOT_READ.contains(&type_name.strip_prefix('_').unwrap_or(type_name))
    }

    /// Replaces `spans` by the items in `bytes`, in order; items that overlap are one.
    pub fn scan(&self, bytes: &[u8], spans: &mut Vec<Span>) {
        spans.clear();
        let has = Characters::of(bytes);
        let may_chain = self.reads_numbers && has.digits >= number::FEWEST_PHONE_DIGITS;
        let chained = if may_chain { number::longest_chain(bytes) } else { 0 };
        for kind in &self.kinds {
            match kind {
                Kind::Card if chained >= card::FEWEST_DIGITS => card::find(bytes, spans),
                Kind::Email if has.at => email::find(bytes, spans),
                Kind::Iban if has.digits >= 2 && bytes.len() >= iban::SHORTEST => iban::find(bytes, spans),
                Kind::Ssn if chained >= number::SSN_DIGITS => number::find_ssn(bytes, spans),
                Kind::Phone if chained >= number::FEWEST_PHONE_DIGITS => number::find_phone(bytes, spans),
                Kind::Jwt if has.capital_j => secret::find_jwt(bytes, spans),
                Kind::AwsKey if has.capital_i => secret::find_aws_key(bytes, spans),
                Kind::PrivateKey if has.dash => secret::find_private_key(bytes, spans),
                _ => {}
            }
        }
        if spans.len() > 1 {
            merge(spans);
        }
    }
}

impl Characters {
    /// Without branches and in pieces whose digits a byte can count, so that the compiler takes sixteen
    /// bytes at a time: most values end here.
    #[cfg_attr(target_family = "wasm", target_feature(enable = "simd128"))]
    fn of(bytes: &[u8]) -> Self {
        let mut has = Self::default();
        for piece in bytes.chunks(usize::from(u8::MAX)) {
            let mut digits = 0_u8;
            for byte in piece {
                digits += u8::from(byte.is_ascii_digit());
                has.at |= *byte == b'@';
                has.dash |= *byte == b'-';
                has.capital_i |= *byte == b'I';
                has.capital_j |= *byte == b'J';
            }
            has.digits += usize::from(digits);
        }
        has
    }
}

/// Sorts the spans and joins those that overlap; the kind is that of the more secret one, or of the
/// first.
fn merge(spans: &mut Vec<Span>) {
    spans.sort_unstable_by_key(|span| (span.start, usize::MAX - span.end));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans.drain(..) {
        match merged.last_mut() {
            Some(last) if span.start < last.end => {
                last.end = last.end.max(span.end);
                if span.kind.is_secret() {
                    last.kind = span.kind;
                }
            }
            _ => merged.push(span),
        }
    }
    *spans = merged;
}

/// The byte at `index`, or 0 beyond the ends, which is no character that any detector looks for.
fn at(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(0)
}

/// The byte before `index`, or 0.
fn before(bytes: &[u8], index: usize) -> u8 {
    index.checked_sub(1).map_or(0, |index| at(bytes, index))
}

/// The end of the run of bytes from `start` for which `is` holds.
fn run(bytes: &[u8], start: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !is(*byte)).unwrap_or(rest.len())
}

/// The position from `start` on of the next byte for which `is` holds.
fn next(bytes: &[u8], start: usize, is: impl Fn(u8) -> bool) -> Option<usize> {
    bytes.get(start..)?.iter().position(|byte| is(*byte)).map(|offset| start + offset)
}
