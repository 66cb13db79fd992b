//! Masks personal data in results: columns by their names, and values by what they hold.
//!
//! `columns` decides by the stored columns that an output column comes from, before any row flows;
//! `detect` looks into the values of what is left. An output column whose origin is not known and
//! that may hold a masked column blocks the result.

mod alterations;
mod cells;
mod leaks;
mod origin;
mod scan;
mod settings;

use sluicegate_policy::{
    Command, Events, Interests, Plan, Policy, ResultSet, ResultVerdict, Rows, RowsVerdict, Session, Verdict, host,
};

use crate::{cells::Masker, origin::Treatment};
pub use crate::{
    scan::{Kind, Scanner, Span},
    settings::{Settings, Style},
};

/// The policy.
#[derive(Debug)]
pub struct PiiMask {
    settings: Settings,
    scanner: Scanner,
}

impl Policy for PiiMask {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        let scanner = Scanner::new(&settings.detect);
        Ok(Self { settings, scanner })
    }

    fn interests(&self) -> Interests {
        Interests::in_events(Events::COMMAND | Events::RESULT).masking()
    }

    fn on_command(&mut self, session: &Session, command: &Command) -> Verdict {
        if let Some(entry) = self.settings.exception(session) {
            host::cite(&format!("except[{entry}]"));
            return Verdict::Allow;
        }
        if command.verb() == "function-call" {
            return Verdict::block("a FunctionCall's answer cannot be masked; run the function with SELECT");
        }
        match command.sql() {
            Some(sql) => leaks::found(sql, &self.settings.columns).map_or(Verdict::Allow, Verdict::Block),
            None => Verdict::Allow,
        }
    }

    fn on_result(&mut self, session: &Session, command: &Command, result: &ResultSet, plan: &Plan) -> ResultVerdict {
        let mut judge = origin::Judge::new(&self.settings.columns, command);
        if let Some(entry) = self.settings.exception(session) {
            host::cite(&format!("except[{entry}]"));
            self.spare(&mut judge, result, plan);
            return ResultVerdict::Proceed;
        }
        let mut followed = Vec::new();
        for (index, column) in (0_u32..).zip(result.columns()) {
            match judge.treatment(&column) {
                Treatment::Mask(entry) => {
                    followed.push(entry);
                    plan.mask(index, &self.settings.style.column_mask());
                }
                Treatment::Block { reason, by } => {
                    cite_columns(by.into_iter().collect());
                    return ResultVerdict::Block(reason);
                }
                Treatment::Pass if self.scanner.reads(&column.type_name) => plan.inspect(index),
                Treatment::Pass => {}
            }
        }
        cite_columns(followed);
        ResultVerdict::Proceed
    }

    fn on_rows(&mut self, _: &Session, result: &ResultSet, rows: &Rows) -> RowsVerdict {
        let mut masker = Masker::new(&self.scanner, self.settings.style, result);
        for values in rows.columns() {
            masker.mask(&values);
        }
        let verdict = masker.verdict();
        if verdict != RowsVerdict::Pass {
            host::cite("detect");
        }
        verdict
    }
}

impl PiiMask {
    /// What others would see masked, or not at all, this caller sees; the record, which others read, does
    /// not.
    fn spare(&self, judge: &mut origin::Judge<'_>, result: &ResultSet, plan: &Plan) {
        for (index, column) in (0_u32..).zip(result.columns()) {
            if judge.treatment(&column) != Treatment::Pass || self.scanner.reads(&column.type_name) {
                plan.spare(index);
            }
        }
    }
}

/// Names the entries of `columns` that a result follows, each once.
fn cite_columns(mut entries: Vec<usize>) {
    entries.sort_unstable();
    entries.dedup();
    if !entries.is_empty() {
        let names: Vec<_> = entries.iter().map(|entry| format!("columns[{entry}]")).collect();
        host::cite(&names.join(", "));
    }
}

sluicegate_policy::export!(PiiMask);
