//! What the record keeps of results: the first rows as the client got them, within a bound. Values that
//! only this caller may see, and those that may repeat a literal where the record keeps no literals, are
//! redacted.

use std::cell::LazyCell;
use std::sync::Arc;

use sluicegate_core::{Resolution, record::Output};
use sluicegate_sql::Analysis;

use super::{Machine, describe::format_of, echo::may_echo, objects::Decided};
use crate::codec::{
    frame::{HEADER, messages},
    message::{self, Field},
    row::DataRow,
    value::{self, FieldType, Format, Rendered},
};

/// The most bytes of one value that are kept.
const MAX_VALUE: usize = 1024;
/// A binary value that is larger is not rendered.
const MAX_RENDERED: usize = 64 * 1024;
/// What stands for a value that others may not see.
const REDACTED: &[u8] = b"[redacted]";
/// Of a type that is not known.
const UNKNOWN: FieldType = FieldType { oid: 0, typmod: -1 };

/// How the values of one column are shown.
#[derive(Clone, Copy)]
enum View {
    Hidden,
    Value(FieldType, Format),
}

/// How a result is shown.
pub struct Layout {
    names: Vec<String>,
    views: Vec<View>,
    /// For columns that are not described.
    other: View,
}

impl Layout {
    /// Of COPY data, whose messages are lines.
    pub fn lines(binary: bool, hidden: bool) -> Self {
        let format = if binary { Format::Binary } else { Format::Text };
        let other = if hidden { View::Hidden } else { View::Value(UNKNOWN, format) };
        Self { names: Vec::new(), views: Vec::new(), other }
    }
}

/// What is kept of the results of one command.
#[derive(Default)]
pub struct Kept {
    /// How many bytes more are kept.
    room: usize,
    results: Vec<Output>,
    views: Vec<View>,
    other: Option<View>,
    /// COPY data may not be shown.
    pub hides_lines: bool,
    /// A result has begun, and more of it may be kept.
    wants: bool,
    scratch: Vec<u8>,
}

impl Kept {
    /// Keeps so many bytes at most. Each value counts one more than it has.
    pub fn allow(&mut self, bytes: usize) {
        self.room = bytes;
    }

    /// Whether a result has begun already, or nothing is kept.
    fn is_done(&self) -> bool {
        self.room == 0 || !self.results.is_empty()
    }

    /// A result begins.
    pub fn begin(&mut self, layout: Layout) {
        self.wants = self.room > 0;
        if !self.wants {
            return;
        }
        self.results.push(Output::default());
        let columns = layout.names.iter().map(|name| self.text(name.as_bytes())).collect();
        if let Some(result) = self.results.last_mut() {
            result.columns = columns;
        }
        (self.views, self.other) = (layout.views, Some(layout.other));
    }

    /// Whole DataRow or CopyData messages, one behind the other. Once it has enough, they cost it nothing.
    pub fn rows(&mut self, bytes: &[u8]) {
        if self.wants {
            messages(bytes).all(|message| self.message(message));
        }
    }

    /// One DataRow or CopyData message. Returns whether the next one is wanted too.
    fn message(&mut self, bytes: &[u8]) -> bool {
        let body = bytes.get(HEADER..).unwrap_or_default();
        let values = match bytes.first() {
            _ if self.room == 0 => None,
            Some(b'D') => DataRow::parse(body).ok().map(|row| self.values(row)),
            _ => self.line(body).map(|line| vec![Some(line)]),
        };
        match (values, self.results.last_mut()) {
            (Some(values), Some(result)) => {
                result.rows.push(values);
                self.room = self.room.saturating_sub(1);
            }
            _ => self.omit(),
        }
        self.wants
    }

    /// A row came that is not shown, so later ones are not either.
    pub fn omit(&mut self) {
        self.shortened();
        self.wants = false;
    }

    /// What was kept.
    pub fn into_outputs(mut self) -> Vec<Output> {
        self.results.retain(|result| *result != Output::default());
        self.results
    }

    fn values(&mut self, row: DataRow<'_>) -> Vec<Option<String>> {
        let mut values = Vec::with_capacity(row.len().min(self.room));
        for (index, value) in row.fields().enumerate() {
            let view = self.views.get(index).copied().or(self.other).unwrap_or(View::Hidden);
            values.push(value.map(|value| self.value(value, view)));
            self.room = self.room.saturating_sub(1);
        }
        values
    }

