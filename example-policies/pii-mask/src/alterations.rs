//! ALTER that takes a masked column to a name that no pattern covers.

use sluicegate_policy::{Access, ColumnGlob, ColumnName, Relation, Sql, Usage};

use crate::{
    leaks::{copied, could_leave},
    settings::{cite, masked_by},
};

/// Why the alteration would take a masked column to where it is not masked; none where it would not.
pub(crate) fn found(sql: Sql<'_>, columns: &[ColumnGlob], kinds: &[String]) -> Option<String> {
    if !could_leave(columns) {
        return None;
    }
    kinds.iter().filter(|kind| kind.starts_with("alter ")).find_map(|kind| {
        // `alter type` alters a type, `alter table type` a column's.
        let (what, how) = kind.strip_prefix("alter ")?.rsplit_once(' ')?;
        match how {
            "type" | "generated" => copied(sql, columns, kind),
            "rename" => moved(sql, columns, kind),
            "schema" if what.ends_with(" set") => moved(sql, columns, kind),
            "column" if what.ends_with(" rename") => renamed(sql, columns, kind),
            "inherit" | "attach" => joined(sql, columns, kind),
            _ => None,
        }
    })
}

/// A relation with a masked column, or all that a schema holds, gets another name.
fn moved(sql: Sql<'_>, columns: &[ColumnGlob], kind: &str) -> Option<String> {
    let relations: Vec<Relation> = sql.relations().into_iter().filter(is_defined).collect();
    let named = |name: &ColumnName| {
        relations.iter().any(|relation| relation.name.schema == name.schema && relation.name.name == name.relation)
    };
    let unknown = relations.iter().find(|relation| !relation.known).map(|relation| relation.name.to_string());
    let column = sql.reachable_columns().into_iter().find(|name| named(name) && is_masked(columns, name));
    if let Some(name) = &column {
        cite(columns, name);
    }
    let found = column.map(|name| name.to_string()).or(unknown)?;
    Some(format!("{} may take {found} to a name that is not masked", kind.to_uppercase()))
}

fn is_defined(relation: &Relation) -> bool {
    relation.access.contains(Access::DEFINE) && !relation.indirect
}

/// A masked column gets another name.
fn renamed(sql: Sql<'_>, columns: &[ColumnGlob], kind: &str) -> Option<String> {
    let written = sql.columns().into_iter().filter(|used| used.usage.contains(Usage::WRITE)).map(|used| used.name);
    let name = written.into_iter().find(|name| is_masked(columns, name))?;
    cite(columns, &name);
    Some(format!("{} would give the masked column {name} a name that may not be masked", kind.to_uppercase()))
}

/// A relation becomes another's child, so that its columns are read by the other's name too.
fn joined(sql: Sql<'_>, columns: &[ColumnGlob], kind: &str) -> Option<String> {
    if let Some(relation) = sql.relations().into_iter().find(|relation| !relation.known) {
        return Some(format!("{} names {}, which the gateway does not know", kind.to_uppercase(), relation.name));
    }
    let reachable = sql.reachable_columns();
    let (masked, clear): (Vec<_>, Vec<_>) = reachable.into_iter().partition(|name| is_masked(columns, name));
    let name = masked.into_iter().find(|name| clear.iter().any(|other| other.column == name.column))?;
    cite(columns, &name);
    Some(format!("{} would show the masked column {name} under another table's name", kind.to_uppercase()))
}

fn is_masked(columns: &[ColumnGlob], name: &ColumnName) -> bool {
    masked_by(columns, name).is_some()
}
