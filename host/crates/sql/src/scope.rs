//! What names of columns stand for at one place of a query: the FROM items around it, level by level,
//! and the common table expressions in sight.

use std::sync::Arc;

use sluicegate_core::result::{ColumnName, Resolution};

use crate::{
    analysis::Output,
    catalog::{Catalog, Relation, RelationKind, is_system_column},
    facts::Origin,
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
    pub fn bare(&self, catalog: &Catalog, name: &str) -> Place {
        let mut level = Some(self);
        while let Some(scope) = level {
            let found = merge(scope.sources.iter().filter_map(|source| source.columns.find(catalog, name)));
            if let Some(output) = found {
                return Place::Column(output);
            }
            if scope.sources.iter().any(|source| source.columns.may_have_more()) {
                return Place::Unknown;
            }
            level = scope.parent;
        }
        Place::Unknown
    }

    /// What a column's name qualified by an item's name stands for.
    pub fn qualified(&self, catalog: &Catalog, schema: Option<&str>, item: &str, name: &str) -> Place {
        let found = self.items(schema, item);
        let columns = found.iter().map(|source| source.columns.find(catalog, name));
        let columns: Option<Vec<Output>> = columns.collect();
        columns.and_then(|outputs| merge(outputs.into_iter())).map_or(Place::Unknown, Place::Column)
    }

    /// The items of that name at the nearest level that has one.
    pub fn items(&self, schema: Option<&str>, item: &str) -> Vec<&Source<'a>> {
        let fits = |source: &&Source<'a>| {
            source.name.as_deref() == Some(item) && (schema.is_none() || source.schema.as_deref() == schema)
        };
        let here: Vec<_> = self.sources.iter().filter(fits).collect();
        match self.parent {
            Some(parent) if here.is_empty() => parent.items(schema, item),
            _ => here,
        }
    }
}

impl<'a> Columns<'a> {
    /// The column of that name.
    pub fn find(&self, catalog: &Catalog, name: &str) -> Option<Output> {
        match self {
            Self::Relation(relation) => match relation.column(name) {
                Some(column) => Some(stored(catalog, relation, column.attnum)),
                None => system_column(relation, name),
            },
            Self::Listed(columns) => {
                let fits = columns.iter().filter(|column| column.name.as_deref() == Some(name));
                merge(fits.map(|column| column.output.clone()))
            }
            Self::Unknown => None,
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
    pub fn list(&self, catalog: &Catalog) -> Option<Vec<NamedOutput>> {
        match self {
            Self::Relation(relation) => {
                let columns = relation.columns.iter().map(|column| NamedOutput {
                    name: Some(column.name.clone()),
                    output: stored(catalog, relation, column.attnum),
                });
                Some(columns.collect())
            }
            Self::Listed(columns) => Some(columns.clone()),
            Self::Unknown => None,
        }
    }

    /// The same columns with the first of them renamed.
    pub fn renamed(self, catalog: &Catalog, names: &[String]) -> Self {
        let Some(mut columns) = self.list(catalog) else { return Self::Unknown };
        if names.len() > columns.len() {
            return Self::Unknown;
        }
        for (column, name) in columns.iter_mut().zip(names) {
            column.name = Some(Arc::from(name.as_str()));
        }
        Self::Listed(columns)
    }
}

/// Whether a column holds the names of settings, which tell nothing.
pub fn is_setting_name(column: &ColumnName) -> bool {
    &*column.relation.schema == "pg_catalog" && &*column.relation.name == "pg_settings" && &*column.column == "name"
}

fn stored(catalog: &Catalog, relation: &Relation, attnum: i16) -> Output {
    match catalog.resolve(relation.oid, attnum) {
        // The view calls a function of the server, which nobody could look into.
        (_, sources) if sources.len() == 1 && sources.iter().all(is_setting_name) => {
            Output { resolution: Resolution::Stored, sources }
        }
        (resolution, sources) => Output { resolution, sources },
    }
}

fn system_column(relation: &Relation, name: &str) -> Option<Output> {
    if !is_system_column(name) || relation.kind == RelationKind::View {
        return None;
    }
    let source = ColumnName { relation: relation.name.clone(), column: Arc::from(name) };
    Some(Output { resolution: Resolution::Stored, sources: vec![source] })
}

/// One column standing for several of the same name, as JOIN ... USING makes them.
fn merge(mut outputs: impl Iterator<Item = Output>) -> Option<Output> {
    let first = outputs.next()?;
    let Some(second) = outputs.next() else { return Some(first) };
    let origin = Origin::from(first).and(second.into());
    Some(outputs.fold(origin, |origin, next| origin.and(next.into())).computed())
}
