//! A packed entry as JSON for people. It is made from the bytes alone and knows no type of this
//! version, so that an export stays valid whatever fields later versions add.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};

/// How deep an entry may nest; events nest about ten deep.
const MAX_DEPTH: usize = 64;

/// The JSON of a packed entry: fields in the order of the bytes. `null` where they are no MessagePack
/// of a kind that the record writes; the hash then tells that they were changed.
pub(super) fn json(packed: &[u8]) -> String {
    read(packed).and_then(|value| serde_json::to_string(&value).ok()).unwrap_or_else(|| "null".to_owned())
}

fn read(packed: &[u8]) -> Option<Value> {
    let mut rest = packed;
    let mut reader = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
    reader.set_max_depth(MAX_DEPTH);
    let value = Value::deserialize(&mut reader).ok()?;
    drop(reader);
    rest.is_empty().then_some(value)
}

/// What MessagePack and JSON have in common, and entries consist of.
enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what an entry consists of")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Signed(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    // Neither list nor map trusts the length that the bytes claim.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Value::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_nothing_else_passes() {
        let packed = rmp_serde::to_vec_named(&serde_json::json!({"b": [null, true, -1, u64::MAX, "ö"]})).unwrap();
        assert_eq!(json(&packed), r#"{"b":[null,true,-1,18446744073709551615,"ö"]}"#);
        let ordered = b"\x82\xa1b\x01\xa1a\x02";
        assert_eq!(json(ordered), r#"{"b":1,"a":2}"#);
        let claims_much = b"\xdd\xff\xff\xff\xff";
        let deep = [vec![0x91; 100_000], vec![0xc0]].concat();
        let trailing = b"\x01\x01";
        for wrong in [&b""[..], claims_much, &deep, trailing, b"\xc4\x01a", b"\xca\0\0\0\0", b"\x81\x01\x01"] {
            assert_eq!(json(wrong), "null");
        }
    }
}
