//! How the contract's names and flags are written in JSON: a name with dots between its parts, flags
//! as a list of their words.

use bitflags::Flags;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{Access, Classes, ColumnName, RelationName, Usage};

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn text() -> String {
    "text".to_owned()
}

impl<'de> Deserialize<'de> for RelationName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [schema, name] = parts(String::deserialize(deserializer)?)?;
        Ok(Self { schema, name })
    }
}

impl<'de> Deserialize<'de> for ColumnName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [schema, relation, column] = parts(String::deserialize(deserializer)?)?;
        Ok(Self { schema, relation, column })
    }
}

/// The last `N` parts of a dotted name; those that it does not have are empty.
fn parts<const N: usize, E: Error>(name: String) -> Result<[String; N], E> {
    let mut parts = [const { String::new() }; N];
    let mut slots = parts.iter_mut().rev();
    for part in name.rsplit('.') {
        let slot = slots.next().ok_or_else(|| E::custom(format_args!("`{name}` has more than {N} parts")))?;
        part.clone_into(slot);
    }
    Ok(parts)
}

/// Flags from a list of their words in lower case.
fn flags<'de, F: Flags, D: Deserializer<'de>>(deserializer: D) -> Result<F, D::Error> {
    let mut flags = F::empty();
    for word in Vec::<String>::deserialize(deserializer)? {
        let known = F::FLAGS.iter().find(|flag| flag.name().eq_ignore_ascii_case(&word));
        let flag = known.ok_or_else(|| D::Error::custom(format_args!("there is no flag `{word}`")))?;
        flags.insert(F::from_bits_retain(flag.value().bits()));
    }
    Ok(flags)
}

impl<'de> Deserialize<'de> for Classes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        flags(deserializer)
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        flags(deserializer)
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        flags(deserializer)
    }
}
