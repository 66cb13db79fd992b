//! Whether bytes are a value of a PostgreSQL type, in text or in binary, written apart from the codec:
//! by the types' pages of the manual, and by `postgres-protocol` where it reads the type.

use postgres_protocol::types;
use sluicegate_postgres::codec::value::{FieldType, Kind};

/// Days and microseconds since 2000-01-01 that PostgreSQL knows, both ends included.
const DATES: std::ops::RangeInclusive<i32> = -2_451_545..=2_145_031_948;
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -211_813_488_000_000_000..=9_223_371_331_199_999_999;

/// Whether the text is one of this type, as the server writes it.
pub(crate) fn text(ty: FieldType, bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let number = |text: &str| text.parse::<i64>().is_ok();
    match ty.kind() {
        kind if kind.is_text_like() => fits(ty, text),
        Kind::Char => text.len() <= 4,
        Kind::Json | Kind::Jsonb => text.starts_with(['"', '{', '[', 't', 'f', 'n', '-']) || starts_with_digit(text),
        Kind::JsonPath | Kind::Xml | Kind::TsQuery | Kind::Reg => !text.is_empty(),
        Kind::TsVector => true,
        Kind::Int2 => text.parse::<i16>().is_ok(),
        Kind::Int4 => text.parse::<i32>().is_ok(),
        Kind::Int8 => number(text),
        Kind::Xid8 => text.parse::<u64>().is_ok(),
        Kind::Oid => text.parse::<u32>().is_ok(),
        Kind::Float4 | Kind::Float8 => is_special(text) || text.parse::<f64>().is_ok_and(f64::is_finite),
        Kind::Numeric => is_special(text) || is_decimal(text),
        Kind::Money => number(&text.replace(['$', ',', '.'], "")),
        Kind::Bool => matches!(text, "t" | "f"),
        Kind::Uuid => has_shape(text, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"),
        Kind::Bytea => text.strip_prefix("\\x").is_some_and(|hex| hex.len() % 2 == 0 && is_hex(hex)),
        Kind::Date => is_infinite(text) || is_date(text.strip_suffix(" BC").unwrap_or(text)),
        Kind::Time => is_time(text),
        Kind::TimeTz => zoned(text, is_time),
        Kind::Timestamp => is_infinite(text) || is_timestamp(text.strip_suffix(" BC").unwrap_or(text)),
        Kind::TimestampTz => is_infinite(text) || zoned(text.strip_suffix(" BC").unwrap_or(text), is_timestamp),
        Kind::Interval => !text.is_empty(),
        Kind::Inet | Kind::Cidr => is_network(text),
        Kind::MacAddr => has_shape(text, "hh:hh:hh:hh:hh:hh"),
        Kind::MacAddr8 => has_shape(text, "hh:hh:hh:hh:hh:hh:hh:hh"),
        Kind::Bit => width(ty).is_none_or(|width| text.len() == width) && is_bits(text),
        Kind::VarBit => is_bits(text),
        Kind::PgLsn => text.split_once('/').is_some_and(|(a, b)| is_hex(a) && is_hex(b)),
        Kind::Array(_) => (text.starts_with('{') || text.starts_with('[')) && text.ends_with('}'),
        _ => true,
    }
}

/// Whether the bytes are one of this type, as the server sends it.
pub(crate) fn binary(ty: FieldType, bytes: &[u8]) -> bool {
    let versioned = || matches!(bytes, [1, text @ ..] if std::str::from_utf8(text).is_ok());
    match ty.kind() {
        Kind::Jsonb | Kind::JsonPath => versioned(),
        Kind::Int2 => types::int2_from_sql(bytes).is_ok(),
        Kind::Int4 => types::int4_from_sql(bytes).is_ok(),
        Kind::Int8 | Kind::Money | Kind::Xid8 => types::int8_from_sql(bytes).is_ok(),
        Kind::Oid | Kind::Reg => types::oid_from_sql(bytes).is_ok(),
        Kind::Float4 => types::float4_from_sql(bytes).is_ok(),
        Kind::Float8 => types::float8_from_sql(bytes).is_ok(),
        Kind::Numeric => is_numeric(bytes),
        Kind::Bool => types::bool_from_sql(bytes).is_ok(),
        Kind::Uuid => types::uuid_from_sql(bytes).is_ok(),
        Kind::Date => types::date_from_sql(bytes).is_ok_and(|d| DATES.contains(&d) || d == i32::MAX || d == i32::MIN),
        Kind::Time => types::time_from_sql(bytes).is_ok_and(|t| (0..=86_400_000_000).contains(&t)),
        Kind::TimeTz => bytes.len() == 12,
        Kind::Timestamp | Kind::TimestampTz => {
            types::timestamp_from_sql(bytes).is_ok_and(|t| TIMESTAMPS.contains(&t) || t == i64::MAX || t == i64::MIN)
        }
        Kind::Interval => bytes.len() == 16,
        Kind::Inet | Kind::Cidr => types::inet_from_sql(bytes).is_ok(),
        Kind::MacAddr => types::macaddr_from_sql(bytes).is_ok(),
        Kind::MacAddr8 => bytes.len() == 8,
        Kind::Bit | Kind::VarBit => types::varbit_from_sql(bytes).is_ok(),
        Kind::TsVector => bytes.len() >= 4,
        Kind::TsQuery => bytes.len() > 4,
        Kind::PgLsn => types::lsn_from_sql(bytes).is_ok(),
        Kind::Array(element) => types::array_from_sql(bytes).is_ok_and(|array| array.element_type() == element),
        Kind::Bytea | Kind::Other => true,
        _ => text(ty, bytes),
    }
}

/// The `n` of `varchar(n)`, `char(n)` and `bit(n)`.
pub(crate) fn width(ty: FieldType) -> Option<usize> {
    let header = if ty.kind() == Kind::Bit { 0 } else { 4 };
    usize::try_from(ty.typmod.checked_sub(header)?).ok()
}

fn fits(ty: FieldType, text: &str) -> bool {
    match ty.kind() {
        Kind::Name => text.len() <= 63,
        Kind::VarChar | Kind::BpChar => width(ty).is_none_or(|most| text.chars().count() <= most),
        _ => true,
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_special(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

fn is_infinite(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_bits(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0' | b'1'))
}

fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => is_digits(unsigned),
    }
}

/// Whether the text has this shape: `h` a hexadecimal digit, `d` a decimal one, all else itself.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'h' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            shape => byte == shape,
        })
}

