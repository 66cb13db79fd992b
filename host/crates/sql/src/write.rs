//! Reads INSERT, UPDATE, DELETE and MERGE.

use std::sync::Arc;

use sluicegate_core::{
    result::ColumnName,
    sql::{Access, Classes, Usage},
};
use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, DoUpdate, Expr, FromTable, Insert, Merge, MergeAction,
    MergeInsertKind, MergeUpdateKind, ObjectName, OnConflict, OnConflictAction, OnInsert, OutputClause, SelectItem,
    Statement as Tree, TableAlias, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind,
};

use crate::{
    names::{Named, object_name},
    reader::{Read, Reader, foreign},
    scope::{Columns, Scope, Source},
};

impl<'a> Reader<'a, '_> {
    /// Reads a write within the scope of its WITH and gives the columns of its RETURNING.
    pub fn write(&mut self, tree: &Tree, scope: &Scope<'_, 'a>) -> Read<Columns<'a>> {
        self.facts.class(Classes::DML);
        match tree {
            Tree::Insert(insert) => self.insert(insert, scope),
            Tree::Update(update) => self.update(update, scope),
            Tree::Delete(delete) => self.delete(delete, scope),
            Tree::Merge(merge) => self.merge(merge, scope),
            _ => foreign("a statement within a statement"),
        }
    }

    fn insert(&mut self, insert: &Insert, scope: &Scope<'_, 'a>) -> Read<Columns<'a>> {
        self.facts.kind("insert");
        let Insert {
            insert_token: _,
            optimizer_hints: _,
            or: None,
            ignore: false,
            into: _,
            table: TableObject::TableName(table),
            table_alias,
            columns,
            overwrite: false,
            source,
            assignments,
            partitioned: None,
            after_columns,
            has_table_keyword: false,
            on,
            returning,
            output: None,
            replace_into: false,
            priority: None,
            insert_alias: None,
            settings: None,
            format_clause: None,
            multi_table_insert_type: None,
            multi_table_into_clauses: _,
            multi_table_when_clauses: _,
            multi_table_else_clause: None,
        } = insert
        else {
            return foreign("a clause of INSERT");
        };
        if !(assignments.is_empty() && after_columns.is_empty()) {
            return foreign("a clause of INSERT");
        }
        let alias = table_alias.as_ref().map(|alias| alias.alias.value.clone());
        let target = self.target(&Named::from_object_name(table)?, alias, Access::INSERT, returning.is_some())?;
        if columns.is_empty() {
            self.writes_all(&target)?;
        }
        for column in columns {
            self.writes(&target, column)?;
        }
        if let Some(source) = source {
            self.query(source, scope, Usage::OUTPUT)?;
        }
        match on {
            Some(OnInsert::OnConflict(conflict)) => self.conflict(conflict, &target, scope)?,
            Some(_) => return foreign("ON DUPLICATE KEY"),
            None => {}
        }
        self.returning(returning.as_deref(), &[target], false, scope)
    }

    fn conflict(&mut self, conflict: &OnConflict, target: &Source<'a>, scope: &Scope<'_, 'a>) -> Read<()> {
        if let Some(ConflictTarget::Columns(columns)) = &conflict.conflict_target {
            let sources = [target.clone()];
            for column in columns {
                self.column(&Expr::Identifier(column.clone()), &scope.within(&sources), Usage::FILTER)?;
            }
        }
        let OnConflictAction::DoUpdate(DoUpdate { assignments, selection }) = &conflict.action else { return Ok(()) };
        let excluded = Source { schema: None, name: Some("excluded".to_owned()), columns: target.columns.clone() };
        let sources = [target.clone(), excluded];
        let within = scope.within(&sources);
        self.assignments(assignments, target, &within)?;
        if let Some(selection) = selection {
            self.expression(selection, &within, Usage::FILTER)?;
        }
        Ok(())
    }

    fn update(&mut self, update: &Update, scope: &Scope<'_, 'a>) -> Read<Columns<'a>> {
        self.facts.kind("update");
        let Update {
            update_token: _,
            optimizer_hints: _,
            table,
            assignments,
            from,
            selection,
            returning,
            output: None,
            or: None,
            order_by,
            limit: None,
        } = update
        else {
            return foreign("a clause of UPDATE");
        };
        if !order_by.is_empty() {
            return foreign("UPDATE ... ORDER BY");
        }
        let target = self.target_item(table, Access::UPDATE, returning.is_some())?;
        let from = match from {
            Some(UpdateTableFromKind::AfterSet(from)) => from.as_slice(),
            Some(UpdateTableFromKind::BeforeSet(_)) => return foreign("UPDATE with FROM before SET"),
            None => &[],
        };
        let (sources, merges) = self.with_target(target.clone(), from, scope)?;
        let within = scope.within(&sources);
        self.assignments(assignments, &target, &within)?;
        self.condition(selection.as_ref(), &within)?;
        self.returning(returning.as_deref(), &sources, merges, scope)
    }

    fn delete(&mut self, delete: &Delete, scope: &Scope<'_, 'a>) -> Read<Columns<'a>> {
        self.facts.kind("delete");
        let Delete {
            delete_token: _,
            optimizer_hints: _,
            tables,
            from: FromTable::WithFromKeyword(from),
            using,
            selection,
            returning,
            output: None,
            order_by,
            limit: None,
        } = delete
        else {
            return foreign("a clause of DELETE");
        };
        let ([table], true, true) = (from.as_slice(), tables.is_empty(), order_by.is_empty()) else {
            return foreign("a clause of DELETE");
        };
        let target = self.target_item(table, Access::DELETE, returning.is_some())?;
        let (sources, merges) = self.with_target(target, using.as_deref().unwrap_or_default(), scope)?;
        self.condition(selection.as_ref(), &scope.within(&sources))?;
        self.returning(returning.as_deref(), &sources, merges, scope)
    }

    fn merge(&mut self, merge: &Merge, scope: &Scope<'_, 'a>) -> Read<Columns<'a>> {
        self.facts.kind("merge");
        let Merge { merge_token: _, optimizer_hints: _, into: _, table, source, on, clauses, output } = merge;
        let access = clauses.iter().fold(Access::READ, |access, clause| {
            let (kind, done) = match clause.action {
                MergeAction::Insert(_) => ("insert", Access::INSERT),
                MergeAction::Update(_) => ("update", Access::UPDATE),
                MergeAction::Delete { .. } => ("delete", Access::DELETE),
                MergeAction::DoNothing { .. } => return access,
            };
            self.facts.kind(kind);
            access | done
        });
        let target = TableWithJoins { relation: table.clone(), joins: Vec::new() };
        let target = self.target_item(&target, access, false)?;
        let from = [TableWithJoins { relation: source.clone(), joins: Vec::new() }];
        let (sources, _) = self.with_target(target.clone(), &from, scope)?;
        let within = scope.within(&sources);
        self.expression(on, &within, Usage::JOIN)?;
        for clause in clauses {
            if let Some(predicate) = &clause.predicate {
                self.expression(predicate, &within, Usage::FILTER)?;
            }
            self.merge_action(&clause.action, &target, &within)?;
        }
        match output {
            None => Ok(Columns::Listed(Vec::new())),
            Some(OutputClause::Returning { select_items, .. }) => {
                self.facts.class(Classes::READ);
                self.projection(select_items, &within, true, Usage::OUTPUT)
            }
            Some(OutputClause::Output { .. }) => foreign("MERGE ... OUTPUT"),
        }
    }

    fn merge_action(&mut self, action: &MergeAction, target: &Source<'a>, scope: &Scope<'_, 'a>) -> Read<()> {
        match action {
            MergeAction::Insert(insert) => {
                if insert.columns.is_empty() {
                    self.writes_all(target)?;
                }
                insert.columns.iter().try_for_each(|column| self.writes(target, column))?;
                match &insert.kind {
                    MergeInsertKind::Values(values) => {
                        let rows = values.rows.iter().map(|row| row.content.as_slice());
                        self.values(rows, scope, Usage::OUTPUT)?;
                    }
                    _ => return foreign("MERGE ... INSERT"),
                }
                match insert.insert_predicate {
                    None => Ok(()),
                    Some(_) => foreign("MERGE ... INSERT ... WHERE"),
                }
            }
            MergeAction::Update(update) => match (&update.kind, &update.update_predicate, &update.delete_predicate) {
                (MergeUpdateKind::Set(assignments), None, None) => self.assignments(assignments, target, scope),
                _ => foreign("MERGE ... UPDATE"),
            },
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => Ok(()),
        }
    }

    fn condition(&mut self, selection: Option<&Expr>, scope: &Scope<'_, 'a>) -> Read<()> {
        match selection {
            Some(selection) => self.expression(selection, scope, Usage::FILTER).map(drop),
            None => {
                self.facts.writes_without_where();
                Ok(())
            }
        }
    }

    /// The written relation as an item.
    fn target(&mut self, named: &Named, alias: Option<String>, access: Access, returned: bool) -> Read<Source<'a>> {
        let access = if returned { access | Access::READ } else { access };
        let found = self.names.note(self.facts, named, access);
        if self.names.is_settings(named) {
            return Err("a write to pg_settings sets what the gateway cannot follow; use SET".to_owned());
        }
        let schema = if alias.is_none() { found.map(|relation| relation.name.schema.to_string()) } else { None };
        let name = alias.unwrap_or_else(|| named.name.clone());
        Ok(Source { schema, name: Some(name), columns: found.map_or(Columns::Unknown, Columns::Relation) })
    }

    fn target_item(&mut self, table: &TableWithJoins, access: Access, returned: bool) -> Read<Source<'a>> {
        let (TableFactor::Table { name, alias, args: None, .. }, []) = (&table.relation, table.joins.as_slice()) else {
            return foreign("the target of a write");
        };
        self.seen.items += 1;
        let alias = alias.as_ref().map(|TableAlias { name, .. }| name.value.clone());
        self.target(&Named::from_object_name(name)?, alias, access, returned)
    }

    fn with_target(
        &mut self,
        target: Source<'a>,
        from: &[TableWithJoins],
        scope: &Scope<'_, 'a>,
    ) -> Read<(Vec<Source<'a>>, bool)> {
        let (mut sources, merges) = self.from(from, scope)?;
        sources.insert(0, target);
        Ok((sources, merges))
    }

    fn assignments(&mut self, assignments: &[Assignment], target: &Source<'a>, scope: &Scope<'_, 'a>) -> Read<()> {
        for Assignment { target: assigned, value } in assignments {
            match assigned {
                AssignmentTarget::ColumnName(column) => self.writes(target, column)?,
                AssignmentTarget::Tuple(columns) => {
                    columns.iter().try_for_each(|column| self.writes(target, column))?;
                }
            }
            self.expression(value, scope, Usage::OUTPUT)?;
        }
        Ok(())
    }

    fn returning(
        &mut self,
        items: Option<&[SelectItem]>,
        sources: &[Source<'a>],
        merges: bool,
        scope: &Scope<'_, 'a>,
    ) -> Read<Columns<'a>> {
        let Some(items) = items else { return Ok(Columns::Listed(Vec::new())) };
        self.facts.class(Classes::READ);
        self.projection(items, &scope.within(sources), merges, Usage::OUTPUT)
    }

    fn writes(&mut self, target: &Source<'a>, column: &ObjectName) -> Read<()> {
        let Some(name) = object_name(column).and_then(|parts| parts.into_iter().next()) else { return Ok(()) };
        match target.columns.find(self.names, &name)? {
            Some(output) => self.stands(&output, Usage::WRITE)?,
            None => self.facts.unplaced_column(&name, Usage::WRITE),
        }
        Ok(())
    }

    fn writes_all(&mut self, target: &Source<'a>) -> Read<()> {
        let Columns::Relation(relation) = target.columns else { return Ok(()) };
        self.names.budget.list(relation.columns.len())?;
        for column in &relation.columns {
            let name = ColumnName { relation: relation.name.clone(), column: Arc::clone(&column.name) };
            self.facts.column(&name, Usage::WRITE);
        }
        Ok(())
    }
}
