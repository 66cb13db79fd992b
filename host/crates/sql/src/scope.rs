//! What names of columns stand for at one place of a query: the FROM items around it, level by level,
//! and the common table expressions in sight.

use std::sync::Arc;

use sluicegate_core::result::{ColumnName, Resolution};

use crate::{
    analysis::Output,
    catalog::{Relation, RelationKind, is_system_column},
    facts::Origin,
    names::Names,
    reader::Read,
};

/// An output column of a query, with its name if that is certain.
#[derive(Debug, Clone)]
pub struct NamedOutput {
    /// The name.
    pub name: Option<Arc<str>>,
    /// Where it comes from.
    pub output: Output,
}

/// The columns of a FROM item.
#[derive(Debug, Clone)]
pub enum Columns<'a> {
    /// Those of a relation.
    Relation(&'a Relation),
    /// Those of a query.
    Listed(Vec<NamedOutput>),
    /// It is not known which.
    Unknown,
}

/// A FROM item.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The schema, where the item is a relation without an alias.
    pub schema: Option<String>,
    /// The alias, or the relation's name.
    pub name: Option<String>,
    /// Its columns.
    pub columns: Columns<'a>,
}

/// A common table expression.
#[derive(Debug, Clone)]
pub struct Cte<'a> {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Columns<'a>,
}

/// One level of a query within the levels around it.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s, 'a> {
    /// The level around it.
    pub parent: Option<&'s Scope<'s, 'a>>,
    /// The common table expressions of this level.
    pub ctes: &'s [Cte<'a>],
    /// The FROM items of this level.
    pub sources: &'s [Source<'a>],
}

/// What a column's name stands for.
#[derive(Debug, Clone)]
pub enum Place {
    /// This column.
    Column(Output),
    /// It cannot be told.
    Unknown,
}

impl<'s, 'a> Scope<'s, 'a> {
    /// The level around a whole statement.
    pub fn top() -> Self {
        Self { parent: None, ctes: &[], sources: &[] }
    }

    /// A level within this one.
    pub fn within(&'s self, sources: &'s [Source<'a>]) -> Scope<'s, 'a> {
        Scope { parent: Some(self), ctes: &[], sources }
    }

    /// The common table expression of that name that is in sight.
    pub fn cte(&self, name: &str) -> Option<&Cte<'a>> {
        let here = self.ctes.iter().rev().find(|cte| cte.name == name);
        here.or_else(|| self.parent?.cte(name))
    }

    /// What a bare name stands for: a column of the nearest level that has one. A level with an item
    /// whose columns are not all known ends the search.
    pub fn bare(&self, names: Names<'_>, name: &str) -> Read<Place> {
        let mut level = Some(self);
        while let Some(scope) = level {
            let mut found = None;
            for source in scope.sources {
                if let Some(output) = source.columns.find(names, name)? {
                    found = Some(merge(names, found, output)?);
                }
            }
            if let Some(output) = found {
                return Ok(Place::Column(output));
            }
            if scope.sources.iter().any(|source| source.columns.may_have_more()) {
                return Ok(Place::Unknown);
            }
            level = scope.parent;
        }
        Ok(Place::Unknown)
    }

    /// What a column's name qualified by an item's name stands for.
    pub fn qualified(&self, names: Names<'_>, schema: Option<&str>, item: &str, name: &str) -> Read<Place> {
        let mut found = None;
        for source in self.items(names, schema, item)? {
            let Some(output) = source.columns.find(names, name)? else { return Ok(Place::Unknown) };
            found = Some(merge(names, found, output)?);
        }
        Ok(found.map_or(Place::Unknown, Place::Column))
    }

    /// The items of that name at the nearest level that has one.
    pub fn items(&self, names: Names<'_>, schema: Option<&str>, item: &str) -> Read<Vec<&Source<'a>>> {
        names.budget.compare(self.sources.len())?;
        let fits = |source: &&Source<'a>| {
            source.name.as_deref() == Some(item) && (schema.is_none() || source.schema.as_deref() == schema)
        };
        let here: Vec<_> = self.sources.iter().filter(fits).collect();
        match self.parent {
            Some(parent) if here.is_empty() => parent.items(names, schema, item),
            _ => Ok(here),
        }
    }
}