/// A day that the calendar has.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else { return false };
    if year.len() < 4 || !is_digits(year) || !has_shape(month, "dd") || !has_shape(day, "dd") {
        return false;
    }
    // Leap days of years before Christ are taken on trust.
    let days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = month.parse::<usize>().unwrap_or(0);
    let most = month.checked_sub(1).and_then(|at| days.get(at)).copied().unwrap_or(0);
    (1..=most).contains(&day.parse::<u32>().unwrap_or(0))
}

fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let part = |at: usize| clock.get(at..at + 2).and_then(|two| two.parse::<u32>().ok());
    has_shape(clock, "dd:dd:dd")
        && (1..=6).contains(&fraction.len())
        && is_digits(fraction)
        && part(0).is_some_and(|hour| hour <= 24)
        && part(3).is_some_and(|minute| minute < 60)
        && part(6).is_some_and(|second| second < 60)
}

fn is_timestamp(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(date, time)| is_date(date) && is_time(time))
}

/// Whether a zone follows what `rest` takes: `+00`, `-03:30`, `+00:19:32`.
fn zoned(text: &str, rest: impl Fn(&str) -> bool) -> bool {
    let Some(at) = text.rfind(['+', '-']) else { return false };
    let (before, zone) = text.split_at(at);
    rest(before) && ["dd", "dd:dd", "dd:dd:dd"].iter().any(|shape| has_shape(&zone[1..], shape))
}

fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    address.parse::<std::net::IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 128)
}

/// `numeric_recv`: as many digits of four decimals as announced, and a sign that exists.
fn is_numeric(bytes: &[u8]) -> bool {
    let Some((head, digits)) = bytes.split_first_chunk::<8>() else { return false };
    let [count, _weight, sign, scale] = [0, 2, 4, 6].map(|at| u16::from_be_bytes([head[at], head[at + 1]]));
    digits.len() == usize::from(count) * 2
        && matches!(sign, 0 | 0x4000 | 0xC000 | 0xD000 | 0xF000)
        && scale <= 0x3FFF
        && digits.chunks(2).all(|pair| u16::from_be_bytes([pair[0], pair[1]]) < 10_000)
}
