//! Decides by an output column's origin whether it is masked.

use sluicegate_policy::{Column, ColumnGlob, ColumnName, Command, Resolution};

use crate::settings::masked_by;

/// What happens to an output column because of where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Nothing masked is in it.
    Pass,
    /// It is masked, by this entry of `columns`.
    Mask(usize),
    /// Nobody knows what is in it. `by` is the entry of `columns` whose column it may hold, where it is
    /// known.
    Block { reason: String, by: Option<usize> },
}

/// Judges the columns of one result.
pub(crate) struct Judge<'a> {
    columns: &'a [ColumnGlob],
    /// The entry that masks whatever is stored.
    everything: Option<usize>,
    command: &'a Command,
    hazard: Option<Hazard>,
}

/// What an output column of unknown origin may hold; found out once a result.
#[derive(Clone)]
enum Hazard {
    Nothing,
    Column(ColumnName, usize),
    Anything,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(columns: &'a [ColumnGlob], command: &'a Command) -> Self {
        let everything = columns.iter().position(ColumnGlob::matches_everything);
        Self { columns, everything, command, hazard: None }
    }

    pub(crate) fn treatment(&mut self, column: &Column) -> Treatment {
        if self.columns.is_empty() || column.resolution == Resolution::Computed {
            return Treatment::Pass;
        }
        let named = || column.sources.iter().find_map(|source| masked_by(self.columns, source));
        if let Some(entry) = self.everything.or_else(named) {
            return Treatment::Mask(entry);
        }
        let known = matches!(column.resolution, Resolution::Stored | Resolution::Derived);
        if known && !column.sources.is_empty() {
            return Treatment::Pass;
        }
        let name = &column.name;
        match self.hazard() {
            Hazard::Nothing => Treatment::Pass,
            Hazard::Column(source, entry) => Treatment::Block {
                reason: format!(
                    "output column `{name}` may hold the masked column {source}; select {source} itself and not \
                     inside an expression, or leave its table out"
                ),
                by: Some(entry),
            },
            Hazard::Anything => Treatment::Block {
                reason: format!(
                    "it is not known where output column `{name}` comes from, so it may hold a masked column; select \
                     plain columns of tables"
                ),
                by: None,
            },
        }
    }

    fn hazard(&mut self) -> Hazard {
        if let Some(hazard) = &self.hazard {
            return hazard.clone();
        }
        let hazard = self.find_hazard();
        self.hazard = Some(hazard.clone());
        hazard
    }

    fn find_hazard(&self) -> Hazard {
        let Some(sql) = self.command.sql() else {
            return Hazard::Anything;
        };
        let masked = |name: ColumnName| masked_by(self.columns, &name).map(|entry| Hazard::Column(name, entry));
        match sql.reachable_columns().into_iter().find_map(masked) {
            Some(hazard) => hazard,
            None if sql.reaches_unknown() => Hazard::Anything,
            None => Hazard::Nothing,
        }
    }
}
