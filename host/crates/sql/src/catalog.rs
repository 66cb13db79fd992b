//! What a target's catalog says: its relations and their columns, types and functions. The protocol
//! loads it, the analyser looks names up in it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sluicegate_core::result::{ColumnName, RelationName, Resolution};

/// A PostgreSQL object identifier.
pub type Oid = u32;

/// OIDs below this one are given to the server's own objects (`FirstNormalObjectId`, transam.h).
const FIRST_NORMAL_OID: Oid = 16384;

/// How many views may lie upon one another before a column counts as unresolved.
const MAX_VIEW_DEPTH: usize = 64;

/// The system columns by negated attribute number (manual, section 5.5).
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"];

/// What a relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    Foreign,
    /// A partitioned table.
    Partitioned,
    /// A sequence.
    Sequence,
    /// An index, also a partitioned one.
    Index,
    /// A composite type.
    Composite,
    /// A TOAST table.
    Toast,
    /// Anything else.
    Other,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumn {
    /// Its attribute number, from 1.
    pub attnum: i16,
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub type_oid: Oid,
    /// For a view's column: the column one level down, stored or of another view, that it shows
    /// unchanged. None where that is unknown or where it is an expression.
    pub source: Option<(Oid, i16)>,
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its OID.
    pub oid: Oid,
    /// Its name.
    pub name: RelationName,
    /// What it is.
    pub kind: RelationKind,
    /// Its columns without dropped and system columns, by attribute number.
    pub columns: Vec<CatalogColumn>,
    /// For a view: the relations that it reads. An OID that the catalog does not hold, such as 0, says
    /// that it may read others too, as a view that calls a user's function does.
    pub reads: Vec<Oid>,
    /// Its direct children by inheritance or partitioning.
    pub children: Vec<Oid>,
}

impl Relation {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| &*column.name == name)
    }

    fn is_view(&self) -> bool {
        matches!(self.kind, RelationKind::View | RelationKind::MaterializedView)
    }

    fn name_of(&self, column: &Arc<str>) -> ColumnName {
        ColumnName { relation: self.name.clone(), column: column.clone() }
    }
}

/// A target's catalog as it was at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    generation: u64,
    relations: HashMap<Oid, Relation>,
    by_name: HashMap<Arc<str>, HashMap<Arc<str>, Oid>>,
    temporary_names: HashSet<Arc<str>>,
    types: HashMap<Oid, Arc<str>>,
    builtin_types: HashSet<Arc<str>>,
    user_types: HashSet<Arc<str>>,
    builtin_functions: HashSet<String>,
    user_functions: HashSet<String>,
    user_operators: HashSet<String>,
    user_casts: HashSet<(Oid, Oid)>,
}

impl Catalog {
    /// A catalog from its rows. `generation` differs between two catalogs that differ; it is part of
    /// the analyser's cache key, so it must be unique over all targets that share an analyser.
    /// `types` has every type by OID, `builtin_functions` the names of `pg_catalog`'s functions, and
    /// `user_functions` the names of all the others, in whatever schema.
    pub fn new(
        generation: u64,
        relations: Vec<Relation>,
        types: HashMap<Oid, Arc<str>>,
        builtin_functions: HashSet<String>,
        user_functions: HashSet<String>,
    ) -> Self {
        let mut by_name: HashMap<Arc<str>, HashMap<Arc<str>, Oid>> = HashMap::new();
        let mut temporary_names = HashSet::new();
        for relation in &relations {
            let RelationName { schema, name } = &relation.name;
            by_name.entry(schema.clone()).or_default().insert(name.clone(), relation.oid);
            if is_temporary(schema) {
                temporary_names.insert(name.clone());
            }
        }
        let names = |builtin: bool| {
            let chosen = types.iter().filter(|(oid, _)| (**oid < FIRST_NORMAL_OID) == builtin);
            chosen.map(|(_, name)| name.clone()).collect::<HashSet<_>>()
        };
        let (builtin_types, user_types) = (names(true), names(false));
        let relations = relations.into_iter().map(|relation| (relation.oid, relation)).collect();
        Self {
            generation,
            relations,
            by_name,
            temporary_names,
            types,
            builtin_types,
            user_types,
            builtin_functions,
            user_functions,
            ..Self::default()
        }
    }

    /// The same with what users made of operators and casts, which may call anything: `operators` by symbol,
    /// whatever their schema and operands, and `casts` as the OIDs of the types they go from and to. Those that
    /// only compute, as an extension's do, are to be left out.
    #[must_use]
    pub fn with_operators(self, operators: HashSet<String>, casts: HashSet<(Oid, Oid)>) -> Self {
        Self { user_operators: operators, user_casts: casts, ..self }
    }

