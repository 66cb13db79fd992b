//! Masks the values in which something was detected: all of a value that is nothing else, otherwise
//! only the detected parts of its text.

use sluicegate_policy::{Cell, Column, Mask, ResultSet, RowsVerdict, Values};

use crate::{
    scan::{Kind, Scanner, Span},
    settings::{KEPT, Style},
};

/// Stands where an item was.
const REDACTED: &str = "[redacted]";

/// Types whose text may be rewritten and stays valid.
const TEXT_TYPES: [&str; 6] = ["text", "varchar", "bpchar", "citext", "name", "unknown"];

/// Collects the cells of one batch.
pub(crate) struct Masker<'a> {
    scanner: &'a Scanner,
    style: Style,
    result: &'a ResultSet,
    columns: Option<Vec<Column>>,
    spans: Vec<Span>,
    cells: Vec<Cell>,
}

impl<'a> Masker<'a> {
    pub(crate) fn new(scanner: &'a Scanner, style: Style, result: &'a ResultSet) -> Self {
        Self { scanner, style, result, columns: None, spans: Vec::new(), cells: Vec::new() }
    }

    /// Scans one column's values.
    pub(crate) fn mask(&mut self, values: &Values) {
        for (row, value) in (0_u32..).zip(values.iter()) {
            let Some(bytes) = value else { continue };
            self.scanner.scan(bytes, &mut self.spans);
            if !self.spans.is_empty() {
                let mask = self.mask_of(values.column, bytes);
                self.cells.push(Cell { row, column: values.column, mask });
            }
        }
    }

    pub(crate) fn verdict(self) -> RowsVerdict {
        if self.cells.is_empty() { RowsVerdict::Pass } else { RowsVerdict::Mask(self.cells) }
    }

    fn mask_of(&mut self, column: u32, bytes: &[u8]) -> Mask {
        if self.style == Style::Null {
            return Mask::Null;
        }
        if let [only] = self.spans.as_slice()
            && bytes.get(only.start..only.end) == Some(bytes.trim_ascii())
        {
            return self.style.item_mask(only.kind);
        }
        let text = if self.is_text(column) { std::str::from_utf8(bytes).ok() } else { None };
        match text.and_then(|text| rewrite(text, &self.spans, self.style)) {
            Some(text) => Mask::Replace(text),
            None => self.style.holder_mask(),
        }
    }

    /// The result's columns are asked for only once something was found.
    fn is_text(&mut self, column: u32) -> bool {
        let columns = self.columns.get_or_insert_with(|| self.result.columns());
        columns.get(column as usize).is_some_and(|column| TEXT_TYPES.contains(&column.type_name.as_str()))
    }
}

/// The text with the detected parts masked; none where a part does not end between characters.
fn rewrite(text: &str, spans: &[Span], style: Style) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    for span in spans {
        out.push_str(text.get(kept..span.start)?);
        let item = text.get(span.start..span.end)?;
        match style {
            Style::Partial if !span.kind.is_secret() => push_partial(&mut out, item, span.kind),
            // The key of the hash is the gateway's, so within a text there is no hash.
            _ => out.push_str(REDACTED),
        }
        kept = span.end;
    }
    out.push_str(text.get(kept..)?);
    Some(out)
}

fn push_partial(out: &mut String, item: &str, kind: Kind) {
    if kind == Kind::Email {
        let (local, domain) = item.rsplit_once('@').unwrap_or((item, ""));
        out.extend(local.chars().take(1));
        out.push_str("***@");
        out.push_str(domain);
        return;
    }
    let stars = item.chars().count().saturating_sub(KEPT as usize);
    out.extend(item.chars().enumerate().map(|(index, c)| if index < stars { '*' } else { c }));
}
