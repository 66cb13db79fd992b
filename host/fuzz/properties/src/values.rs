//! Values of any type, rendered as text for policies.

use sluicegate_postgres::codec::value::{FieldType, Format, Kind, Rendered, render};

use crate::{input::Input, validity};

/// The oids of all types that are known by name, of arrays of some, and of one that is not known.
pub(crate) const TYPES: [u32; 50] = [
    25, 705, 1043, 1042, 19, 18, 114, 3802, 4072, 142, 21, 23, 20, 5069, 26, 24, 2205, 700, 701, 1700, 790, 16, 2950,
    17, 1082, 1083, 1266, 1114, 1184, 1186, 869, 650, 829, 774, 1560, 1562, 3614, 3615, 3220, 1009, 1007, 1231, 1001,
    1185, 2951, 1041, 3807, 1000, 99_999, 0,
];

/// The bytes that a rendering may have beyond four times the value's.
const ALLOWANCE: usize = 1024 * 1024 + 256 * 1024;

/// A rendering is appended, is bounded, and is a text of its type.
pub fn values(data: &[u8]) {
    let mut input = Input::new(data);
    let (ty, format) = field(&mut input);
    let value = input.rest();
    let mut out = b"before".to_vec();
    let rendered = render(value, ty, format, &mut out);
    let shown = out.strip_prefix(b"before").expect("what was there stays");
    assert!(shown.len() <= 4 * value.len() + ALLOWANCE, "{} bytes of {}", shown.len(), value.len());
    match (rendered, format) {
        (Rendered::Raw, Format::Binary) => assert_eq!(shown, value),
        // A registered object is its number here, since its name is not known.
        (Rendered::Text, Format::Binary) if ty.kind() != Kind::Reg && !is_taken_on_trust(ty.kind()) => {
            assert!(validity::text(ty, shown), "{ty:?}: {:?}", String::from_utf8_lossy(shown));
        }
        _ => {}
    }
}

/// Types whose binary form is their text, which nobody looks into, or holds such texts.
fn is_taken_on_trust(kind: Kind) -> bool {
    kind.is_text_like()
        || matches!(kind, Kind::Char | Kind::Json | Kind::Jsonb | Kind::JsonPath | Kind::Xml | Kind::Array(_))
}

/// A type, with a modifier now and then, and a format.
pub(crate) fn field(input: &mut Input<'_>) -> (FieldType, Format) {
    let oid = input.pick(&TYPES);
    let format = if input.byte() & 1 == 0 { Format::Text } else { Format::Binary };
    let typmod = match input.byte() {
        0..=0x7F => -1,
        0x80..=0xBF => 4 + i32::from(input.byte()),
        _ => i32::from(input.short()) << 16 | i32::from(input.short()),
    };
    (FieldType { oid, typmod }, format)
}
