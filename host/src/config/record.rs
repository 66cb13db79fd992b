//! `[record]`: what is kept, and for how long. Targets may say the latter for themselves.

use std::time::Duration;

use serde::Deserialize;
use sluicegate_recorder::Retention;
use toml::{Spanned, de::DeValue};

use super::{
    Record,
    amounts::{Bytes, Time, within},
    parse::Reader,
    section,
};

const DEFAULT_OUTPUT: Bytes = Bytes(8 * 1024);
/// An entry of the record has to have room for the output and for what is said about it.
const MAX_OUTPUT: Bytes = Bytes(64 * 1024);
/// Less than a day is more likely `m` for months than minutes that somebody meant.
const MIN_AGE: Time = Time::days(1);
/// A hundred of the years that humantime knows.
const MAX_AGE: Time = Time::seconds(100 * 31_557_600);
const MIN_SIZE: Bytes = Bytes(1024 * 1024);
const MAX_SIZE: Bytes = Bytes(1024 * 1024 * 1024 * 1024 * 1024);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordSection {
    output: Option<Spanned<Bytes>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionSection {
    age: Option<Spanned<Time>>,
    size: Option<Spanned<Bytes>>,
}

impl Reader<'_> {
    /// `[record]`.
    pub(super) fn record(&mut self, value: Option<Spanned<DeValue<'_>>>) -> Record {
        let mut record = Record { output: bytes(DEFAULT_OUTPUT), retention: Retention::default() };
        let Some(table) = value.and_then(|value| section::table(self.report, "[record]", value)) else {
            return record;
        };
        let (span, mut table) = (table.span(), table.into_inner());
        if let Some(retention) = table.remove("retention") {
            record.retention = self.retention(retention);
        }
        let table = Spanned::new(span, table);
        if let Some(section) = section::read::<RecordSection>(self.report, "[record]", table, &["retention"])
            && let Some(output) = within(self.report, "output", section.output, Bytes(0)..=MAX_OUTPUT)
        {
            record.output = bytes(output);
        }
        record
    }

    /// `retention`, of the record or of one target. What is not said is kept for ever.
    pub(super) fn retention(&mut self, value: Spanned<DeValue<'_>>) -> Retention {
        let table = section::table(self.report, "`retention`", value);
        let read = table.and_then(|table| section::read(self.report, "`retention`", table, &[]));
        let Some(RetentionSection { age, size }) = read else { return Retention::default() };
        let age: Option<Duration> = within(self.report, "age", age, MIN_AGE..=MAX_AGE).map(|Time(age)| age);
        let size = within(self.report, "size", size, MIN_SIZE..=MAX_SIZE).map(|Bytes(size)| size);
        Retention { age, size }
    }
}

fn bytes(Bytes(number): Bytes) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
