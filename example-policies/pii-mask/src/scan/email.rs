//! E-mail addresses: RFC 5322's dot-atom before the `@`, and a domain name with at least one dot
//! after it. Letters beyond ASCII count on both sides (RFC 6531). A quoted local part is not found.

use super::{Kind, Span, next, run};

pub(super) fn find(bytes: &[u8], spans: &mut Vec<Span>) {
    let mut from = 0;
    while let Some(sign) = next(bytes, from, |b| b == b'@') {
        // `from` is behind the last `@`, so each byte is looked at once from either side.
        let local = bytes.get(from..sign).unwrap_or_default();
        let length = local.iter().rev().take_while(|b| is_local(**b)).count();
        from = sign + 1;
        if length > 0
            && let Some(end) = domain(bytes, sign + 1)
        {
            spans.push(Span { start: sign - length, end, kind: Kind::Email });
        }
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b".!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || !byte.is_ascii()
}

/// The end of the domain name at `start`: labels with dots between them, the last of at least two
/// characters and not a number.
fn domain(bytes: &[u8], start: usize) -> Option<usize> {
    let mut end = None;
    let mut label = start;
    loop {
        let stop = run(bytes, label, is_label);
        let text = bytes.get(label..stop)?;
        if text.is_empty() {
            return end;
        }
        if label > start && text.len() >= 2 && !text.iter().all(u8::is_ascii_digit) {
            end = Some(stop);
        }
        if bytes.get(stop) != Some(&b'.') {
            return end;
        }
        label = stop + 1;
    }
}
