//! How listings look: tables that fit the terminal, times in the reader's own zone, and nothing that a
//! client wrote may steer the terminal.

use std::{
    fmt::Display,
    io::{ErrorKind, IsTerminal, Write},
};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableComponent, presets::NOTHING};
use jiff::{Timestamp, tz::TimeZone};

/// Prints a listing, a script or a line. A reader that has seen enough, such as `head`, is no error.
pub fn out(listing: impl Display) -> std::io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{listing}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// A table with these headers, whose first column is never broken. On a terminal it has the terminal's width, elsewhere that of
/// `COLUMNS`, and without one its lines are as long as they are.
pub fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(headers);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width >= 40);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else if let Some(width) = columns {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// A time in the record, in the reader's zone.
pub fn time(milliseconds: i64) -> String {
    format_time(milliseconds, "%Y-%m-%d %H:%M:%S")
}

/// The same without its date.
pub fn time_of_day(milliseconds: i64) -> String {
    format_time(milliseconds, "%H:%M:%S%.3f")
}

/// How long something took, in the two largest units that matter.
pub fn duration(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{} ms", milliseconds.max(0)),
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A text of unknown origin on one line: control characters, which could steer the terminal, are
/// written out.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => out.push(' '),
            c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Characters that reorder or hide text (Unicode UAX #9 and the zero-width ones).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn format_time(milliseconds: i64, format: &str) -> String {
    match Timestamp::from_millisecond(milliseconds) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime(format).to_string(),
        Err(_) => format!("{milliseconds} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_text_cannot_steer_the_terminal() {
        assert_eq!(printable("select 1\n-- \u{1b}[2J\u{202e}x\u{7}"), "select 1 -- \\u{1b}[2J\\u{202e}x\\u{7}");
    }

    #[test]
    fn durations_are_short() {
        let all = [-5, 999, 59_000, 61_500, 3_661_000].map(duration);
        assert_eq!(all, ["0 ms", "999 ms", "59 s", "1 min 1 s", "1 h 1 min"]);
    }
}