impl<'a> Columns<'a> {
    /// The column of that name.
    pub fn find(&self, names: Names<'_>, name: &str) -> Read<Option<Output>> {
        match self {
            Self::Relation(relation) => {
                names.budget.compare(relation.columns.len())?;
                match relation.column(name) {
                    Some(column) => {
                        names.budget.list(1)?;
                        stored(names, relation, column.attnum).map(Some)
                    }
                    None => Ok(system_column(relation, name)),
                }
            }
            Self::Listed(columns) => {
                names.budget.compare(columns.len())?;
                let mut fits = columns.iter().filter(|column| column.name.as_deref() == Some(name));
                fits.try_fold(None, |found, column| {
                    names.budget.list(1)?;
                    names.budget.spend(column.output.sources.len())?;
                    merge(names, found, column.output.clone()).map(Some)
                })
            }
            Self::Unknown => Ok(None),
        }
    }

    /// Whether it may have columns whose names are not known.
    pub fn may_have_more(&self) -> bool {
        match self {
            Self::Relation(_) => false,
            Self::Listed(columns) => columns.iter().any(|column| column.name.is_none()),
            Self::Unknown => true,
        }
    }

    /// All its columns in order; none where they are not known.
    pub fn list(&self, names: Names<'_>) -> Read<Option<Vec<NamedOutput>>> {
        match self {
            Self::Relation(relation) => {
                names.budget.list(relation.columns.len())?;
                let columns = relation.columns.iter().map(|column| {
                    let output = stored(names, relation, column.attnum)?;
                    Ok(NamedOutput { name: Some(column.name.clone()), output })
                });
                columns.collect::<Read<_>>().map(Some)
            }
            Self::Listed(columns) => {
                names.budget.list(columns.len())?;
                names.budget.spend(columns.iter().map(|column| column.output.sources.len()).sum())?;
                Ok(Some(columns.clone()))
            }
            Self::Unknown => Ok(None),
        }
    }

    /// The same columns once more.
    pub fn again(&self, names: Names<'_>) -> Read<Self> {
        match self {
            Self::Listed(_) => Ok(self.list(names)?.map_or(Self::Unknown, Self::Listed)),
            Self::Relation(relation) => Ok(Self::Relation(relation)),
            Self::Unknown => Ok(Self::Unknown),
        }
    }

    /// The same columns with the first of them renamed.
    pub fn renamed(self, names: Names<'_>, given: &[String]) -> Read<Self> {
        let listed = match self {
            Self::Listed(columns) => Some(columns),
            other => other.list(names)?,
        };
        let Some(mut columns) = listed.filter(|columns| given.len() <= columns.len()) else {
            return Ok(Self::Unknown);
        };
        for (column, name) in columns.iter_mut().zip(given) {
            column.name = Some(Arc::from(name.as_str()));
        }
        Ok(Self::Listed(columns))
    }
}

/// Whether a column holds the names of settings, which tell nothing.
pub fn is_setting_name(column: &ColumnName) -> bool {
    &*column.relation.schema == "pg_catalog" && &*column.relation.name == "pg_settings" && &*column.column == "name"
}

fn stored(names: Names<'_>, relation: &Relation, attnum: i16) -> Read<Output> {
    let (resolution, sources) = names.catalog.resolve(relation.oid, attnum);
    names.budget.spend(sources.len())?;
    // The view calls a function of the server, which nobody could look into.
    let is_told = sources.len() == 1 && sources.iter().all(is_setting_name);
    Ok(Output { resolution: if is_told { Resolution::Stored } else { resolution }, sources })
}

fn system_column(relation: &Relation, name: &str) -> Option<Output> {
    if !is_system_column(name) || relation.kind == RelationKind::View {
        return None;
    }
    let source = ColumnName { relation: relation.name.clone(), column: Arc::from(name) };
    Some(Output { resolution: Resolution::Stored, sources: vec![source] })
}

/// One column standing for another one of the same name too, as JOIN ... USING makes it.
fn merge(names: Names<'_>, found: Option<Output>, next: Output) -> Read<Output> {
    let Some(found) = found else { return Ok(next) };
    names.budget.compare(found.sources.len() * next.sources.len())?;
    Ok(Origin::from(found).and(next.into()).computed())
}
