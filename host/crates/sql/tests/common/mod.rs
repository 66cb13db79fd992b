//! A small catalog to read texts against, and analyses in one line for tables of tests.

#![allow(dead_code, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up must fail")]

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sluicegate_core::{result::RelationName, sql::SqlFacts};
use sluicegate_sql::{
    Analyser, Analysis, Catalog, CatalogColumn, Context, Limits, Oid, Output, Outputs, Relation, RelationKind,
};

/// The state of a session.
pub struct World {
    pub catalog: Catalog,
    pub analyser: Analyser,
    pub search_path: Vec<String>,
    pub conforming: bool,
    pub prepared: HashMap<String, Arc<Analysis>>,
    pub cursors: HashMap<String, Arc<Analysis>>,
}

impl World {
    pub fn new() -> Self {
        Self {
            catalog: catalog(),
            analyser: Analyser::new(Limits::default(), 1000),
            search_path: vec!["public".to_owned()],
            conforming: true,
            prepared: HashMap::new(),
            cursors: HashMap::new(),
        }
    }

    pub fn with_path(path: &[&str]) -> Self {
        Self { search_path: path.iter().map(|schema| (*schema).to_owned()).collect(), ..Self::new() }
    }

    pub fn read(&self, text: &str) -> Arc<Analysis> {
        let context = Context {
            catalog: &self.catalog,
            search_path: &self.search_path,
            standard_conforming_strings: self.conforming,
            prepared: &self.prepared,
            cursors: &self.cursors,
        };
        self.analyser.analyse(text, &context)
    }
}

fn relation(
    oid: Oid,
    schema: &str,
    name: &str,
    kind: RelationKind,
    columns: &[(&str, Option<(Oid, i16)>)],
) -> Relation {
    let columns = columns.iter().zip(1..).map(|((name, source), attnum)| CatalogColumn {
        attnum,
        name: Arc::from(*name),
        type_oid: 25,
        source: *source,
    });
    Relation {
        oid,
        name: RelationName { schema: Arc::from(schema), name: Arc::from(name) },
        kind,
        columns: columns.collect(),
        reads: Vec::new(),
        children: Vec::new(),
    }
}

fn table(oid: Oid, schema: &str, name: &str, columns: &[&str]) -> Relation {
    let columns: Vec<_> = columns.iter().map(|name| (*name, None)).collect();
    relation(oid, schema, name, RelationKind::Table, &columns)
}

fn view(oid: Oid, name: &str, reads: &[Oid], columns: &[(&str, Option<(Oid, i16)>)]) -> Relation {
    Relation { reads: reads.to_vec(), ..relation(oid, "public", name, RelationKind::View, columns) }
}

/// People with a number worth hiding, views upon them, orders, and some of the server's own relations.
pub fn catalog() -> Catalog {
    let mut relations = vec![
        table(20001, "public", "people", &["id", "name", "ssn"]),
        table(20002, "public", "orders", &["id", "person_id", "total"]),
        view(20003, "directory", &[20001], &[("id", Some((20001, 1))), ("who", Some((20001, 2))), ("hint", None)]),
        view(20004, "contacts", &[20003], &[("who", Some((20003, 2))), ("hint", Some((20003, 3)))]),
        table(20005, "other", "people", &["id", "ssn"]),
        table(20006, "public", "Mixed Case", &["Id", "id"]),
        Relation { children: vec![20008], ..table(20007, "public", "events", &["id", "at", "note"]) },
        table(20008, "public", "events_2024", &["id", "at", "note"]),
        table(20009, "pg_temp_3", "scratch", &["ssn"]),
        view(20010, "guarded", &[20001, 0], &[("id", Some((20001, 1)))]),
        table(20011, "public", "accounts", &["aid", "bid", "abalance", "filler"]),
    ];
    for (oid, name) in (1000..).zip(["pg_class", "pg_namespace", "pg_stats", "pg_statistic", "pg_attribute", "pg_type"])
    {
        relations.push(table(oid, "pg_catalog", name, &["oid", "relname"]));
    }
    let types = [(23, "int4"), (25, "text"), (2206, "regtype"), (20100, "status")];
    let builtin = [
        "abs",
        "btrim",
        "concat",
        "count",
        "date_part",
        "extract",
        "generate_series",
        "length",
        "lower",
        "max",
        "md5",
        "now",
        "pg_notify",
        "query_to_xml",
        "rank",
        "row_to_json",
        "set_config",
        "string_agg",
        "substring",
        "sum",
        "unnest",
        "upper",
        "pg_terminate_backend",
        "current_setting",
        "shadowed",
        "to_json",
        "nextval",
    ];
    let user = ["shadowed", "leak", "reveal"];
    Catalog::new(
        1,
        relations,
        types.into_iter().map(|(oid, name)| (oid, Arc::from(name))).collect(),
        builtin.iter().map(|name| (*name).to_owned()).collect::<HashSet<_>>(),
        user.iter().map(|name| (*name).to_owned()).collect::<HashSet<_>>(),
    )
}

