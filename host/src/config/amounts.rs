//! Lengths of time and sizes as people write them, `90d` and `10GiB`, and the bounds of every number in
//! the file.

use std::{fmt, marker::PhantomData, ops::RangeInclusive, str::FromStr, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::report::{Problem, Report};

/// A length of time, such as `90d` or `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// A number of bytes, such as `8KiB`, or 8192.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Time {
    /// That many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// That many days.
    pub const fn days(days: u64) -> Self {
        Self::seconds(days * 24 * 60 * 60)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ByteSize(self.0).display().iec().fmt(f)
    }
}

/// The text is not such an amount.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not {meant}", written.escape_debug())]
pub struct AmountError {
    written: String,
    meant: &'static str,
}

/// What both are read by.
trait Amount: FromStr<Err = AmountError> {
    /// What is meant, with an example.
    const MEANT: &'static str;
    /// What a number without a unit is; none where it needs one.
    fn plain(number: u64) -> Option<Self>;
}

impl Amount for Time {
    const MEANT: &'static str = "a length of time: write a number and a unit, such as \"30m\", \"1h 30m\" or \"90d\"";

    fn plain(_: u64) -> Option<Self> {
        None
    }
}

impl Amount for Bytes {
    const MEANT: &'static str = "a size: write a number and a unit, such as \"8KiB\" or \"10GiB\"";

    fn plain(number: u64) -> Option<Self> {
        Some(Self(number))
    }
}

impl FromStr for Time {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let wrong = |_| AmountError { written: text.to_owned(), meant: Self::MEANT };
        humantime::parse_duration(text).map(Self).map_err(wrong)
    }
}

impl FromStr for Bytes {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let wrong = |_| AmountError { written: text.to_owned(), meant: Self::MEANT };
        text.parse::<ByteSize>().map(|size| Self(size.as_u64())).map_err(wrong)
    }
}

struct Reading<A>(PhantomData<A>);

impl<A: Amount> de::Visitor<'_> for Reading<A> {
    type Value = A;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A::MEANT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<A, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<A, E> {
        let plain = u64::try_from(number).ok().and_then(A::plain);
        plain.ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading(PhantomData))
    }
}

/// The value of a key where it keeps to its bounds; else it is reported.
pub fn within<T: PartialOrd + fmt::Display>(
    report: &mut Report,
    key: &str,
    written: Option<Spanned<T>>,
    bounds: RangeInclusive<T>,
) -> Option<T> {
    let written = written?;
    if bounds.contains(written.get_ref()) {
        return Some(written.into_inner());
    }
    let message =
        format!("`{key}` is between {} and {}, and this is {}", bounds.start(), bounds.end(), written.get_ref());
    report.push(Problem::error(message).at(written.span()));
    None
}
