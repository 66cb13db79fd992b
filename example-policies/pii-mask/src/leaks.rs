//! Commands whose data would get past every mask, because it does not flow through a result.

use sluicegate_policy::{Classes, ColumnGlob, ColumnName, Sql, Usage};

use crate::{
    alterations,
    settings::{cite, masked_by},
};

/// Statements that store what they read.
const COPIES: [&str; 4] = ["create table as", "create materialized view", "merge", "update"];

/// Statements that run code at once. What it reads it can put anywhere: into a setting, a notification, a table.
const RUNS_CODE: [&str; 2] = ["do", "call"];

/// What COPY is beside a read or write where it is not with the client: of a file, of a program.
const SERVER_SIDE: Classes = Classes::ADMIN.union(Classes::OPAQUE);

/// Why the command cannot be masked; none where it can.
pub(crate) fn found(sql: Sql<'_>, columns: &[ColumnGlob]) -> Option<String> {
    let classes = sql.classes();
    if classes.contains(Classes::UNANALYSABLE) {
        let why = sql.unanalysable_reason().unwrap_or_default();
        return Some(format!("the command cannot be analysed ({why}), so what it returns cannot be masked"));
    }
    if let Some(by) = keeper(sql)
        && let Some(reason) = copied(sql, columns, &by)
    {
        return Some(reason);
    }
    if !classes.intersects(SERVER_SIDE | Classes::DML | Classes::DDL) {
        return None;
    }
    let kinds = sql.kinds();
    let is = |name: &str| kinds.iter().any(|kind| kind == name);
    if classes.intersects(SERVER_SIDE) && is("copy") {
        let reason = "COPY with a file or program of the server cannot be masked; use COPY ... TO STDOUT, in a \
                      command of its own";
        return Some(reason.to_owned());
    }
    if let Some(kind) = RUNS_CODE.into_iter().find(|name| is(name)) {
        let kind = kind.to_uppercase();
        return Some(format!("{kind} runs code that can carry values past every mask; run its statements one by one"));
    }
    let copies =
        COPIES.into_iter().find(|name| is(name)).or_else(|| (is("insert") && is("select")).then_some("insert"));
    match copies {
        Some(kind) => copied(sql, columns, kind),
        None => alterations::found(sql, columns, &kinds),
    }
}

/// The function that keeps a number where everybody can read it, if one is called.
fn keeper(sql: Sql<'_>) -> Option<String> {
    let locks = |name: &str| name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_");
    let keeps = |name: &str| name == "setval" || locks(name) && !name.contains("unlock");
    sql.functions().into_iter().map(|function| function.name).find(|name| keeps(name))
}

/// Whether there is a column that is masked and a place where it would not be.
pub(crate) fn could_leave(columns: &[ColumnGlob]) -> bool {
    !columns.is_empty() && !columns.iter().any(ColumnGlob::matches_everything)
}

/// Why a command that stores what it reads would take a masked column to where it is not masked.
pub(crate) fn copied(sql: Sql<'_>, columns: &[ColumnGlob], by: &str) -> Option<String> {
    if !could_leave(columns) {
        return None;
    }
    let masked = |name: &ColumnName| masked_by(columns, name).is_some();
    let read = sql.columns().into_iter().filter(|used| used.usage.contains(Usage::OUTPUT));
    // A name that stands for no column may be a whole row.
    let (unplaced, placed): (Vec<_>, Vec<_>) = read.partition(|used| used.name.relation.is_empty());
    let found = placed.into_iter().map(|used| used.name).find(masked).or_else(|| {
        let row = unplaced.into_iter().next()?.name;
        sql.reachable_columns().into_iter().find(masked).or_else(|| sql.reaches_unknown().then_some(row))
    })?;
    cite(columns, &found);
    Some(format!(
        "{} may copy the masked column {} to where it is not masked; leave that column out, also of RETURNING",
        by.to_uppercase(),
        found
    ))
}