/// The outputs of one statement: `public.people.ssn` where stored, `derived(..)`, `computed`, `?`.
pub fn outputs(outputs: &Outputs) -> String {
    match outputs {
        Outputs::None => "none".to_owned(),
        Outputs::Unknown => "unknown".to_owned(),
        Outputs::Aligned(outputs) => fields(outputs),
    }
}

pub fn fields(outputs: &[Output]) -> String {
    let fields: Vec<String> = outputs.iter().map(field).collect();
    fields.join(", ")
}

fn field(output: &Output) -> String {
    use sluicegate_core::Resolution as R;
    let sources: Vec<String> = output.sources.iter().map(|c| format!("{}.{}", c.relation, c.column)).collect();
    let sources = sources.join(" ");
    match output.resolution {
        R::Stored => sources,
        R::Derived => format!("derived({sources})"),
        R::Computed => "computed".to_owned(),
        R::Unresolved => "?".to_owned(),
    }
}

/// The facts in one line.
pub fn facts(facts: &SqlFacts) -> String {
    let mut line = vec![
        format!("{:?}", facts.classes).replace("Classes(", "").replace(')', "").to_lowercase(),
        facts.kinds.join("+"),
    ];
    for relation in &facts.relations {
        let access = format!("{:?}", relation.access).replace("Access(", "").replace(')', "").to_lowercase();
        let known = if relation.known { "" } else { " unknown" };
        let indirect = if relation.indirect { " indirect" } else { "" };
        line.push(format!("{}[{}{known}{indirect}]", relation.name, access.replace(" | ", "|")));
    }
    if facts.reaches_unknown {
        line.push("reaches-unknown".to_owned());
    }
    if facts.writes_without_where {
        line.push("no-where".to_owned());
    }
    if facts.unanalysable.is_some() {
        line.push("unanalysable".to_owned());
    }
    line.join("; ")
}

/// What a fresh PostgreSQL 15 has in its catalog.
pub fn server_catalog() -> Catalog {
    let mut relations = Vec::new();
    let mut types = HashMap::new();
    let mut functions = HashSet::new();
    for line in include_str!("../fixtures/catalog.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["function", names @ ..] => functions.extend(names.iter().map(|name| (*name).to_owned())),
            ["type", names @ ..] => {
                for name in names {
                    types.insert(u32::try_from(types.len()).unwrap(), Arc::from(*name));
                }
            }
            ["relation", oid, name, kind, reads, columns @ ..] => {
                let (schema, name) = name.split_once('.').unwrap();
                let kind = if *kind == "v" { RelationKind::View } else { RelationKind::Table };
                let columns: Vec<_> = columns.iter().map(|column| (*column, None)).collect();
                let reads = reads.split(',').filter_map(|oid| oid.parse().ok()).collect();
                relations.push(Relation { reads, ..relation(oid.parse().unwrap(), schema, name, kind, &columns) });
            }
            other => panic!("{other:?}"),
        }
    }
    Catalog::new(2, relations, types, functions, HashSet::new())
}