    /// A catalog that knows nothing: every relation and function is unknown.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Which catalog this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The relation with this OID.
    pub fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// The relation of that name, which is case-sensitive.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.relations.get(self.by_name.get(schema)?.get(name)?)
    }

    /// The relations in a schema, in no order.
    pub(crate) fn in_schema(&self, schema: &str) -> impl Iterator<Item = &Relation> {
        let oids = self.by_name.get(schema).into_iter().flat_map(HashMap::values);
        oids.filter_map(|oid| self.relations.get(oid))
    }

    /// The name of a type.
    pub fn type_name(&self, oid: Oid) -> Option<Arc<str>> {
        self.types.get(&oid).cloned()
    }

    /// Where an output column with this table OID and attribute number comes from: the whole path from
    /// the view's column, if it is one, to the stored column, and the columns of that name in the
    /// stored relation's children. A whole row (0), an unknown OID and a view's expression are
    /// unresolved; the path is then as far as it is known. System columns are stored.
    pub fn resolve(&self, oid: Oid, attnum: i16) -> (Resolution, Vec<ColumnName>) {
        let mut path = Vec::new();
        let (mut oid, mut attnum) = (oid, attnum);
        for _ in 0..MAX_VIEW_DEPTH {
            let Some(relation) = self.relation(oid) else { return (Resolution::Unresolved, path) };
            if attnum < 0 {
                path.extend(system_column(attnum).map(|name| relation.name_of(&Arc::from(name))));
                return (Resolution::Stored, path);
            }
            let Some(column) = relation.columns.iter().find(|column| column.attnum == attnum) else {
                return (Resolution::Unresolved, path);
            };
            path.push(relation.name_of(&column.name));
            match column.source {
                Some(next) => (oid, attnum) = next,
                None if relation.is_view() => return (Resolution::Unresolved, path),
                None => {
                    self.extend_by_children(relation, &column.name, &mut path);
                    return (Resolution::Stored, path);
                }
            }
        }
        (Resolution::Unresolved, path)
    }

    /// The relations that reading this one reads: itself first, then what views read and children
    /// hold, transitively, each once. OIDs that the catalog does not hold are listed too.
    pub fn reach(&self, oid: Oid) -> Vec<Oid> {
        let mut seen = HashSet::from([oid]);
        let mut reached = vec![oid];
        let mut next = 0;
        while let Some(relation) = reached.get(next).map(|oid| self.relation(*oid)) {
            next += 1;
            let Some(relation) = relation else { continue };
            let further = relation.reads.iter().chain(&relation.children);
            reached.extend(further.filter(|oid| seen.insert(**oid)));
        }
        reached
    }

    /// Whether a temporary table of any session has this name.
    pub(crate) fn has_temporary(&self, name: &str) -> bool {
        self.temporary_names.contains(name)
    }

    /// Whether a function of this name is certainly the server's own, whatever its arguments.
    pub(crate) fn is_builtin_function(&self, name: &str) -> bool {
        self.builtin_functions.contains(name) && !self.user_functions.contains(name)
    }

    /// Whether anybody but the server has a function of this name.
    pub(crate) fn is_user_function(&self, name: &str) -> bool {
        self.user_functions.contains(name)
    }

    /// Whether anybody but the server has an operator with this symbol.
    pub(crate) fn is_user_operator(&self, symbol: &str) -> bool {
        self.user_operators.contains(symbol)
    }

    /// Whether a cast between two of the server's own types may be one that somebody made.
    pub(crate) fn has_casts_of_builtin_types(&self) -> bool {
        self.user_casts.iter().any(|(from, to)| *from < FIRST_NORMAL_OID && *to < FIRST_NORMAL_OID)
    }

    /// Whether a cast that users made may turn this column's values into something else, also unasked: its type,
    /// or that of its elements, is not the server's.
    pub(crate) fn may_be_cast(&self, name: &ColumnName) -> bool {
        !self.user_casts.is_empty() && {
            let relation = self.find(&name.relation.schema, &name.relation.name);
            let column = relation.and_then(|relation| relation.column(&name.column));
            column.is_some_and(|column| column.type_oid >= FIRST_NORMAL_OID)
        }
    }

    /// Whether a type of this name is certainly the server's own.
    pub(crate) fn is_builtin_type(&self, name: &str) -> bool {
        self.builtin_types.contains(name) && !self.user_types.contains(name)
    }

    fn extend_by_children(&self, relation: &Relation, column: &Arc<str>, path: &mut Vec<ColumnName>) {
        if relation.children.is_empty() {
            return;
        }
        let children = self.reach(relation.oid).into_iter().skip(1).filter_map(|oid| self.relation(oid));
        path.extend(children.filter(|child| child.column(column).is_some()).map(|child| child.name_of(column)));
    }
}

/// Whether a schema holds one session's temporary tables.
pub(crate) fn is_temporary(schema: &str) -> bool {
    schema.starts_with("pg_temp_")
}

/// Whether a name is a system column's.
pub(crate) fn is_system_column(name: &str) -> bool {
    SYSTEM_COLUMNS.contains(&name)
}

fn system_column(attnum: i16) -> Option<&'static str> {
    let index = usize::from(attnum.unsigned_abs()).checked_sub(1)?;
    SYSTEM_COLUMNS.get(index).copied()
}
