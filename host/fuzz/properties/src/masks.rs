//! Masks on values of any type, in either format.

use sluicegate_core::{DateUnit, Mask};
use sluicegate_postgres::{
    HashKey,
    codec::{
        mask::{MaskedField, apply},
        value::{FieldType, Format, Kind, Rendered, render},
    },
};

use crate::{
    input::Input,
    validity,
    values::{TYPES, field},
};

/// From this length on, a value that stands in its own mask stands there by no accident.
const TELLING: usize = 12;

/// A value to mask.
#[derive(Clone, Copy)]
struct Case<'a> {
    mask: &'a Mask,
    value: &'a [u8],
    ty: FieldType,
    format: Format,
}

/// A masked value is one of its type, shows no more of the original than its mask says, and is the same
/// in text and in binary.
pub fn masks(data: &[u8]) {
    let mut input = Input::new(data);
    let mask = mask(&mut input);
    let (ty, format) = field(&mut input);
    debug_assert!(TYPES.contains(&ty.oid));
    let value = input.rest();
    let case = Case { mask: &mask, value, ty, format };
    let Some(masked) = masked(case) else { return };
    let is_valid = match format {
        Format::Text => validity::text,
        Format::Binary => validity::binary,
    };
    if is_valid(ty, value) {
        assert!(is_valid(ty, &masked), "{mask:?} {ty:?} {format:?} {value:?} became {masked:?}");
        same_in_text(case, &masked);
    }
    match mask {
        Mask::Redact | Mask::Replace(_) => tells_nothing(case, &masked),
        // What cannot be hashed has its type's constant, which may be like a value that is none of its type.
        Mask::Hash if value.len() >= TELLING && !is_redacted(case, &masked) => {
            assert!(!masked.windows(value.len()).any(|window| window == value), "{value:?} is in its hash");
        }
        Mask::Partial(keep) => partial(case, &masked, keep as usize),
        Mask::Email => email(case, &masked),
        Mask::Round(_) | Mask::TruncateDate(_) if is_valid(ty, value) => again(case, &masked),
        _ => {}
    }
}

fn mask(input: &mut Input<'_>) -> Mask {
    match input.below(8) {
        0 => Mask::Redact,
        1 => Mask::Null,
        2 => Mask::Hash,
        3 => Mask::Email,
        4 => Mask::Partial(u32::from(input.byte())),
        5 => Mask::Round(u32::from(input.byte() % 40)),
        6 => Mask::TruncateDate(input.pick(&[DateUnit::Year, DateUnit::Month, DateUnit::Day, DateUnit::Hour])),
        _ => Mask::Replace(String::from_utf8_lossy(input.some(80)).into_owned()),
    }
}

/// None where it is NULL.
fn masked(case: Case<'_>) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let Case { mask, value, ty, format } = case;
    let field = apply(mask, Some(value), ty, format, &HashKey::new([7; 32]), &mut out);
    let shown = out.strip_prefix(b"before").expect("what was there stays");
    assert!(field == MaskedField::Bytes || shown.is_empty());
    (field == MaskedField::Bytes).then(|| shown.to_vec())
}

/// Another value in its place has the same mask. Only `char(n)` shows how many characters there were.
fn tells_nothing(case: Case<'_>, masked: &[u8]) {
    let length = std::str::from_utf8(case.value).map_or(0, |text| text.chars().count());
    let other = vec![b'0'; length];
    assert_eq!(self::masked(Case { value: &other, ..case }).as_deref(), Some(masked));
}

/// The end of the value at most, and stars; or nothing of it.
fn partial(case: Case<'_>, masked: &[u8], keep: usize) {
    if is_redacted(case, masked) {
        return;
    }
    let [text, masked] = [case.value, masked].map(|bytes| std::str::from_utf8(bytes).expect("text is masked so"));
    let [text, masked] = [text, masked].map(|text| match case.ty.kind() {
        Kind::BpChar => text.trim_end_matches(' '),
        _ => text,
    });
    let count = text.chars().count();
    assert!(count > 2 * keep);
    let shown = text.chars().skip(count - keep);
    assert_eq!(masked, "*".repeat(count - keep).chars().chain(shown).collect::<String>());
}

/// The first character and the domain at most; or nothing of it.
fn email(case: Case<'_>, masked: &[u8]) {
    if is_redacted(case, masked) {
        return;
    }
    let [text, masked] = [case.value, masked].map(|bytes| std::str::from_utf8(bytes).expect("text is masked so"));
    let (local, domain) = text.split_once('@').expect("an address has a domain");
    let first = local.chars().next().expect("an address has a name");
    assert_eq!(masked.trim_end_matches(' '), format!("{first}***@{}", domain.trim_end_matches(' ')));
}

fn is_redacted(case: Case<'_>, masked: &[u8]) -> bool {
    self::masked(Case { mask: &Mask::Redact, ..case }).as_deref() == Some(masked)
}

/// What was rounded is round: the same mask leaves it as it is. Floating-point numbers are near it.
fn again(case: Case<'_>, masked: &[u8]) {
    if !matches!(case.ty.kind(), Kind::Float4 | Kind::Float8) {
        let twice = self::masked(Case { value: masked, ..case });
        assert_eq!(twice.as_deref(), Some(masked), "{:?} {:?}", case.mask, case.value);
    }
}

/// Rendering what was masked in binary is masking what was rendered.
fn same_in_text(case: Case<'_>, masked: &[u8]) {
    // A registered object's name is not known, and a byte array's rendering is its bytes.
    if case.format == Format::Text || matches!(case.ty.kind(), Kind::Reg | Kind::Bytea) {
        return;
    }
    let text = |value: &[u8]| {
        let mut out = Vec::new();
        (render(value, case.ty, Format::Binary, &mut out) == Rendered::Text).then_some(out)
    };
    let (Some(value), Some(shown)) = (text(case.value), text(masked)) else { return };
    let expected = self::masked(Case { value: &value, format: Format::Text, ..case });
    assert_eq!(Some(shown), expected, "{:?} {:?} {:?}", case.mask, case.ty, case.value);
}