    fn value(&mut self, value: &[u8], view: View) -> String {
        match view {
            View::Hidden => self.text(REDACTED),
            View::Value(_, Format::Text) => self.text(value),
            View::Value(kind, Format::Binary) => {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                let small = value.len() <= MAX_RENDERED;
                let shown = if small && value::render(value, kind, Format::Binary, &mut scratch) == Rendered::Text {
                    self.text(&scratch)
                } else {
                    self.text(format!("({} bytes)", value.len()).as_bytes())
                };
                self.scratch = scratch;
                shown
            }
        }
    }

    /// A line of COPY data.
    fn line(&mut self, body: &[u8]) -> Option<String> {
        match self.other? {
            View::Hidden => None,
            View::Value(_, Format::Text) => Some(self.text(body.strip_suffix(b"\n").unwrap_or(body))),
            View::Value(_, Format::Binary) => Some(self.text(format!("({} bytes)", body.len()).as_bytes())),
        }
    }

    /// As much of a text as there is room for.
    fn text(&mut self, bytes: &[u8]) -> String {
        let limit = MAX_VALUE.min(self.room);
        let head = bytes.get(..limit).unwrap_or(bytes);
        let shown = match std::str::from_utf8(head) {
            Ok(text) => text.to_owned(),
            // The cut went through a character.
            Err(error) if error.error_len().is_none() => {
                String::from_utf8_lossy(head.get(..error.valid_up_to()).unwrap_or_default()).into_owned()
            }
            Err(_) => sluicegate_core::record::cut(&String::from_utf8_lossy(head), limit).0,
        };
        if head.len() < bytes.len() {
            self.shortened();
        }
        self.room = self.room.saturating_sub(head.len());
        shown
    }

    fn shortened(&mut self) {
        if let Some(result) = self.results.last_mut() {
            result.cut = true;
        }
    }
}

impl Machine {
    /// How the record shows a result with these columns.
    pub(super) fn layout(
        &self,
        fields: &[Field],
        format: impl Fn(usize, &Field) -> u16,
        analysis: &Analysis,
        decided: Option<&Decided>,
    ) -> Layout {
        let echoes = LazyCell::new(|| self.hides_echoes(analysis));
        let hidden = |index: usize, field: &Field| {
            let column = decided.and_then(|decided| decided.schema.columns.get(index));
            // What the server takes from a table or a view, nobody has just said.
            let stored = field.table != 0 || column.is_some_and(|column| column.resolution == Resolution::Stored);
            let spared = decided.and_then(|decided| decided.spared.get(index)).is_some_and(|spared| *spared);
            spared || !stored && *echoes
        };
        let view = |(index, field): (usize, &Field)| {
            if hidden(index, field) {
                return View::Hidden;
            }
            View::Value(FieldType { oid: field.type_oid, typmod: field.typmod }, format_of(format(index, field)))
        };
        Layout {
            names: fields.iter().map(|field| field.name.clone()).collect(),
            views: fields.iter().enumerate().map(view).collect(),
            other: View::Hidden,
        }
    }

    /// How the record shows what a portal sends, if it has not begun.
    pub(super) fn portal_layout(&mut self, name: &str) -> Option<Layout> {
        let epoch = self.epoch;
        let portal = self.pending_portal(name)?;
        if portal.tally.kept.is_done() {
            return None;
        }
        let shape = portal
            .shape
            .clone()
            .or_else(|| portal.prepared.described_in(epoch).filter(|d| d.certain).map(|d| d.shape))
            .flatten();
        let (formats, decided) = (portal.formats.clone(), portal.decided.take());
        let analysis = Arc::clone(&portal.analysis);
        let layout = match &shape {
            Some(fields) => {
                self.layout(fields, |index, _| message::format_code(&formats, index), &analysis, decided.as_ref())
            }
            // Nobody has asked for its columns.
            None => {
                let hidden = self.hides_echoes(&analysis);
                let view = |code: u16| if hidden { View::Hidden } else { View::Value(UNKNOWN, format_of(code)) };
                let views = formats.iter().map(|code| view(*code)).collect();
                Layout { names: Vec::new(), views, other: view(message::format_code(&formats, usize::MAX)) }
            }
        };
        if let Some(portal) = self.pending_portal(name) {
            portal.decided = decided;
        }
        Some(layout)
    }

    /// Whether values that are not stored ones may repeat a literal or a parameter, and the record keeps
    /// none of those in this session.
    pub(super) fn hides_echoes(&self, analysis: &Analysis) -> bool {
        self.may_mask && may_echo(analysis)
    }
}
