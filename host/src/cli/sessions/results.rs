//! The results that the record keeps, as tables.

use sluicegate_core::record::Output;

use crate::cli::print::{brief, plain_table};

/// The most characters of a value that are shown; JSON has all that was kept.
const MAX_VALUE: usize = 200;

/// One result's rows. Says where the record has less than the client got.
pub fn results(output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    if !output.columns.is_empty() {
        let headers: Vec<String> = output.columns.iter().map(|name| brief(name, MAX_VALUE)).collect();
        let mut table = plain_table(headers.iter().map(String::as_str));
        for row in &output.rows {
            table.add_row(row.iter().map(|value| value.as_deref().map_or_else(|| "NULL".to_owned(), shown)));
        }
        lines.extend(table.lines().map(|line| line.trim_end().to_owned()));
    } else {
        lines.extend(output.rows.iter().flatten().flatten().map(|value| shown(value)));
    }
    if output.cut {
        lines.push("(the record keeps no more of it)".to_owned());
    }
    lines
}

fn shown(value: &str) -> String {
    brief(value, MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(columns: &[&str], rows: &[&[Option<&str>]], cut: bool) -> Output {
        let row = |row: &&[Option<&str>]| row.iter().map(|value| value.map(str::to_owned)).collect();
        Output { columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows: rows.iter().map(row).collect(), cut }
    }

    #[test]
    fn rows_line_up_and_cannot_steer_the_terminal() {
        let long = "x".repeat(MAX_VALUE + 1);
        let rows: [&[_]; 2] = [&[Some("1"), Some("\u{1b}[31mred")], &[None, Some(&long)]];
        let lines = results(&output(&["id", "na\u{7}me"], &rows, true));
        let text = lines.join("\n");
        assert!(lines[0].contains("id") && lines[0].contains("na\\u{7}me"), "{text}");
        assert!(
            lines[2].contains("\\u{1b}[31mred") && lines[3].contains("NULL") && lines[3].ends_with("x ..."),
            "{text}"
        );
        assert_eq!(lines.last().unwrap(), "(the record keeps no more of it)");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'));
    }

    #[test]
    fn a_copy_without_columns_is_its_lines() {
        assert_eq!(results(&output(&[], &[&[Some("1\t2")], &[Some("3\t4")]], false)), ["1 2", "3 4"]);
    }
}
