//! What happens to the rows of one result: they pass as they are, are masked one by one, come to
//! the policies in batches, or are refused.

use bytes::Bytes;
use sluicegate_core::{Denial, DenialKind, InFlight, ResultSummary};

pub use super::copy_rows::CopyMasker;
use super::{masks::Masks, outbox::Queue, output::Kept};
use crate::codec::{
    error::CodecError,
    frame::{HEADER, messages},
    row::{self, DataRow, Edit},
};

/// What has reached the client of a result.
#[derive(Default)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Bytes of rows.
    pub bytes: u64,
    /// Values that were masked.
    pub masked: u64,
    /// What the record keeps of it.
    pub kept: Kept,
}

impl Tally {
    /// Rows go on as they are.
    fn pass(&mut self, bytes: Bytes, count: usize, out: &mut Queue) {
        self.rows += count as u64;
        self.sent(&bytes);
        out.push(bytes);
    }

    /// So much of rows goes to the client.
    pub fn sent(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.kept.rows(bytes);
    }

    /// What is recorded of the end.
    pub fn summary(self, status: String, failed: bool) -> ResultSummary {
        let Self { rows, bytes, masked, kept } = self;
        ResultSummary { rows, bytes, masked, status, failed, output: kept.into_outputs() }
    }
}

/// What happens to the rows of one result.
pub enum Rows {
    /// They are forwarded as they are.
    Pass,
    /// They are masked or inspected.
    Masked(Box<Masker>),
    /// The same for COPY.
    Copy(Box<CopyMasker>),
    /// None may come.
    Closed,
    /// The result was refused: they are dropped.
    Discard,
}

impl Rows {
    /// Whether the result may still be refused while it flows.
    pub fn is_refusable(&self) -> bool {
        match self {
            Self::Masked(masker) => is_refusable(&masker.masks),
            Self::Copy(masker) => is_refusable(masker.masks()),
            Self::Pass | Self::Closed | Self::Discard => false,
        }
    }

    /// How many rows may be taken at once.
    pub fn at_once(&self) -> usize {
        match self {
            Self::Pass | Self::Discard => usize::MAX,
            Self::Masked(masker) => masker.masks.at_once(),
            Self::Copy(masker) => masker.masks().at_once(),
            Self::Closed => 1,
        }
    }

    /// Takes whole messages of rows: DataRow or CopyData, `count` of them.
    pub fn take(
        &mut self,
        bytes: Bytes,
        count: usize,
        flight: &mut InFlight,
        tally: &mut Tally,
        out: &mut Queue,
    ) -> Result<(), Denial> {
        match self {
            Self::Pass => {
                tally.pass(bytes, count, out);
                Ok(())
            }
            Self::Masked(masker) => masker.take(bytes, count, flight, tally, out),
            Self::Copy(masker) => masker.take(&bytes, flight, tally, out),
            Self::Closed => Err(Denial::gate("the target sent rows that nobody decided on")),
            Self::Discard => Ok(()),
        }
    }

    /// The end of a COPY: nothing incomplete may be left.
    pub fn finish(&self) -> Result<(), Denial> {
        match self {
            Self::Copy(masker) => masker.finish(),
            _ => Ok(()),
        }
    }
}

fn is_refusable(masks: &Masks) -> bool {
    masks.inspects() || masks.max_rows().is_some()
}

/// The refusal of a result that is too long.
pub fn too_many_rows(limit: u64) -> Denial {
    let reason = format!("the result has more than {limit} rows; ask for fewer, for example with LIMIT");
    Denial::of(DenialKind::Policy, reason)
}

/// Masks the rows of a result.
pub struct Masker {
    masks: Masks,
    /// Rows that came.
    seen: u64,
    scratch: Vec<u8>,
}

impl Masker {
    /// A masker that carries these out.
    pub fn new(masks: Masks) -> Self {
        Self { masks, seen: 0, scratch: Vec::new() }
    }

    /// What one call is given goes to the policies as one batch.
    fn take(
        &mut self,
        mut bytes: Bytes,
        mut count: usize,
        flight: &mut InFlight,
        tally: &mut Tally,
        out: &mut Queue,
    ) -> Result<(), Denial> {
        let room = self.masks.max_rows().map(|limit| limit.saturating_sub(self.seen));
        let surplus = room.and_then(|room| usize::try_from(room).ok()).filter(|room| count > *room);
        if let Some(room) = surplus {
            count = room;
            bytes.truncate(messages(&bytes).take(count).map(<[u8]>::len).sum());
        }
        if self.masks.inspects() && count > 0 {
            self.masks.begin_batch(self.seen);
            for message in messages(&bytes) {
                self.masks.show(parse(message, &self.masks)?.fields().map(|value| value.map(Into::into)));
            }
            self.masks.ask(flight)?;
        }
        self.seen += count as u64;
        if self.masks.touches() {
            self.write(&bytes, tally, out)?;
        } else {
            tally.pass(bytes, count, out);
        }
        match (surplus, self.masks.max_rows()) {
            (Some(_), Some(limit)) => Err(too_many_rows(limit)),
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8], tally: &mut Tally, out: &mut Queue) -> Result<(), Denial> {
        let Self { masks, scratch, .. } = self;
        let mut written = Ok(());
        out.write(|out| {
            let before = out.len();
            written = (0_u32..).zip(messages(bytes)).try_for_each(|(number, message)| {
                let row = parse(message, masks)?;
                if !masks.touches_row(number) {
                    out.extend_from_slice(message);
                    tally.rows += 1;
                    return Ok(());
                }
                let edited = row::rewrite(row, out, scratch, |index, value, text| {
                    let edit = masks.edit(number, index, value, text);
                    tally.masked += u64::from(edit != Edit::Keep);
                    edit
                });
                edited.map_err(unreadable)?;
                tally.rows += 1;
                Ok(())
            });
            tally.sent(out.get(before..).unwrap_or_default());
        });
        written
    }
}

fn parse<'a>(message: &'a [u8], masks: &Masks) -> Result<DataRow<'a>, Denial> {
    let row = DataRow::parse(message.get(HEADER..).unwrap_or_default()).map_err(unreadable)?;
    if row.len() == masks.width() {
        return Ok(row);
    }
    Err(Denial::gate("the target sent a row whose columns are not those it described"))
}

/// The refusal of rows that cannot be read.
pub fn unreadable(error: CodecError) -> Denial {
    Denial::gate(error.to_string())
}
