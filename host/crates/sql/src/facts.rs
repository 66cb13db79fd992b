//! Collects the facts about one text while its statements are read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sluicegate_core::{
    result::{ColumnName, RelationName, Resolution},
    sql::{Access, Classes, ColumnUse, FunctionUse, RelationUse, SqlFacts, Usage},
};

use crate::{
    analysis::Output,
    catalog::{Catalog, Oid, Relation},
    functions,
};

/// The most columns that one value may be computed from before it counts as unresolved.
const MAX_SOURCES: usize = 256;

/// The facts so far.
#[derive(Debug, Default)]
pub struct Facts {
    found: SqlFacts,
    relations: HashMap<RelationName, usize>,
    columns: HashMap<ColumnName, usize>,
    reachable: Vec<ColumnName>,
    opened: HashSet<Oid>,
    /// What was named, and how: it needs to be walked through once only.
    named: HashSet<(Oid, u8)>,
}

impl Facts {
    /// Another kind of work.
    pub fn class(&mut self, classes: Classes) {
        self.found.classes |= classes;
    }

    /// Another statement's name.
    pub fn kind(&mut self, kind: &str) {
        if !self.found.kinds.iter().any(|known| known == kind) {
            self.found.kinds.push(kind.to_owned());
        }
    }

    /// More may be reached than is listed.
    pub fn reaches_unknown(&mut self) {
        self.found.reaches_unknown = true;
    }

    /// Whether more may be reached than is listed.
    pub fn may_reach_unknown(&self) -> bool {
        self.found.reaches_unknown
    }

    /// An UPDATE or DELETE has no WHERE.
    pub fn writes_without_where(&mut self) {
        self.found.writes_without_where = true;
    }

    /// A statement cannot be analysed.
    pub fn unanalysable(&mut self, reason: String) {
        self.class(Classes::UNANALYSABLE);
        self.reaches_unknown();
        self.found.unanalysable.get_or_insert(reason);
    }

    /// A relation that the catalog knows, and all that is reached through it.
    pub fn relation(&mut self, catalog: &Catalog, relation: &Relation, access: Access) {
        if !self.named.insert((relation.oid, access.bits())) {
            return;
        }
        for (position, oid) in catalog.reach(relation.oid).into_iter().enumerate() {
            let Some(reached) = catalog.relation(oid) else {
                self.reaches_unknown();
                continue;
            };
            self.add_relation(&reached.name, access, true, position > 0);
            if functions::is_mirror(&reached.name.name) {
                self.reaches_unknown();
            }
            if self.opened.insert(oid) {
                let columns = reached.columns.iter().map(|column| column.name.clone());
                self.reachable.extend(columns.map(|column| ColumnName { relation: reached.name.clone(), column }));
            }
        }
    }

    /// A relation that the catalog does not know. Whatever is done to it but defining it may reach more.
    pub fn unknown_relation(&mut self, name: &RelationName, access: Access) {
        self.add_relation(name, access, false, false);
        if access != Access::DEFINE {
            self.reaches_unknown();
        }
    }

    fn add_relation(&mut self, name: &RelationName, access: Access, known: bool, indirect: bool) {
        let relations = &mut self.found.relations;
        if let Some(relation) = self.relations.get(name).and_then(|index| relations.get_mut(*index)) {
            relation.access |= access;
            relation.indirect &= indirect;
            relation.known &= known;
            return;
        }
        self.relations.insert(name.clone(), relations.len());
        relations.push(RelationUse { name: name.clone(), access, known, indirect });
    }

    /// Where an output's columns stand.
    pub fn columns(&mut self, output: &Output, usage: Usage) {
        for source in &output.sources {
            self.column(source, usage);
        }
    }

    /// Where a column stands.
    pub fn column(&mut self, name: &ColumnName, usage: Usage) {
        let columns = &mut self.found.columns;
        if let Some(column) = self.columns.get(name).and_then(|index| columns.get_mut(*index)) {
            column.usage |= usage;
            return;
        }
        self.columns.insert(name.clone(), columns.len());
        columns.push(ColumnUse { name: name.clone(), usage });
    }

    /// Where a column stands that could not be placed.
    pub fn unplaced_column(&mut self, column: &str, usage: Usage) {
        let relation = RelationName { schema: Arc::from(""), name: Arc::from("") };
        self.column(&ColumnName { relation, column: Arc::from(column) }, usage);
    }

    /// A function that is called.
    pub fn function(&mut self, schema: &str, name: &str, builtin: bool) {
        let found = &mut self.found.functions;
        if !found.iter().any(|known| known.name == name && known.schema == schema) {
            found.push(FunctionUse { schema: schema.to_owned(), name: name.to_owned(), builtin });
        }
    }

    /// All that another text's analysis found.
    pub fn include(&mut self, other: &SqlFacts) {
        self.class(other.classes);
        other.kinds.iter().for_each(|kind| self.kind(kind));
        for relation in &other.relations {
            self.add_relation(&relation.name, relation.access, relation.known, relation.indirect);
        }
        self.reachable.extend(other.reachable_columns.iter().cloned());
        other.columns.iter().for_each(|column| self.column(&column.name, column.usage));
        for function in &other.functions {
            self.function(&function.schema, &function.name, function.builtin);
        }
        self.found.reaches_unknown |= other.reaches_unknown;
        self.found.writes_without_where |= other.writes_without_where;
        if let Some(reason) = &other.unanalysable {
            self.unanalysable(reason.clone());
        }
    }

    /// The facts of a text with this many statements.
    pub fn finish(mut self, statements: usize) -> SqlFacts {
        let mut seen = HashSet::with_capacity(self.reachable.len());
        self.reachable.retain(|column| seen.insert(column.clone()));
        self.found.reachable_columns = self.reachable.into();
        self.found.statements = u32::try_from(statements).unwrap_or(u32::MAX);
        self.found
    }
}

/// What is known about an expression's value while it is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// False once anything in it cannot be told.
    pub known: bool,
    /// The columns it is computed from.
    pub sources: Vec<ColumnName>,
}

impl Origin {
    /// Of a literal: from no column.
    pub fn none() -> Self {
        Self { known: true, sources: Vec::new() }
    }

    /// Of what cannot be told.
    pub fn unknown() -> Self {
        Self { known: false, sources: Vec::new() }
    }

    /// Of a value computed from both.
    pub fn and(mut self, other: Self) -> Self {
        self.known &= other.known;
        for source in other.sources {
            if self.sources.len() == MAX_SOURCES {
                return self.or_unknown();
            }
            if !self.sources.contains(&source) {
                self.sources.push(source);
            }
        }
        self
    }

    /// The same, but it cannot be told what else is in it.
    pub fn or_unknown(self) -> Self {
        Self { known: false, ..self }
    }

    /// As an output column that is computed from it.
    pub fn computed(self) -> Output {
        let resolution = match (self.known, self.sources.is_empty()) {
            (false, _) => Resolution::Unresolved,
            (true, true) => Resolution::Computed,
            (true, false) => Resolution::Derived,
        };
        Output { resolution, sources: self.sources }
    }
}

impl From<Output> for Origin {
    fn from(output: Output) -> Self {
        Self { known: output.resolution != Resolution::Unresolved, sources: output.sources }
    }
}
