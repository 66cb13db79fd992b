//! The field names that a `Deserialize` struct knows, asked of the struct itself, so that the keys a
//! section accepts are written down once and every unknown key can be named, not only the first.

use std::marker::PhantomData;

use serde::{
    Deserialize,
    de::{Deserializer, Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

/// The keys that `T` knows; empty where `T` is not a plain struct.
pub fn of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    let probe: Probe<'_, T> = Probe { fields: &mut fields, of: PhantomData };
    // The probe always ends in an error: it has names to take and no values to give.
    drop(T::deserialize(probe));
    fields
}

struct Probe<'a, T> {
    fields: &'a mut &'static [&'static str],
    of: PhantomData<T>,
}

impl<'de, T> Deserializer<'de> for Probe<'_, T> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("only field names are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.fields = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
