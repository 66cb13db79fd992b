//! What masks leave, by example, and that they leave nothing else.

use proptest::{collection::vec, option, prelude::*};
use sluicegate_core::DateUnit;

use super::*;

const TEXT: FieldType = FieldType { oid: 25, typmod: -1 };

fn varchar(n: i32) -> FieldType {
    FieldType { oid: 1043, typmod: n + 4 }
}

fn char(n: i32) -> FieldType {
    FieldType { oid: 1042, typmod: n + 4 }
}

fn number(oid: u32) -> FieldType {
    FieldType { oid, typmod: -1 }
}

fn masked(mask: &Mask, value: &str, ty: FieldType) -> Option<String> {
    let mut out = Vec::new();
    match apply(mask, Some(value.as_bytes()), ty, Format::Text, &HashKey::new([1; 32]), &mut out) {
        MaskedField::Null => None,
        MaskedField::Bytes => Some(String::from_utf8(out).unwrap()),
    }
}

#[test]
fn examples() {
    use DateUnit::{Day, Hour, Month, Year};
    use Mask::{Email, Null, Partial, Redact, Replace, Round, TruncateDate};
    let enumeration = number(99_999);
    for (mask, value, ty, expected) in [
        (Redact, "secret", TEXT, "[redacted]"),
        (Redact, "secret", varchar(4), "[red"),
        (Redact, "secret       ", char(13), "[redacted]   "),
        (Redact, "{1,2}", number(1007), "{}"),
        (Partial(4), "4111111111111111", TEXT, "************1111"),
        (Partial(4), "4111111111111111    ", char(20), "************1111    "),
        (Partial(2), "äöüß€", TEXT, "***ß€"),
        (Partial(4), "12345678", TEXT, "[redacted]"),
        (Partial(0), "abc", TEXT, "***"),
        (Partial(4), "123456789", number(23), "0"),
        (Email, "alice@example.com", TEXT, "a***@example.com"),
        (Email, "élise@exämple.com", TEXT, "é***@exämple.com"),
        (Email, "a@xy.com", varchar(9), "[redacted"),
        (Email, "not an address", TEXT, "[redacted]"),
        (Email, "x@123-45-6789", TEXT, "[redacted]"),
        (Email, "x@a.b.6789", TEXT, "[redacted]"),
        (Email, "x@a b.com", TEXT, "[redacted]"),
        (Email, "x@y@z.com", TEXT, "[redacted]"),
        (Email, "\"x y\"@z.com", TEXT, "[redacted]"),
        (Replace("gone".to_owned()), "secret", varchar(3), "gon"),
        (Replace("gone".to_owned()), "{\"a\":1}", number(3802), "\"[redacted]\""),
        (Replace("a\0b".to_owned()), "secret", TEXT, "[redacted]"),
        (Round(3), "12345", number(23), "12000"),
        (Round(1), "-15", number(21), "-20"),
        (Round(4), "-32768", number(21), "0"),
        (Round(2), "1234.5", number(701), "1200"),
        (Round(2), "secret", number(701), "0"),
        (Round(2), "-1234.50", number(1700), "-1300"),
        (TruncateDate(Year), "2024-02-29", number(1082), "2024-01-01"),
        (TruncateDate(Month), "0044-03-15 BC", number(1082), "0044-03-01 BC"),
        (TruncateDate(Hour), "2024-02-29 12:34:56.7+05:30", number(1184), "2024-02-29 12:00:00+05:30"),
        (TruncateDate(Day), "infinity", number(1114), "infinity"),
        (TruncateDate(Year), "29.02.2024", number(1082), "1970-01-01"),
        (TruncateDate(Year), "12:34:56", number(1083), "00:00:00"),
        (TruncateDate(Year), "2024-02-29 secret", number(1114), "1970-01-01 00:00:00"),
    ] {
        assert_eq!(masked(&mask, value, ty).as_deref(), Some(expected), "{mask:?} {value}");
    }
    assert_eq!(masked(&Null, "secret", TEXT), None);
    assert_eq!(masked(&Redact, "happy", enumeration), None);
    assert_eq!(masked(&Replace("sad".to_owned()), "happy", enumeration), None);
}

