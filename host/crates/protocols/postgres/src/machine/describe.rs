//! From a RowDescription, or a COPY's columns, to the result that policies see, and from their plan
//! to what happens to the rows.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use sluicegate_core::{Column, Denial, InFlight, Resolution, ResultSchema};
use sluicegate_sql::{Analysis, Catalog, Output, Outputs, RelationKind};

use super::{
    Machine, Outbox,
    commands::may_copy_out,
    expect::{self, Expect, Run},
    masks::Masks,
    objects::{Analysed, Decided, Shape},
    results::refuse,
    rows::{Masker, Rows},
};
use crate::codec::{
    message::{self, Field, ObjectKind},
    value::{FieldType, Format},
};

impl Machine {
    /// Whether an Execute must wait until the portal's columns are known. If nobody asked for them,
    /// the gate does.
    pub(super) fn must_describe(&mut self, name: &str, out: &mut Outbox) -> bool {
        let epoch = self.epoch;
        let Some(portal) = self.pending_portal(name) else { return false };
        let asked = portal.flight.as_ref().is_some_and(InFlight::sees_results);
        if !asked || portal.rows.is_some() || portal.shape.is_some() || !expect::has_rows(&portal.analysis) {
            return false;
        }
        let known = portal.prepared.described_in(epoch);
        let describes =
            |expect: &Expect| matches!(expect, Expect::Describe { kind: ObjectKind::Portal, name: n, .. } if n == name);
        let asks = self.waiting.iter().any(describes);
        // What is not certain is compared with the answer, which comes before the first row.
        if let Some(known) = known.filter(|known| known.certain || asks && self.catalog_pending.is_none()) {
            if let Some(portal) = self.pending_portal(name) {
                portal.shape = Some(known.shape);
            }
            return false;
        }
        if !asks {
            self.expect(Expect::Describe { kind: ObjectKind::Portal, name: name.to_owned(), own: true, epoch });
            out.own(describe_portal(name));
        }
        true
    }

    /// Decides what happens to a portal's rows before it runs. Returns whether the result may still
    /// be refused while it flows.
    pub(super) async fn decide_rows(&mut self, name: &str) -> Result<bool, Denial> {
        let Some(portal) = self.pending_portal(name) else { return Ok(false) };
        if let Some(rows) = &portal.rows {
            return Ok(rows.is_refusable());
        }
        let Some(mut flight) = portal.flight.take() else {
            portal.rows = Some(Rows::Closed);
            return Ok(false);
        };
        if !flight.sees_results() {
            (portal.flight, portal.rows) = (Some(flight), Some(Rows::Pass));
            let analysis = Arc::clone(&portal.analysis);
            let hides_lines = may_copy_out(&analysis) && self.hides_echoes(&analysis);
            if let Some(portal) = self.pending_portal(name) {
                portal.tally.kept.hides_lines = hides_lines;
            }
            return Ok(false);
        }
        let mut hides_lines = false;
        let analysed = Analysed {
            text: Arc::clone(&portal.prepared.text),
            analysis: Arc::clone(&portal.analysis),
            generation: portal.generation,
        };
        let formats = portal.formats.clone();
        let shape = portal.shape.clone().flatten();
        let decided = match &shape {
            Some(fields) => {
                let format = |index: usize, _: &Field| message::format_code(&formats, index);
                self.decide_result(0, fields, format, &analysed, &mut flight).await
            }
            None => self.decide_copies(&analysed.analysis, &mut flight).await.map(|mut copies| {
                hides_lines = copies.hidden;
                (copies.rows.pop().map_or(Rows::Closed, |rows| rows.1), None)
            }),
        };
        let Some(portal) = self.pending_portal(name) else { return Ok(false) };
        portal.flight = Some(flight);
        portal.tally.kept.hides_lines = hides_lines;
        let (rows, decided) = decided?;
        portal.generation = decided.as_ref().map_or(portal.generation, |decided| decided.generation);
        portal.decided = decided;
        let refusable = rows.is_refusable();
        portal.rows = Some(rows);
        Ok(refusable)
    }

    /// Asks the policies about a result with these columns.
    pub(super) async fn decide_result(
        &mut self,
        statement: usize,
        fields: &[Field],
        format: impl Fn(usize, &Field) -> u16,
        analysed: &Analysed,
        flight: &mut InFlight,
    ) -> Result<(Rows, Option<Decided>), Denial> {
        if !flight.sees_results() {
            return Ok((Rows::Pass, None));
        }
        let catalog = self.catalog_with(fields).await?;
        let analysis = &analysed.analysis;
        if catalog.generation() != analysed.generation && *self.read(&analysed.text, &catalog) != **analysis {
            return Err(moved());
        }
        let expected = analysis.statements.get(statement).map_or(&Outputs::Unknown, |s| &s.outputs);
        let differs = match expected {
            Outputs::None => true,
            Outputs::Aligned(outputs) => outputs.len() != fields.len(),
            Outputs::Unknown => false,
        };
        if differs && self.may_mask {
            let reason = "the target describes other columns than the statement has, as a rule of its may make it; \
                          so it is not known what would have to be masked";
            return Err(Denial::gate(reason));
        }
        let schema = self.schema(&catalog, statement, fields, analysis);
        let plan = flight.result(&schema)?;
        let spared = plan.columns.iter().map(|column| column.spare).collect();
        let decided = Some(Decided { fields: fields.into(), schema, spared, generation: catalog.generation() });
        if plan.is_pass() {
            return Ok((Rows::Pass, decided));
        }
        let types = fields.iter().enumerate().map(|(index, field)| {
            let kind = FieldType { oid: field.type_oid, typmod: field.typmod };
            (kind, format_of(format(index, field)))
        });
        let masks = Masks::new(plan, types.collect(), Arc::clone(&self.shared.hash_key));
        Ok((Rows::Masked(Box::new(Masker::new(masks))), decided))
    }

