//! When a role is held: windows of the week such as `mon-fri 08:00-18:00 Europe/Berlin`. Pure.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The days' names, from the first of the week.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A window of the week: some days, from one time until another, in a time zone. One that ends at or before its
/// beginning ends on the next day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: [bool; 7],
    from: Time,
    to: Time,
    zone: TimeZone,
    text: String,
}

/// The text is no window.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no time of the week: write days, times and, unless it is UTC, a time zone, such as `mon-fri 08:00-18:00 Europe/Berlin`"
)]
pub struct WindowError(String);

impl Window {
    /// When the window ends in which this moment is; none where it is in none. In milliseconds since the Unix epoch.
    pub fn open_until(&self, now: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(now).ok()?;
        let today = now.to_zoned(self.zone.clone()).date();
        // It may have begun yesterday.
        [Some(today), today.yesterday().ok()].into_iter().flatten().find_map(|day| self.of_day(day, now))
    }

    fn of_day(&self, day: Date, now: Timestamp) -> Option<i64> {
        let index = usize::try_from(day.weekday().to_monday_zero_offset()).ok()?;
        if !*self.days.get(index)? {
            return None;
        }
        let last = if self.to <= self.from { day.tomorrow().ok()? } else { day };
        let at = |day: Date, time: Time| Some(day.to_datetime(time).to_zoned(self.zone.clone()).ok()?.timestamp());
        let (from, to) = (at(day, self.from)?, at(last, self.to)?);
        (from <= now && now < to).then(|| to.as_millisecond())
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        parse(text).ok_or_else(|| WindowError(text.escape_debug().to_string()))
    }
}

fn parse(text: &str) -> Option<Window> {
    let mut words = text.split_ascii_whitespace();
    let days = days(words.next()?)?;
    let (from, to) = words.next()?.split_once('-')?;
    let zone = words.next().map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())?;
    let time = |text: &str| Time::strptime("%H:%M", text).ok();
    let window = Window { days, from: time(from)?, to: time(to)?, zone, text: text.to_owned() };
    words.next().is_none().then_some(window)
}

/// `mon-fri`, `sat`, `mon,wed`.
fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    let named = |name: &str| DAYS.iter().position(|day| *day == name);
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (named(first)?, named(last)?);
        // `sat-mon` goes over the end of the week.
        let length = (last + 7 - first) % 7;
        (first..=first + length).for_each(|day| {
            if let Some(day) = days.get_mut(day % 7) {
                *day = true;
            }
        });
    }
    Some(days)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(window: &str, now: &str) -> Option<String> {
        let now: Timestamp = now.parse().unwrap();
        let end = window.parse::<Window>().unwrap().open_until(now.as_millisecond())?;
        Some(Timestamp::from_millisecond(end).unwrap().to_string())
    }

    #[test]
    fn a_window_is_open_from_its_first_moment_to_its_last() {
        let week = "mon-fri 08:00-18:00";
        // 2026-11-27 is a Friday.
        assert_eq!(until(week, "2026-11-27T08:00:00Z").unwrap(), "2026-11-27T18:00:00Z");
        assert_eq!(until(week, "2026-11-27T17:59:59Z").unwrap(), "2026-11-27T18:00:00Z");
        for closed in ["2026-11-27T07:59:59Z", "2026-11-27T18:00:00Z", "2026-11-28T12:00:00Z"] {
            assert_eq!(until(week, closed), None, "{closed}");
        }
    }

    #[test]
    fn a_window_may_go_over_midnight_and_the_end_of_the_week() {
        let night = "sun 22:00-06:00";
        assert_eq!(until(night, "2026-11-29T23:00:00Z").unwrap(), "2026-11-30T06:00:00Z");
        assert_eq!(until(night, "2026-11-30T05:59:00Z").unwrap(), "2026-11-30T06:00:00Z");
        assert_eq!(until(night, "2026-11-29T05:00:00Z"), None);
        let long = "sat-mon 00:00-00:00";
        assert!(["28", "29", "30"].iter().all(|day| until(long, &format!("2026-11-{day}T12:00:00Z")).is_some()));
        assert_eq!(until(long, "2026-12-01T12:00:00Z"), None);
    }

    #[test]
    fn a_window_follows_its_time_zone_through_the_change_of_clocks() {
        let berlin = "mon-sun 08:00-18:00 Europe/Berlin";
        assert_eq!(until(berlin, "2026-07-01T06:00:00Z").unwrap(), "2026-07-01T16:00:00Z");
        assert_eq!(until(berlin, "2026-12-01T06:00:00Z"), None);
        assert_eq!(until(berlin, "2026-12-01T07:00:00Z").unwrap(), "2026-12-01T17:00:00Z");
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for wrong in [
            "",
            "mon",
            "mon 8-18",
            "someday 08:00-18:00",
            "mon 08:00-25:00",
            "mon 08:00-18:00 Mars/Base",
            "mon 08:00-18:00 UTC now",
        ] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
