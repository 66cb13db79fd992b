//! Dates and times in binary, counted from 2000-01-01 in the proleptic Gregorian calendar:
//! `src/backend/utils/adt/date.c` and `timestamp.c`.

use super::push;

/// Microseconds in an hour.
pub(crate) const HOUR: i64 = 3_600_000_000;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 24 * HOUR;

/// Days from 0000-03-01 to 2000-01-01.
const EPOCH: i64 = 730_425;
/// Days in 400 years.
const CYCLE: i64 = 146_097;

/// A day of the calendar. Year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
}

impl Civil {
    /// The day that is `days` after 2000-01-01. Years are counted from March, so that the leap day
    /// is a year's last.
    pub(crate) fn from_days(days: i64) -> Self {
        let days = days + EPOCH;
        let in_cycle = days.rem_euclid(CYCLE);
        let year_of_cycle = (in_cycle - in_cycle / 1460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
        let in_year = in_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let from_march = (5 * in_year + 2) / 153;
        let day = in_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_cycle + 400 * days.div_euclid(CYCLE) + i64::from(month <= 2);
        Self { year, month, day }
    }

    /// Days since 2000-01-01.
    pub(crate) fn to_days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let from_march = (self.month + 9) % 12;
        let in_year = (153 * from_march + 2) / 5 + self.day - 1;
        let year_of_cycle = year.rem_euclid(400);
        let in_cycle = 365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100 + in_year;
        year.div_euclid(400) * CYCLE + in_cycle - EPOCH
    }
}

/// Appends a `date`.
pub(crate) fn render_date(days: i32, out: &mut Vec<u8>) {
    match days {
        i32::MAX => push(out, "infinity"),
        i32::MIN => push(out, "-infinity"),
        days => {
            let before_christ = put_day(i64::from(days), out);
            push(out, before_christ);
        }
    }
}

/// Appends a `time`, given in microseconds since midnight; 24:00 is a time.
pub(crate) fn render_time(micros: i64, out: &mut Vec<u8>) -> Option<()> {
    if !(0..=DAY).contains(&micros) {
        return None;
    }
    put_time(micros, out);
    Some(())
}

/// Appends a `timestamp`, or a `timestamptz` with its `zone`.
pub(crate) fn render_timestamp(micros: i64, zone: &str, out: &mut Vec<u8>) {
    match micros {
        i64::MAX => push(out, "infinity"),
        i64::MIN => push(out, "-infinity"),
        micros => {
            let before_christ = put_day(micros.div_euclid(DAY), out);
            out.push(b' ');
            put_time(micros.rem_euclid(DAY), out);
            push(out, zone);
            push(out, before_christ);
        }
    }
}

/// Appends the day, and returns what must follow the time.
fn put_day(days: i64, out: &mut Vec<u8>) -> &'static str {
    let Civil { year, month, day } = Civil::from_days(days);
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    push(out, format_args!("{year:04}-{month:02}-{day:02}"));
    suffix
}

fn put_time(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / 1_000_000;
    push(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        push(out, format_args!(".{fraction:06}"));
        let kept = out.iter().rposition(|b| *b != b'0').map_or(0, |at| at + 1);
        out.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(days: i32) -> String {
        let mut out = Vec::new();
        render_date(days, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_of_the_calendar() {
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(-10_957), "1970-01-01");
        assert_eq!(date(59), "2000-02-29");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        // The first and the last day that PostgreSQL knows.
        assert_eq!(date(-2_451_545), "4714-11-24 BC");
        assert_eq!(date(2_145_031_948), "5874897-12-31");
    }

    #[test]
    fn fractions_end_at_their_last_digit() {
        let mut out = Vec::new();
        render_timestamp(-1, "+00", &mut out);
        render_timestamp(120_000_000_100_000, "", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "1999-12-31 23:59:59.999999+002003-10-20 21:20:00.1");
    }

    proptest! {
        #[test]
        fn days_come_back(days in any::<i32>()) {
            let civil = Civil::from_days(i64::from(days));
            prop_assert!((1..=12).contains(&civil.month) && (1..=31).contains(&civil.day));
            prop_assert_eq!(civil.to_days(), i64::from(days));
        }
    }
}
