//! Decides by an output column's origin whether it is masked.

use sluicegate_policy::{Column, ColumnGlob, ColumnName, Command, Resolution};

/// What happens to an output column because of where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Nothing masked is in it.
    Pass,
    /// It is masked.
    Mask,
    /// Nobody knows what is in it.
    Block(String),
}

/// Judges the columns of one result.
pub(crate) struct Judge<'a> {
    columns: &'a [ColumnGlob],
    everything: bool,
    command: &'a Command,
    hazard: Option<Hazard>,
}

/// What an output column of unknown origin may hold; found out once a result.
#[derive(Clone)]
enum Hazard {
    Nothing,
    Column(ColumnName),
    Anything,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(columns: &'a [ColumnGlob], command: &'a Command) -> Self {
        let everything = columns.iter().any(ColumnGlob::matches_everything);
        Self { columns, everything, command, hazard: None }
    }

    pub(crate) fn treatment(&mut self, column: &Column) -> Treatment {
        if self.columns.is_empty() || column.resolution == Resolution::Computed {
            return Treatment::Pass;
        }
        if self.everything || column.sources.iter().any(|source| self.is_masked(source)) {
            return Treatment::Mask;
        }
        let known = matches!(column.resolution, Resolution::Stored | Resolution::Derived);
        if known && !column.sources.is_empty() {
            return Treatment::Pass;
        }
        let name = &column.name;
        match self.hazard() {
            Hazard::Nothing => Treatment::Pass,
            Hazard::Column(source) => Treatment::Block(format!(
                "output column `{name}` may hold the masked column {source}; select {source} itself and not inside an \
                 expression, or leave its table out"
            )),
            Hazard::Anything => Treatment::Block(format!(
                "it is not known where output column `{name}` comes from, so it may hold a masked column; select \
                 plain columns of tables"
            )),
        }
    }

    fn is_masked(&self, name: &ColumnName) -> bool {
        self.columns.iter().any(|glob| glob.matches(name))
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
        match sql.reachable_columns().into_iter().find(|name| self.is_masked(name)) {
            Some(name) => Hazard::Column(name),
            None if sql.reaches_unknown() => Hazard::Anything,
            None => Hazard::Nothing,
        }
    }
}
