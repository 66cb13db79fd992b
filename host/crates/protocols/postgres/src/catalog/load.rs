//! The queries that make up a catalog. All run in one snapshot, with an empty `search_path` and with
//! every name qualified.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sluicegate_core::RelationName;
use sluicegate_sql::{Catalog, CatalogColumn, Oid, Relation, RelationKind, is_indirect};

use super::{
    Cause,
    fingerprint::{self, Fingerprint},
    rule,
    side::{Row, Side},
};

/// The most columns, relations, types or functions that are held.
const MAX_ROWS: usize = 200_000;

/// Objects below it came with the server (`FirstNormalObjectId`, access/transam.h).
const FIRST_NORMAL_OID: Oid = 16384;

/// No relation has this OID; as something that a view reads it says "others too".
const UNKNOWN: Oid = 0;

/// Generations are unique over all targets: the analyser's cache is shared.
static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// System relations whose rows hold samples of other relations' values.
const SAMPLES: [&str; 5] = ["pg_statistic", "pg_stats", "pg_statistic_ext_data", "pg_stats_ext", "pg_stats_ext_exprs"];

const BEGIN: &str = "begin isolation level repeatable read read only";

const RELATIONS: &str = "\
    select c.oid, n.nspname, c.relname, c.relkind from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace";

/// Indexes and TOAST tables stay without columns: nothing in them can be told apart.
const COLUMNS: &str = "\
    select a.attrelid, a.attnum, a.attname, a.atttypid from pg_catalog.pg_attribute a \
    join pg_catalog.pg_class c on c.oid = a.attrelid \
    where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'v', 'm', 'f', 'p', 'S', 'c') \
    order by a.attrelid, a.attnum";

const TOAST: &str = "select reltoastrelid, oid from pg_catalog.pg_class where reltoastrelid <> 0";

const CHILDREN: &str = "\
    select i.inhparent, i.inhrelid from pg_catalog.pg_inherits i \
    join pg_catalog.pg_class c on c.oid = i.inhrelid where c.relkind in ('r', 'f', 'p')";

const TYPES: &str = "select oid, typname from pg_catalog.pg_type";

const FUNCTIONS: &str = "\
    select p.oid, p.proname, n.nspname = 'pg_catalog' and p.oid < '16384' and not exists ( \
    select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
    and d.objid = p.oid and d.deptype = 'e') \
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace";

/// Operators that somebody made, but those of an extension that are written in C: they only compute.
const OPERATORS: &str = "\
    select o.oprname from pg_catalog.pg_operator o where o.oid >= '16384' and not exists ( \
    select from pg_catalog.pg_depend d, pg_catalog.pg_proc p, pg_catalog.pg_language l \
    where d.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass and d.objid = o.oid and d.deptype = 'e' \
    and p.oid = o.oprcode and l.oid = p.prolang and l.lanname = 'c')";

/// Casts by function that somebody made, but those of an extension that are written in C.
const CASTS: &str = "\
    select c.castsource, c.casttarget from pg_catalog.pg_cast c \
    where c.oid >= '16384' and c.castfunc <> '0' and not exists ( \
    select from pg_catalog.pg_depend d, pg_catalog.pg_proc p, pg_catalog.pg_language l \
    where d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e' \
    and p.oid = c.castfunc and l.oid = p.prolang and l.lanname = 'c')";

/// Only what is not the server's own: system views count as tables.
const RULES: &str = "\
    select r.ev_class, r.ev_action::pg_catalog.text from pg_catalog.pg_rewrite r \
    join pg_catalog.pg_class c on c.oid = r.ev_class join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where r.ev_type = '1' and c.relkind in ('v', 'm') \
    and (c.oid >= '16384' or n.nspname not in ('pg_catalog', 'information_schema'))";

/// Whether a schema is the server's own. Views that somebody made in single-user mode have low OIDs
/// too, but not there.
fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema")
}

/// The catalog and its fingerprint, as of one moment.
pub(super) async fn catalog(side: &mut Side) -> Result<(Catalog, Fingerprint), Cause> {
    side.query(BEGIN, |_| Ok(())).await?;
    let fingerprint = fingerprint::read(side).await?;
    let mut draft = Draft::default();
    draft.relations(side).await?;
    draft.columns(side).await?;
    draft.links(side).await?;
    draft.types(side).await?;
    draft.functions(side).await?;
    draft.operators(side).await?;
    draft.rules(side).await?;
    side.query("commit", |_| Ok(())).await?;
    Ok((draft.finish(), fingerprint))
}

/// A catalog in the making.
#[derive(Default)]
struct Draft {
    names: HashSet<Arc<str>>,
    relations: HashMap<Oid, Relation>,
    types: HashMap<Oid, Arc<str>>,
    builtin_functions: HashSet<String>,
    user_functions: HashSet<String>,
    user_operators: HashSet<String>,
    user_casts: HashSet<(Oid, Oid)>,
    /// The functions that read nothing but their arguments.
    closed_functions: HashSet<Oid>,
}

impl Draft {
    async fn relations(&mut self, side: &mut Side) -> Result<(), Cause> {
        let mut rows = Counter::new("relations");
        side.query(RELATIONS, |row| {
            rows.one()?;
            let oid = row.oid(0)?;
            let name = RelationName { schema: self.name(row.text(1)?), name: self.name(row.text(2)?) };
            let samples = oid < FIRST_NORMAL_OID && SAMPLES.contains(&&*name.name);
            let kind = match row.text(3)? {
                _ if samples => RelationKind::View,
                "v" if oid < FIRST_NORMAL_OID && is_system(&name.schema) => RelationKind::Table,
                kind => kind_of(kind),
            };
            // Until its rule has been read, a view may read anything.
            let reads = if is_view(kind) { vec![UNKNOWN] } else { Vec::new() };
            let relation = Relation { oid, name, kind, columns: Vec::new(), reads, children: Vec::new() };
            self.relations.insert(oid, relation);
            Ok(())
        })
        .await
    }

