//! `truncate-date`. Binary values are cut in UTC; text is cut as written, in its own time zone, and
//! only where it is in ISO style, since the others do not tell days from months.

use sluicegate_core::DateUnit;

use super::Field;
use crate::codec::value::{
    Format, Kind,
    datetime::{Civil, DAY, HOUR},
    push,
};

/// 4714-11-24 BC, the first day that PostgreSQL knows, in days since 2000-01-01.
const FIRST_DAY: i64 = -2_451_545;

/// Cuts a date or a timestamp down to `unit`.
pub(super) fn truncate(field: &Field<'_>, unit: DateUnit, out: &mut Vec<u8>) -> Option<()> {
    match (field.kind, field.format) {
        (Kind::Date | Kind::Timestamp | Kind::TimestampTz, Format::Text) => truncate_text(field, unit, out),
        (Kind::Date, Format::Binary) => {
            let days = i32::from_be_bytes(field.value.try_into().ok()?);
            let cut = match days {
                i32::MAX | i32::MIN => days,
                days => i32::try_from(truncate_days(i64::from(days), unit)?).ok()?,
            };
            out.extend_from_slice(&cut.to_be_bytes());
            Some(())
        }
        (Kind::Timestamp | Kind::TimestampTz, Format::Binary) => {
            let micros = i64::from_be_bytes(field.value.try_into().ok()?);
            let cut = match (micros, unit) {
                (i64::MAX | i64::MIN, _) => micros,
                (micros, DateUnit::Hour) => micros.checked_sub(micros.rem_euclid(HOUR))?,
                (micros, unit) => truncate_days(micros.div_euclid(DAY), unit)?.checked_mul(DAY)?,
            };
            out.extend_from_slice(&cut.to_be_bytes());
            Some(())
        }
        _ => None,
    }
}

fn truncate_days(days: i64, unit: DateUnit) -> Option<i64> {
    let civil = Civil::from_days(days);
    let cut = match unit {
        DateUnit::Year => Civil { month: 1, day: 1, ..civil }.to_days(),
        DateUnit::Month => Civil { day: 1, ..civil }.to_days(),
        DateUnit::Day | DateUnit::Hour => days,
    };
    (cut >= FIRST_DAY).then_some(cut)
}

fn truncate_text(field: &Field<'_>, unit: DateUnit, out: &mut Vec<u8>) -> Option<()> {
    let text = std::str::from_utf8(field.value).ok()?;
    if matches!(text, "infinity" | "-infinity") {
        push(out, text);
        return Some(());
    }
    let Iso { year, month, day, hour, zone, is_bc } = Iso::parse(text, field.kind)?;
    let date = match unit {
        DateUnit::Year => format!("{year}-01-01"),
        DateUnit::Month => format!("{year}-{month}-01"),
        DateUnit::Day | DateUnit::Hour => format!("{year}-{month}-{day}"),
    };
    // West of Greenwich the first day is over a little later.
    let first = if field.kind == Kind::TimestampTz { "4714-11-25" } else { "4714-11-24" };
    if is_bc && year == "4714" && date.as_str() < first {
        return None;
    }
    push(out, date);
    if field.kind != Kind::Date {
        let hour = if unit == DateUnit::Hour { hour } else { "00" };
        push(out, format_args!(" {hour}:00:00{zone}"));
    }
    push(out, if is_bc { " BC" } else { "" });
    Some(())
}

/// `2024-03-05 10:11:12.5+02 BC` in its parts.
struct Iso<'a> {
    year: &'a str,
    month: &'a str,
    day: &'a str,
    hour: &'a str,
    zone: &'a str,
    is_bc: bool,
}

impl<'a> Iso<'a> {
    fn parse(text: &'a str, kind: Kind) -> Option<Self> {
        let (text, is_bc) = match text.strip_suffix(" BC") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (date, time) = match kind {
            Kind::Date => (text, "00:00:00"),
            _ => text.split_once(' ')?,
        };
        let (time, zone) = match kind {
            Kind::TimestampTz => time.split_at_checked(time.find(['+', '-'])?)?,
            _ => (time, ""),
        };
        let mut parts = date.split('-');
        let [year, month, day] = [parts.next()?, parts.next()?, parts.next()?];
        let mut clock = time.split(':');
        let [hour, minute, second] = [clock.next()?, clock.next()?, clock.next()?];
        let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
        let is_iso = parts.next().is_none()
            && clock.next().is_none()
            && (4..=7).contains(&year.len())
            && [month, day, hour, minute, second].iter().all(|two| two.len() == 2)
            && [year, month, day, hour, minute, second, fraction].iter().all(|part| is_digits(part))
            && is_zone(zone);
        is_iso.then_some(Self { year, month, day, hour, zone, is_bc })
    }
}

/// `+02`, `-03:30`, `+00:19:32`, or nothing.
fn is_zone(zone: &str) -> bool {
    zone.is_empty() || zone.get(1..).is_some_and(|z| z.split(':').all(|part| part.len() == 2 && is_digits(part)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
