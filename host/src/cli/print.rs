//! How listings look: tables that fit the terminal, times in the reader's own zone, and nothing that a
//! client wrote may steer the terminal.

use std::{
    fmt::Display,
    io::{ErrorKind, IsTerminal, Write},
};

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableComponent, presets::NOTHING};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use sluicegate_core::approval::Answer;

/// What a text is about.
pub const BOLD: Style = Style::new().bold();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What was refused or broken.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What waits.
pub const WAITS: Style = AnsiColor::Yellow.on_default().bold();

/// Where a line ends in a text that is shown on one.
const LINE_END: char = '⏎';

/// Prints a listing, a script or a line. A reader that has seen enough, such as `head`, is no error.
pub fn out(listing: impl Display) -> std::io::Result<()> {
    put(listing).map(drop)
}

/// The same for what prints on and on: false once nobody reads any more.
pub fn put(text: impl Display) -> std::io::Result<bool> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true),
    }
}

/// A value as JSON, over several lines.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|text| escaped(&text))
}

/// A value as JSON on one line.
pub fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|text| escaped(&text))
}

/// JSON leaves some characters as they are that could steer a terminal. They only stand in strings, where they may be
/// written out as well. All of them are below U+10000.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => out.push(c),
            c if steers(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A table with these headers, whose first column is never broken. On a terminal it has the terminal's width, elsewhere that of
/// `COLUMNS`, and without one its lines are as long as they are.
pub fn table(headers: &[&str]) -> Table {
    let mut table = plain_table(headers.iter().copied());
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// The same for data: any column may be broken.
pub fn plain_table<'a>(headers: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(headers);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else if let Some(width) = columns() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// Whether there is less room than this many columns: too little for a table of many, so that each of
/// its rows is better told in lines.
pub fn is_narrow(wanted: u16) -> bool {
    let width = if std::io::stdout().is_terminal() { Table::new().width() } else { columns() };
    width.is_some_and(|width| width < wanted)
}

fn columns() -> Option<u16> {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width >= 40)
}

/// Named values, one a line; those that are empty are left out.
pub fn fields_text(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let mut shown = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        shown.push_str(&format!("{BOLD}{name:>width$}{BOLD:#}  {}\n", printable(value)));
    }
    shown
}

/// An answer to an approval on one line, with what or when behind its verb: `bob denied at 12:00: why`.
pub fn answer(answer: &Answer, more: &str) -> String {
    let said = if answer.approved { "approved" } else { "denied" };
    let note = if answer.note.is_empty() { String::new() } else { format!(": {}", answer.note) };
    printable(&format!("{} {said}{more}{note}", answer.approver))
}

/// A time in the record, in the reader's zone.
pub fn time(milliseconds: i64) -> String {
    format_time(milliseconds, "%Y-%m-%d %H:%M:%S")
}

/// The same without its date.
pub fn time_of_day(milliseconds: i64) -> String {
    format_time(milliseconds, "%H:%M:%S%.3f")
}

/// A point in the record: date and time to the millisecond, with the zone's distance from UTC.
pub fn moment(milliseconds: i64) -> String {
    format_time(milliseconds, "%Y-%m-%d %H:%M:%S%.3f %:z")
}

/// How long a machine took.
pub fn micros(micros: u64) -> String {
    let parts = |unit: u64| format!("{}.{}", micros / unit, micros % unit * 10 / unit);
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", parts(1_000)),
        _ => format!("{} s", parts(1_000_000)),
    }
}

/// A number of things: `1 row`, `2 rows`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
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

/// A text of unknown origin on one line: the ends of its lines are to be seen, because a comment may end
/// there, and control characters, which could steer the terminal, are written out.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' | '\r' => out.push(LINE_END),
            '\t' => out.push(' '),
            c if steers(c) || c == LINE_END => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// A value of unknown origin in quotes, which it cannot leave.
pub fn quoted(value: &str) -> String {
    format!("'{}'", printable(value).replace('\'', "''"))
}

/// The same for a text that keeps its lines.
pub fn printable_lines(text: &str) -> Vec<String> {
    let text = text.trim_end().replace("\r\n", "\n");
    text.split(['\n', '\r']).map(|line| printable(line.trim_end())).collect()
}

/// A text of unknown origin on one line, with at most so many characters.
pub fn brief(text: &str, limit: usize) -> String {
    let mut cut: String = text.chars().take(limit).collect();
    if cut.len() < text.len() {
        cut.push_str(" ...");
    }
    printable(&cut)
}

/// Control characters, and those that reorder or hide text (Unicode UAX #9 and the zero-width ones).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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
        assert_eq!(printable("select 1\n-- \u{1b}[2J\u{202e}x\u{7}"), "select 1⏎-- \\u{1b}[2J\\u{202e}x\\u{7}");
    }

    #[test]
    fn where_a_comment_ends_is_seen_and_cannot_be_feigned() {
        let all = ["a -- b\nor true", "a -- b\r\nor true", "a -- b\ror true"];
        assert_eq!(all.map(printable), ["a -- b⏎or true"; 3]);
        assert_eq!(all.map(printable_lines), [["a -- b", "or true"]; 3]);
        assert_eq!(printable("a -- b⏎or true"), "a -- b\\u{23ce}or true");
        assert_eq!(quoted("a', $2 = 'b\n"), "'a'', $2 = ''b⏎'");
    }

    #[test]
    fn a_moment_says_how_far_it_is_from_utc() {
        let shown = moment(0);
        let offset = shown.rsplit(' ').next().unwrap();
        assert!(offset.starts_with(['+', '-']) && offset.len() == 6, "{shown}");
    }

    #[test]
    fn json_cannot_steer_the_terminal_either_and_says_the_same() {
        let text = "a\u{9b}2J\u{202e}\u{7f}\n\u{1b}é";
        for shown in [json(&text).unwrap(), json_line(&text).unwrap()] {
            assert!(!shown.chars().any(steers), "{shown:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }

    #[test]
    fn lines_are_kept_where_they_are_wanted() {
        assert_eq!(printable_lines("select\r\n  1;\n\u{1b}[2J\n\n"), ["select", "  1;", "\\u{1b}[2J"]);
        assert_eq!((brief("größe", 3), brief("größe", 5)), ("grö ...".to_owned(), "größe".to_owned()));
    }

    #[test]
    fn machine_times_have_one_digit_more() {
        assert_eq!([999, 1_234, 61_550_000].map(micros), ["999 µs", "1.2 ms", "61.5 s"]);
    }

    #[test]
    fn durations_are_short() {
        let all = [-5, 999, 59_000, 61_500, 3_661_000].map(duration);
        assert_eq!(all, ["0 ms", "999 ms", "59 s", "1 min 1 s", "1 h 1 min"]);
    }
}
