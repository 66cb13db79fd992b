//! Values made by hand, and any bytes at all.

use proptest::{collection::vec, prelude::*};

use super::*;

fn rendered(oid: u32, value: &[u8]) -> (Rendered, String) {
    let mut out = Vec::new();
    let kind = render(value, FieldType { oid, typmod: -1 }, Format::Binary, &mut out);
    (kind, String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn values_that_are_not_of_their_type_are_raw() {
    for (oid, value) in [
        (23, &b"abc"[..]),
        (23, b"abcde"),
        (20, b""),
        (2950, b"0123456789"),
        (3802, b"\x02{}"),
        (1700, b"\0\x01\0\0\0\0\0\0"),
        (1700, b"\0\x01\0\0\0\0\0\0\x27\x10"),
        (869, b"\x02\x21\0\x04\x01\x02\x03\x04"),
        (1007, b"\0\0\0\x07\0\0\0\0\0\0\0\x17"),
        (1007, b"\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x09\0\0"),
    ] {
        assert_eq!(
            rendered(oid, value),
            (Rendered::Raw, String::from_utf8_lossy(value).into_owned()),
            "{oid} {value:?}"
        );
    }
}

#[test]
fn a_small_array_of_huge_numbers_stays_small() {
    let mut array = b"\0\0\0\x01\0\0\0\0\0\0\x06\xa4\0\0\0\x20\0\0\0\x01".to_vec();
    for _ in 0..32 {
        // One digit, 32 767 groups of zeros behind it.
        array.extend_from_slice(b"\0\0\0\x0a\0\x01\x7f\xff\0\0\0\0\0\x01");
    }
    let (kind, text) = rendered(1231, &array);
    assert_eq!(kind, Rendered::Raw);
    assert!(text.len() < 4096);
}

/// `_text` of these dimensions (length, lower bound) and elements.
fn array(dimensions: &[(i32, i32)], elements: &[Option<&str>]) -> Vec<u8> {
    let mut wire = i32::try_from(dimensions.len()).unwrap().to_be_bytes().to_vec();
    wire.extend_from_slice(b"\0\0\0\0\0\0\0\x19");
    for (length, bound) in dimensions {
        wire.extend([length.to_be_bytes(), bound.to_be_bytes()].concat());
    }
    for element in elements {
        let length = element.map_or(-1, |text| i32::try_from(text.len()).unwrap());
        wire.extend(length.to_be_bytes());
        wire.extend(element.unwrap_or_default().bytes());
    }
    wire
}

#[test]
fn arrays_are_written_as_the_server_writes_them() {
    let cases = [
        (array(&[], &[]), "{}"),
        (array(&[(3, 1)], &[Some("a,b"), None, Some("NULL")]), r#"{"a,b",NULL,"NULL"}"#),
        (array(&[(4, 1)], &[Some("a"), Some(""), Some("x y"), Some("q\"\\")]), r#"{a,"","x y","q\"\\"}"#),
        (array(&[(2, 1), (2, 1)], &[Some("a"), Some("b"), Some("{"), None]), r#"{{a,b},{"{",NULL}}"#),
        (array(&[(2, 0)], &[Some("a"), Some("b")]), "[0:1]={a,b}"),
    ];
    for (wire, text) in cases {
        assert_eq!(rendered(1009, &wire), (Rendered::Text, text.to_owned()));
    }
    for wrong in [array(&[(3, 1)], &[Some("a")]), array(&[(1, 1)], &[Some("a"), Some("b")]), array(&[(0, 1)], &[])] {
        assert_eq!(rendered(1009, &wrong).0, Rendered::Raw);
    }
}

#[test]
fn format_codes() {
    assert_eq!([0, 1, 2, -1].map(Format::from_code), [Some(Format::Text), Some(Format::Binary), None, None]);
}

proptest! {
    #[test]
    fn any_bytes_are_rendered(oid in 0_u32..6000, value in vec(any::<u8>(), 0..80), is_text: bool) {
        let format = if is_text { Format::Text } else { Format::Binary };
        let mut out = b"before".to_vec();
        render(&value, FieldType { oid, typmod: -1 }, format, &mut out);
        prop_assert!(out.starts_with(b"before") && out.len() <= 6 + 4 * value.len() + 2 * 1024 * 1024);
    }

    #[test]
    fn bytea_comes_back(value in vec(any::<u8>(), 0..80)) {
        let (mut text, mut back) = (Vec::new(), Vec::new());
        bytea::encode(&value, &mut text);
        prop_assert_eq!(bytea::decode(&text, &mut back), Some(()));
        prop_assert_eq!(back, value);
    }

    #[test]
    fn integers_are_numerics(value: i64) {
        let (mut wire, mut text) = (Vec::new(), Vec::new());
        numeric::encode_integer(value < 0, value.unsigned_abs().to_string().as_bytes(), &mut wire).unwrap();
        numeric::render(&wire, &mut text).unwrap();
        prop_assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
    }
}
