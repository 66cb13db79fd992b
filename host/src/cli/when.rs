//! Points in time on the command line: how long ago, a date and time of the reader's zone, or RFC 3339.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// Reads a point in time as milliseconds since the Unix epoch.
pub fn parse(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(duration) = humantime::parse_duration(text.strip_suffix("ago").unwrap_or(text).trim_end()) {
        let ago = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::now().as_millisecond().saturating_sub(ago));
    }
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact.as_millisecond());
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|date| date.at(0, 0, 0, 0)));
    let zoned = local.and_then(|local| local.to_zoned(TimeZone::system()));
    zoned.map(|zoned| zoned.timestamp().as_millisecond()).map_err(|_| {
        "write how long ago (`2h`, `7d`), a local date or time (`2026-05-01`, `2026-05-01 14:30`) or RFC 3339 \
         (`2026-05-01T14:30:00Z`)"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_relative_local_or_exact() {
        let now = Timestamp::now().as_millisecond();
        for text in ["2h 30m", "150m ago"] {
            let ago = now - parse(text).unwrap();
            assert!((9_000_000 - 1_000..=9_000_000).contains(&ago), "{ago}");
        }
        assert_eq!(parse("2026-05-01T14:30:00Z"), Ok(1_777_645_800_000));
        assert_eq!(parse("2026-05-01T16:30:00+02:00"), parse("2026-05-01T14:30:00Z"));
        let (midnight, noon) = (parse("2026-05-01").unwrap(), parse("2026-05-01 12:00").unwrap());
        assert_eq!(noon - midnight, 12 * 3_600_000);
        for wrong in ["", "yesterday", "5", "2026-13-01", "-2h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
