//! The kinds of objects that CREATE, ALTER and DROP name, and what working on them means.

use sluicegate_core::sql::Classes;

/// A kind of object.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// Its SQL name in lower case.
    pub name: &'static str,
    /// The class of the statements that create, alter or drop it.
    pub classes: Classes,
    /// Whether creating one brings in code that cannot be looked into.
    pub code: bool,
    /// Where the statement names a relation.
    pub relations: Relations,
}

/// Where a statement names a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relations {
    /// Nowhere.
    None,
    /// The object is one.
    Itself,
    /// After this word.
    After(&'static str),
}

const SCHEMA: Classes = Classes::DDL;
const SERVER: Classes = Classes::ADMIN;
const BOTH: Classes = Classes::DDL.union(Classes::ADMIN);

/// Every kind of object; names of several words before those that they begin with.
const OBJECTS: &[Object] = &[
    object("access method", BOTH, true, Relations::None),
    object("aggregate", SCHEMA, true, Relations::None),
    object("cast", SCHEMA, true, Relations::None),
    object("collation", SCHEMA, false, Relations::None),
    object("conversion", SCHEMA, true, Relations::None),
    object("database", BOTH, false, Relations::None),
    object("default privileges", SERVER, false, Relations::None),
    object("domain", SCHEMA, false, Relations::None),
    object("event trigger", BOTH, true, Relations::None),
    object("extension", BOTH, true, Relations::None),
    object("foreign data wrapper", BOTH, true, Relations::None),
    object("foreign table", SCHEMA, false, Relations::Itself),
    object("function", SCHEMA, true, Relations::None),
    object("group", SERVER, false, Relations::None),
    object("index", SCHEMA, false, Relations::Itself),
    object("language", BOTH, true, Relations::None),
    object("large object", SCHEMA, false, Relations::None),
    object("materialized view", SCHEMA, false, Relations::Itself),
    object("operator class", SCHEMA, true, Relations::None),
    object("operator family", SCHEMA, true, Relations::None),
    object("operator", SCHEMA, true, Relations::None),
    object("owned", SERVER, false, Relations::None),
    object("policy", SCHEMA, false, Relations::After("on")),
    object("procedure", SCHEMA, true, Relations::None),
    object("publication", BOTH, false, Relations::None),
    object("role", SERVER, false, Relations::None),
    object("routine", SCHEMA, true, Relations::None),
    object("rule", SCHEMA, true, Relations::After("to")),
    object("schema", SCHEMA, false, Relations::None),
    object("sequence", SCHEMA, false, Relations::Itself),
    object("server", BOTH, false, Relations::None),
    object("statistics", SCHEMA, false, Relations::After("from")),
    object("subscription", BOTH, false, Relations::None),
    object("system", SERVER, false, Relations::None),
    object("table", SCHEMA, false, Relations::Itself),
    object("tablespace", BOTH, false, Relations::None),
    object("text search configuration", SCHEMA, false, Relations::None),
    object("text search dictionary", SCHEMA, false, Relations::None),
    object("text search parser", BOTH, true, Relations::None),
    object("text search template", BOTH, true, Relations::None),
    object("transform", SCHEMA, true, Relations::None),
    object("trigger", SCHEMA, true, Relations::After("on")),
    object("type", SCHEMA, false, Relations::None),
    object("user mapping", SERVER, false, Relations::None),
    object("user", SERVER, false, Relations::None),
    object("view", SCHEMA, false, Relations::Itself),
];

const fn object(name: &'static str, classes: Classes, code: bool, relations: Relations) -> Object {
    Object { name, classes, code, relations }
}

/// The kind of object whose name `starts` says stands there.
pub fn find(starts: impl Fn(&str) -> bool) -> Option<&'static Object> {
    OBJECTS.iter().find(|object| starts(object.name))
}
