//! Masks on characters: `partial`, `email`, `replace`, and the limits of the types that hold them.

use std::iter;

use super::Field;
use crate::codec::value::{Kind, push};

/// The bytes of a `name`: `NAMEDATALEN` less the terminator.
const MAX_NAME_BYTES: usize = 63;

/// Stars, then the last `keep` characters. A value of twice that length or less has no meaning.
pub(super) fn partial(field: &Field<'_>, keep: u32, out: &mut Vec<u8>) -> Option<()> {
    let text = characters(field)?;
    let keep = usize::try_from(keep).ok()?;
    let count = text.chars().count();
    if count <= keep.checked_mul(2)? {
        return None;
    }
    let hidden = count - keep;
    out.extend(iter::repeat_n(b'*', hidden));
    out.extend(text.chars().skip(hidden).collect::<String>().into_bytes());
    pad(field, count, out);
    // Stars are one byte each, so the result is no longer than the value.
    Some(())
}

/// `a***@example.com`.
pub(super) fn email(field: &Field<'_>, out: &mut Vec<u8>) -> Option<()> {
    let (local, domain) = characters(field)?.split_once('@')?;
    let first = local.chars().next().filter(|c| c.is_alphanumeric())?;
    if local.len() > 64 || local.contains(|c: char| c.is_whitespace() || c.is_control()) || !is_domain(domain) {
        return None;
    }
    let masked = format!("{first}***@{domain}");
    // A cut domain would be another domain.
    (masked.chars().count() <= limit(field)).then(|| put(field, &masked, out))
}

/// Another text.
pub(super) fn replace(field: &Field<'_>, text: &str, out: &mut Vec<u8>) -> Option<()> {
    if !field.kind.is_text_like() || text.contains('\0') {
        return None;
    }
    put(field, text, out);
    Some(())
}

/// Appends `text`, cut to what the type can hold, and padded as `char(n)` is.
pub(super) fn put(field: &Field<'_>, text: &str, out: &mut Vec<u8>) {
    let limit = limit(field);
    let end = text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at);
    let end = if field.kind == Kind::Name { text.floor_char_boundary(MAX_NAME_BYTES) } else { end };
    let kept = text.get(..end).unwrap_or_default();
    push(out, kept);
    pad(field, kept.chars().count(), out);
}

/// The value's characters, without the blanks that `char(n)` is padded with.
pub(super) fn characters<'a>(field: &Field<'a>) -> Option<&'a str> {
    if !field.kind.is_text_like() {
        return None;
    }
    let text = std::str::from_utf8(field.value).ok()?;
    Some(if field.kind == Kind::BpChar { text.trim_end_matches(' ') } else { text })
}

/// The most characters that the type holds.
fn limit(field: &Field<'_>) -> usize {
    match field.kind {
        Kind::Name => MAX_NAME_BYTES,
        _ => field.ty.max_chars().unwrap_or(usize::MAX),
    }
}

/// A `char(n)` value is padded as its original was.
fn pad(field: &Field<'_>, count: usize, out: &mut Vec<u8>) {
    if field.kind == Kind::BpChar
        && let Some(width) = field.ty.max_chars()
    {
        let original = std::str::from_utf8(field.value).map_or(0, |v| v.chars().count());
        out.extend(iter::repeat_n(b' ', width.min(original).saturating_sub(count)));
    }
}

/// Labels of letters, digits and hyphens; the last one begins with a letter. Stricter than mail
/// itself, because the domain is shown.
fn is_domain(domain: &str) -> bool {
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    let Some((_, last)) = domain.rsplit_once('.') else { return false };
    domain.len() <= 253 && domain.split('.').all(label) && last.starts_with(char::is_alphabetic)
}
