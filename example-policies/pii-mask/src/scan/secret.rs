//! Secrets that give themselves away by how they begin: JSON Web Tokens, ids of AWS access keys and
//! private keys in armour.

use super::{Kind, Span, at, before, next, run};

/// The fewest characters of a token's header and of its payload; `{"alg":"x"}` has more.
const SHORTEST_TOKEN_PART: usize = 10;

/// RFC 7519 and RFC 7516: base64url parts with dots between them, three of a signed and five of an
/// encrypted token. The first is a JSON object, so it begins with `eyJ`.
pub(super) fn find_jwt(bytes: &[u8], spans: &mut Vec<Span>) {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let mut from = 0;
    while let Some(letter) = next(bytes, from, |b| b == b'J') {
        from = letter + 1;
        let Some(start) = letter.checked_sub(2).filter(|start| bytes.get(*start..letter) == Some(b"ey")) else {
            continue;
        };
        let header = run(bytes, start, is_part);
        // Whatever comes of it, no other token starts within these characters.
        from = header;
        let payload = run(bytes, header + 1, is_part);
        let long = header - start >= SHORTEST_TOKEN_PART && payload.saturating_sub(header + 1) >= SHORTEST_TOKEN_PART;
        if at(bytes, header) != b'.' || !long || at(bytes, payload) != b'.' {
            continue;
        }
        let mut end = run(bytes, payload + 1, is_part);
        for _ in 0..2 {
            if at(bytes, end) == b'.' && is_part(at(bytes, end + 1)) {
                end = run(bytes, end + 1, is_part);
            }
        }
        spans.push(Span { start, end, kind: Kind::Jwt });
        from = end;
    }
}

/// `AKIA` (long-lived) or `ASIA` (temporary) and 16 more capitals and digits:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-prefixes>.
pub(super) fn find_aws_key(bytes: &[u8], spans: &mut Vec<Span>) {
    let is_key = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    let mut from = 0;
    while let Some(letter) = next(bytes, from, |b| b == b'I') {
        from = letter + 1;
        let Some(start) = letter.checked_sub(2) else { continue };
        let prefix = matches!(bytes.get(start..start + 4), Some(b"AKIA" | b"ASIA"));
        if !prefix || is_key(before(bytes, start)) {
            continue;
        }
        let end = run(bytes, start, is_key);
        if end - start == 20 {
            spans.push(Span { start, end, kind: Kind::AwsKey });
        }
        from = end;
    }
}

/// RFC 7468 and RFC 9580, 6.2: from `-----BEGIN ... PRIVATE KEY` to the end of the `-----END` line,
/// or to the end of the value where the key is cut off.
pub(super) fn find_private_key(bytes: &[u8], spans: &mut Vec<Span>) {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    const LONGEST_LABEL: usize = 64;
    let mut from = 0;
    while let Some(start) = find(bytes, from, BEGIN) {
        let label = start + BEGIN.len();
        let reach = (label + LONGEST_LABEL).min(bytes.len());
        from = label;
        let Some(named) = find(bytes.get(..reach).unwrap_or_default(), label, b"PRIVATE KEY") else {
            continue;
        };
        let end = match find(bytes, named, END) {
            Some(end) => {
                let closing = end + END.len();
                let reach = (closing + LONGEST_LABEL).min(bytes.len());
                find(bytes.get(..reach).unwrap_or_default(), closing, b"-----").map_or(reach, |dashes| dashes + 5)
            }
            None => bytes.len(),
        };
        spans.push(Span { start, end, kind: Kind::PrivateKey });
        from = end;
    }
}

/// The position of `needle` from `start` on.
fn find(bytes: &[u8], start: usize, needle: &[u8]) -> Option<usize> {
    bytes.get(start..)?.windows(needle.len()).position(|window| window == needle).map(|offset| start + offset)
}