    async fn columns(&mut self, side: &mut Side) -> Result<(), Cause> {
        let mut rows = Counter::new("columns");
        side.query(COLUMNS, |row| {
            rows.one()?;
            let name = self.name(row.text(2)?);
            let column = CatalogColumn { attnum: row.attnum(1)?, name, type_oid: row.oid(3)?, source: None };
            if let Some(relation) = self.relations.get_mut(&row.oid(0)?) {
                relation.columns.push(column);
            }
            Ok(())
        })
        .await
    }

    async fn links(&mut self, side: &mut Side) -> Result<(), Cause> {
        side.query(TOAST, |row| self.link(row, |toast, owner| toast.reads = vec![owner])).await?;
        side.query(CHILDREN, |row| self.link(row, |parent, child| parent.children.push(child))).await
    }

    fn link(&mut self, row: &Row, note: impl FnOnce(&mut Relation, Oid)) -> Result<(), Cause> {
        let (from, to) = (row.oid(0)?, row.oid(1)?);
        if let Some(relation) = self.relations.get_mut(&from) {
            note(relation, to);
        }
        Ok(())
    }

    async fn types(&mut self, side: &mut Side) -> Result<(), Cause> {
        let mut rows = Counter::new("types");
        side.query(TYPES, |row| {
            rows.one()?;
            let name = self.name(row.text(1)?);
            self.types.insert(row.oid(0)?, name);
            Ok(())
        })
        .await
    }

    async fn functions(&mut self, side: &mut Side) -> Result<(), Cause> {
        let mut rows = Counter::new("functions");
        side.query(FUNCTIONS, |row| {
            rows.one()?;
            let name = row.text(1)?;
            if row.flag(2)? {
                if !is_indirect(name) {
                    self.closed_functions.insert(row.oid(0)?);
                }
                self.builtin_functions.insert(name.to_owned());
            } else {
                self.user_functions.insert(name.to_owned());
            }
            Ok(())
        })
        .await
    }

    async fn operators(&mut self, side: &mut Side) -> Result<(), Cause> {
        let mut rows = Counter::new("operators and casts");
        side.query(OPERATORS, |row| {
            rows.one()?;
            self.user_operators.insert(row.text(0)?.to_owned());
            Ok(())
        })
        .await?;
        side.query(CASTS, |row| {
            rows.one()?;
            self.user_casts.insert((row.oid(0)?, row.oid(1)?));
            Ok(())
        })
        .await
    }

    async fn rules(&mut self, side: &mut Side) -> Result<(), Cause> {
        side.query(RULES, |row| {
            let view = row.oid(0)?;
            if let Some(rule) = rule::read(row.text(1)?) {
                self.apply(view, rule);
            }
            Ok(())
        })
        .await
    }

    fn apply(&mut self, view: Oid, rule: rule::Rule) {
        let own_functions = rule.functions.iter().any(|oid| !self.closed_functions.contains(oid));
        let own_operators = rule.operators.iter().any(|oid| *oid >= FIRST_NORMAL_OID);
        let Some(relation) = self.relations.get_mut(&view) else { return };
        let mut reads: Vec<Oid> = rule.relations.into_iter().filter(|oid| *oid != view).collect();
        reads.sort_unstable();
        reads.dedup();
        if own_functions || own_operators {
            reads.push(UNKNOWN);
        }
        relation.reads = reads;
        let origins: HashMap<i16, (Oid, i16)> = rule.origins.into_iter().collect();
        for column in &mut relation.columns {
            column.source = origins.get(&column.attnum).copied();
        }
    }

    fn finish(self) -> Catalog {
        let generation = NEXT_GENERATION.fetch_add(1, Ordering::Relaxed);
        let relations = self.relations.into_values().collect();
        Catalog::new(generation, relations, self.types, self.builtin_functions, self.user_functions)
            .with_operators(self.user_operators, self.user_casts)
    }

    /// One allocation per name, however many columns are called `id`.
    fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(name) = self.names.get(text) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(text);
        self.names.insert(Arc::clone(&name));
        name
    }
}

struct Counter {
    what: &'static str,
    rows: usize,
}

impl Counter {
    fn new(what: &'static str) -> Self {
        Self { what, rows: 0 }
    }

    fn one(&mut self) -> Result<(), Cause> {
        self.rows += 1;
        if self.rows > MAX_ROWS {
            return Err(Cause::TooLarge { what: self.what, limit: MAX_ROWS });
        }
        Ok(())
    }
}

fn is_view(kind: RelationKind) -> bool {
    matches!(kind, RelationKind::View | RelationKind::MaterializedView)
}

/// <https://www.postgresql.org/docs/current/catalog-pg-class.html>
fn kind_of(relkind: &str) -> RelationKind {
    match relkind {
        "r" => RelationKind::Table,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        "p" => RelationKind::Partitioned,
        "S" => RelationKind::Sequence,
        "i" | "I" => RelationKind::Index,
        "c" => RelationKind::Composite,
        "t" => RelationKind::Toast,
        _ => RelationKind::Other,
    }
}