    fn schema(&self, catalog: &Catalog, statement: usize, fields: &[Field], analysis: &Analysis) -> Arc<ResultSchema> {
        let outputs = analysis.statements.get(statement).map_or(&Outputs::Unknown, |s| &s.outputs);
        let columns = fields.iter().enumerate().map(|(index, field)| {
            let output = self.origin(catalog, field, index, fields.len(), outputs);
            column(catalog, &field.name, field.type_oid, output)
        });
        Arc::new(ResultSchema { statement: number(statement), columns: columns.collect() })
    }

    /// Makes sure, when the first of a result comes, that it is what was decided on. While the
    /// statement waited at the server, for a lock perhaps, its names may have come to mean something
    /// else.
    pub(super) async fn confirm(&mut self, run: &mut Run) -> Result<(), Denial> {
        if std::mem::replace(&mut run.confirmed, true) || !run.sees_results() {
            return Ok(());
        }
        let catalog = self.catalog().await?;
        if catalog.generation() == run.generation {
            return Ok(());
        }
        let again = self.read(&run.text, &catalog);
        let same_shape =
            |decided: &Decided| *self.schema(&catalog, run.statement, &decided.fields, &again) == *decided.schema;
        if *again != *run.analysis || !run.decided.as_ref().is_none_or(same_shape) {
            return Err(moved());
        }
        run.generation = catalog.generation();
        Ok(())
    }

    /// The catalog, loaded again if it does not know a table that the server names.
    async fn catalog_with(&mut self, fields: &[Field]) -> Result<Arc<Catalog>, Denial> {
        let catalog = self.catalog().await?;
        let unknown = |field: &&Field| field.table != 0 && catalog.relation(field.table).is_none();
        if self.catalog_pending.is_some() || !fields.iter().any(|field| unknown(&field)) {
            return Ok(catalog);
        }
        self.shared.catalogs.invalidate();
        self.catalog().await
    }

    fn origin(&self, catalog: &Catalog, field: &Field, index: usize, width: usize, outputs: &Outputs) -> Output {
        let unresolved = Output { resolution: Resolution::Unresolved, sources: Vec::new() };
        if field.table != 0 {
            let (resolution, sources) = catalog.resolve(field.table, field.attnum);
            let kind = catalog.relation(field.table).map(|relation| relation.kind);
            let is_view = matches!(kind, Some(RelationKind::View | RelationKind::MaterializedView));
            // A view may have been replaced in this transaction, which the catalog does not see yet.
            let resolution =
                if self.catalog_pending.is_some() && is_view { Resolution::Unresolved } else { resolution };
            return Output { resolution, sources };
        }
        match outputs {
            Outputs::Aligned(outputs) if outputs.len() == width => outputs.get(index).cloned().unwrap_or(unresolved),
            _ => unresolved,
        }
    }

    /// Keeps what a Describe found.
    pub(super) fn described(&mut self, kind: ObjectKind, name: &str, epoch: u64, shape: Shape, out: &mut Outbox) {
        match kind {
            ObjectKind::Statement => {
                if let Some(prepared) = self.objects.statement(name) {
                    prepared.keep_shape(epoch, shape);
                }
            }
            ObjectKind::Portal => {
                self.compare(name, &shape, out);
                if let Some(portal) = self.objects.portal(name) {
                    portal.prepared.keep_shape(epoch, shape.clone());
                    portal.shape = Some(shape);
                }
            }
        }
    }

    /// An Execute that was forwarded by what was known of its text is refused if its result is another.
    fn compare(&mut self, name: &str, shape: &Shape, out: &mut Outbox) {
        let differs = |run: &Run| {
            run.portal == name && run.decided.as_ref().is_some_and(|decided| !same_columns(&decided.fields, shape))
        };
        let next = self.waiting.iter_mut().find_map(|expect| match expect {
            Expect::Execute(run) => Some(run),
            _ => None,
        });
        if let Some(run) = next.filter(|run| differs(run)) {
            refuse(run, moved(), out);
        }
    }
}

/// Whether a result has these columns. The formats are the Bind's.
fn same_columns(decided: &[Field], shape: &Shape) -> bool {
    let same = |(one, other): (&Field, &Field)| *one == Field { format: one.format, ..other.clone() };
    shape.as_ref().is_some_and(|shape| decided.len() == shape.len() && decided.iter().zip(&**shape).all(same))
}

fn moved() -> Denial {
    Denial::gate("what its names mean changed while it was under way; run it again")
}

/// A column as policies see it.
pub(super) fn column(catalog: &Catalog, name: &str, type_oid: u32, output: Output) -> Column {
    Column {
        name: Arc::from(name),
        type_name: catalog.type_name(type_oid).unwrap_or_else(|| Arc::from("unknown")),
        resolution: output.resolution,
        sources: output.sources,
    }
}

/// Codes other than 0 and 1 do not exist; a value in such a format is as unreadable as binary.
pub(super) fn format_of(code: u16) -> Format {
    if code == 0 { Format::Text } else { Format::Binary }
}

pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn describe_portal(name: &str) -> Bytes {
    message::message(b'D', |out| {
        out.put_u8(b'P');
        message::put_cstr(out, name.as_bytes());
    })
}
