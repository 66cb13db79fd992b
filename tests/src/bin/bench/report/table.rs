//! Tables in Markdown, their columns aligned for people at a terminal.

use crate::{memory::Memory, report::Report, workloads::Workload};

/// The median speed of everybody in every workload; one table for all that have the same entries.
pub fn speeds(report: &Report) -> String {
    let mut tables: Vec<Table> = Vec::new();
    for (workload, measured) in &report.results {
        let head = head(workload);
        if tables.last().is_none_or(|table| table.rows[0] != head) {
            tables.push(Table { rows: vec![head] });
        }
        let speeds = (0..workload.entries.len()).map(|index| grouped(measured.speed(index)));
        let row = [workload.title.to_owned(), workload.unit.to_owned()].into_iter().chain(speeds).collect();
        tables.last_mut().expect("one was pushed").rows.push(row);
    }
    tables.iter().map(Table::text).collect::<Vec<_>>().join("\n")
}

/// What was wanted and what was reached.
pub fn goals(report: &Report) -> String {
    let mut table = Table::new(&["workload", "who", "beside", "median", "rounds", "wanted", ""]);
    for (workload, measured) in &report.results {
        for reached in workload.reached(measured) {
            let (least, most) = reached.range();
            let word = if reached.is_met() { "met" } else { "not met" };
            table.row(&[
                workload.title,
                reached.goal.who,
                reached.goal.beside,
                &format!("{:.3}", reached.median()),
                &format!("{least:.3} to {most:.3}"),
                &format!("{:.2}", reached.goal.at_least),
                word,
            ]);
        }
    }
    table.text()
}

/// Memory of idle sessions and of large results.
pub fn memory(memory: &Memory) -> String {
    let mut idle = Table::new(&["idle sessions", "KB each"]);
    for (who, bytes) in &memory.idle {
        idle.row(&[who, &format!("{:.0}", bytes / 1000.0)]);
    }
    let mut peaks = Table::new(&["highest RSS during a SELECT", "1M rows", "4M rows"]);
    for peak in &memory.peaks {
        let [small, large] =
            [peak.small, peak.large].map(|bytes| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)));
        peaks.row(&[peak.who, &small, &large]);
    }
    format!("{}\n{}", idle.text(), peaks.text())
}

fn head(workload: &Workload) -> Vec<String> {
    let entries = workload.entries.iter().map(|entry| entry.who);
    ["workload", "unit"].into_iter().chain(entries).map(str::to_owned).collect()
}

/// Rows of cells; the first is the head.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.row(head);
        table
    }

    fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }

    /// The table, or nothing where it has no row but the head.
    fn text(&self) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| self.rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        let line = |row: &[String]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
            format!("|{}\n", cells.collect::<String>())
        };
        let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
        let body = self.rows[1..].iter().map(|row| line(row));
        format!("{}|{rule}\n{}", line(&self.rows[0]), body.collect::<String>())
    }
}

/// A number with its thousands set apart: `1,234,567`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
