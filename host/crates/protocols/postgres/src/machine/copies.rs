//! COPY ... TO STDOUT: its columns are known from its text, so it is decided before it runs.

use std::sync::Arc;

use sluicegate_core::{Denial, InFlight, MaskPlan, Resolution, ResultSchema};
use sluicegate_sql::{Analysis, Catalog, Copy, CopyFormat, Output};

use super::{
    Machine,
    commands::{copies_out, may_copy_out},
    describe::{column, number},
    masks::Masks,
    rows::{CopyMasker, Rows},
};
use crate::codec::value::{FieldType, Format};

/// What was decided about the COPY ... TO STDOUT of a text.
pub struct Copies {
    /// What happens to the rows, by statement.
    pub rows: Vec<(usize, Rows)>,
    /// Whether the record may show none of them.
    pub hidden: bool,
}

impl Machine {
    /// Decides every COPY ... TO STDOUT of a text, whose columns are known from its parse.
    pub(super) async fn decide_copies(&mut self, analysis: &Analysis, flight: &mut InFlight) -> Result<Copies, Denial> {
        let mut decided = Copies { rows: Vec::new(), hidden: false };
        if !may_copy_out(analysis) {
            return Ok(decided);
        }
        decided.hidden = self.hides_echoes(analysis);
        if !flight.sees_results() {
            return Ok(decided);
        }
        let catalog = self.catalog().await?;
        for (index, statement) in analysis.statements.iter().enumerate().filter(|(_, s)| copies_out(s)) {
            if let Some(copy) = &statement.copy {
                let (rows, spares) = self.decide_copy(index, copy, &catalog, flight)?;
                decided.rows.push((index, rows));
                decided.hidden |= spares;
            }
        }
        Ok(decided)
    }

    /// Returns also whether the client sees some column by an exception.
    fn decide_copy(
        &self,
        index: usize,
        copy: &Copy,
        catalog: &Catalog,
        flight: &mut InFlight,
    ) -> Result<(Rows, bool), Denial> {
        let unknown = [Output { resolution: Resolution::Unresolved, sources: Vec::new() }];
        let outputs = copy.columns.as_deref().unwrap_or(&unknown);
        let typed = outputs.iter().map(|output| (output.clone(), stored_type(catalog, output))).collect::<Vec<_>>();
        let columns = typed.iter().map(|(output, oid)| {
            let name = output.sources.first().map_or("?column?", |source| &source.column);
            column(catalog, name, *oid, output.clone())
        });
        let schema = ResultSchema { statement: number(index), columns: columns.collect() };
        let plan: MaskPlan = flight.result(&Arc::new(schema))?;
        let spares = plan.columns.iter().any(|column| column.spare);
        if plan.is_pass() {
            return Ok((Rows::Pass, spares));
        }
        if copy.columns.is_none() {
            return Err(Denial::gate(
                "the columns of this COPY are not known, so it cannot be masked; copy a table or name its columns",
            ));
        }
        let format = if copy.format == CopyFormat::Binary { Format::Binary } else { Format::Text };
        let types = typed.iter().map(|(_, oid)| (FieldType { oid: *oid, typmod: -1 }, format)).collect();
        let masks = Masks::new(plan, types, Arc::clone(&self.shared.hash_key));
        let masker = CopyMasker::new(masks, copy, self.settings.encoding())?;
        Ok((Rows::Copy(Box::new(masker)), spares))
    }
}

/// The type of a stored column; 0 where the output is anything else.
fn stored_type(catalog: &Catalog, output: &Output) -> u32 {
    let source = output.sources.first().filter(|_| output.resolution == Resolution::Stored);
    source
        .and_then(|source| catalog.find(&source.relation.schema, &source.relation.name)?.column(&source.column))
        .map_or(0, |column| column.type_oid)
}