#[test]
fn hashes_depend_on_the_key_and_fit_the_type() {
    let hash = |value: &str, ty, key| {
        let mut out = Vec::new();
        apply(&Mask::Hash, Some(value.as_bytes()), ty, Format::Text, &HashKey::new([key; 32]), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(hash("x", TEXT, 1), hash("x", TEXT, 1));
    assert_ne!(hash("x", TEXT, 1), hash("x", TEXT, 2));
    assert_ne!(hash("x", TEXT, 1), hash("y", TEXT, 1));
    assert_eq!(hash("x", TEXT, 1).len(), 16);
    assert_eq!(hash("x", varchar(5), 1), hash("x", TEXT, 1)[..5]);
    for (oid, largest) in [(21, i64::from(i16::MAX)), (23, i64::from(i32::MAX)), (20, i64::MAX)] {
        let number_hashed: i64 = hash("42", number(oid), 1).parse().unwrap();
        assert!((0..=largest).contains(&number_hashed));
    }
    let uuid = hash("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", number(2950), 1);
    assert!(uuid.as_bytes()[14] == b'8' && b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
}

#[test]
fn the_key_is_never_shown() {
    let shown = format!("{:?}", HashKey::new([0xAB; 32]));
    assert!(!shown.contains("171") && !shown.contains("ab, "), "{shown}");
}

fn any_mask() -> impl Strategy<Value = Mask> {
    let unit = prop::sample::select(vec![DateUnit::Year, DateUnit::Month, DateUnit::Day, DateUnit::Hour]);
    prop_oneof![
        Just(Mask::Redact),
        Just(Mask::Null),
        Just(Mask::Hash),
        Just(Mask::Email),
        any::<u32>().prop_map(Mask::Partial),
        (0_u32..6).prop_map(Mask::Partial),
        any::<u32>().prop_map(Mask::Round),
        (0_u32..30).prop_map(Mask::Round),
        unit.prop_map(Mask::TruncateDate),
        ".{0,80}".prop_map(Mask::Replace),
    ]
}

proptest! {
    #[test]
    fn any_value_can_be_masked(
        mask in any_mask(), value in option::of(vec(any::<u8>(), 0..40)), oid in 0_u32..6000, typmod in -2_i32..300, is_text: bool
    ) {
        let format = if is_text { Format::Text } else { Format::Binary };
        let mut out = b"before".to_vec();
        let field = apply(&mask, value.as_deref(), FieldType { oid, typmod }, format, &HashKey::new([1; 32]), &mut out);
        prop_assert!(out.starts_with(b"before"));
        prop_assert!(out.len() == 6 || (field == MaskedField::Bytes && value.is_some()));
    }

    #[test]
    fn a_redacted_value_is_the_same_whatever_it_was(
        a in vec(any::<u8>(), 0..40), b in vec(any::<u8>(), 0..40), oid in 0_u32..6000, is_text: bool
    ) {
        // `char(n)` shows how many characters it has, which its values always have.
        prop_assume!(oid != 1042);
        let format = if is_text { Format::Text } else { Format::Binary };
        let redacted = |value: &[u8]| {
            let mut out = Vec::new();
            (apply(&Mask::Redact, Some(value), number(oid), format, &HashKey::new([1; 32]), &mut out), out)
        };
        prop_assert_eq!(redacted(&a), redacted(&b));
    }

    #[test]
    fn partial_shows_no_more_than_it_says(value in "\\PC{0,40}", keep in 0_u32..20) {
        let shown = masked(&Mask::Partial(keep), &value, TEXT).unwrap();
        let keep = keep as usize;
        if value.chars().count() <= keep * 2 {
            prop_assert_eq!(shown, "[redacted]");
        } else {
            let hidden = value.chars().count() - keep;
            prop_assert!(shown.chars().take(hidden).all(|c| c == '*'));
            prop_assert!(shown.chars().skip(hidden).eq(value.chars().skip(hidden)));
        }
    }
}
