//! Reads queries: SELECT, VALUES, set operations and WITH.

use std::sync::Arc;

use sluicegate_core::sql::{Access, Classes, Usage};
use sqlparser::ast::{
    self, Distinct, Expr, Fetch, GroupByExpr, GroupByWithModifier, LimitClause, NamedWindowExpr, OrderBy, OrderByExpr,
    OrderByKind, Query, Select, SelectFlavor, SetExpr, SetQuantifier, With,
};

use crate::{
    facts::Origin,
    names::Named,
    reader::{Read, Reader, foreign},
    scope::{Columns, Cte, NamedOutput, Place, Scope, Source},
};

impl<'a> Reader<'a, '_> {
    /// Reads a query within a scope and gives its output columns. `usage` is where these stand.
    pub fn query(&mut self, query: &Query, parent: &Scope<'_, 'a>, usage: Usage) -> Read<Columns<'a>> {
        self.deeper(|reader| reader.query_level(query, parent, usage))
    }

    fn query_level(&mut self, query: &Query, parent: &Scope<'_, 'a>, usage: Usage) -> Read<Columns<'a>> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks: _,
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators,
        } = query
        else {
            return foreign("a query's clause");
        };
        if !pipe_operators.is_empty() {
            return foreign("a pipe operator");
        }
        self.seen.queries += 1;
        let ctes = match with {
            Some(with) => self.with(with, parent)?,
            None => Vec::new(),
        };
        let scope = Scope { parent: Some(parent), ctes: &ctes, sources: &[] };
        let columns = self.body(body, order_by.as_ref(), &scope, usage)?;
        self.limit(limit_clause.as_ref(), fetch.as_ref(), &scope)?;
        Ok(columns)
    }

    fn with(&mut self, with: &With, parent: &Scope<'_, 'a>) -> Read<Vec<Cte<'a>>> {
        let With { with_token: _, recursive, cte_tables } = with;
        let mut ctes: Vec<Cte<'a>> = Vec::with_capacity(cte_tables.len());
        if *recursive {
            // Each may refer to all of them, itself included, before its columns are known.
            let names = cte_tables.iter().map(|cte| cte.alias.name.value.clone());
            ctes.extend(names.map(|name| Cte { name, columns: Columns::Unknown }));
        }
        for cte in cte_tables {
            if cte.from.is_some() {
                return foreign("a common table expression with FROM");
            }
            let scope = Scope { parent: Some(parent), ctes: &ctes, sources: &[] };
            let columns = self.query(&cte.query, &scope, Usage::OUTPUT)?;
            let names: Vec<String> = cte.alias.columns.iter().map(|column| column.name.value.clone()).collect();
            let mut columns = columns.renamed(self.names, &names)?;
            if *recursive {
                columns = Columns::Unknown;
            }
            ctes.push(Cte { name: cte.alias.name.value.clone(), columns });
        }
        Ok(ctes)
    }

    fn body(
        &mut self,
        body: &SetExpr,
        order_by: Option<&OrderBy>,
        scope: &Scope<'_, 'a>,
        usage: Usage,
    ) -> Read<Columns<'a>> {
        let columns = match body {
            SetExpr::Select(select) => return self.select(select, order_by, scope, usage),
            SetExpr::Query(query) => self.query(query, scope, usage)?,
            SetExpr::SetOperation { .. } => self.set_operation(body, scope, usage)?,
            SetExpr::Values(values) => {
                let rows = values.rows.iter().map(|row| row.content.as_slice());
                self.values(rows, scope, usage)?
            }
            SetExpr::Insert(tree) | SetExpr::Update(tree) | SetExpr::Delete(tree) | SetExpr::Merge(tree) => {
                self.write(tree, scope)?
            }
            SetExpr::Table(_) => return foreign("TABLE within a query"),
        };
        if let Some(order_by) = order_by {
            let source = Source { schema: None, name: None, columns: columns.again(self.names)? };
            let sources = [source];
            self.order_by(order_by, &scope.within(&sources), &columns)?;
        }
        Ok(columns)
    }

    /// A chain of set operations, which leans to the left and may be long.
    fn set_operation(&mut self, body: &SetExpr, scope: &Scope<'_, 'a>, usage: Usage) -> Read<Columns<'a>> {
        let mut rights = Vec::new();
        let mut leftmost = body;
        while let SetExpr::SetOperation { left, op: _, set_quantifier, right } = leftmost {
            use SetQuantifier as Q;
            if matches!(set_quantifier, Q::ByName | Q::AllByName | Q::DistinctByName) {
                return foreign("a set operation BY NAME");
            }
            rights.push(right);
            leftmost = left;
        }
        let mut columns = self.body(leftmost, None, scope, usage)?;
        for right in rights.into_iter().rev() {
            let right = self.deeper(|reader| reader.body(right, None, scope, usage))?;
            columns = self.combine(columns, right)?;
        }
        Ok(columns)
    }

    /// The rows of VALUES as columns.
    pub(crate) fn values<'e>(
        &mut self,
        rows: impl Iterator<Item = &'e [Expr]>,
        scope: &Scope<'_, 'a>,
        usage: Usage,
    ) -> Read<Columns<'a>> {
        let mut origins: Vec<Origin> = Vec::new();
        for (position, row) in rows.enumerate() {
            for (column, value) in row.iter().enumerate() {
                let origin = self.expression(value, scope, usage)?;
                match origins.get_mut(column) {
                    Some(known) => *known = std::mem::replace(known, Origin::none()).and(origin),
                    None if position == 0 => origins.push(origin),
                    None => return foreign("VALUES with rows of different lengths"),
                }
            }
        }
        let named = origins.into_iter().enumerate().map(|(column, origin)| NamedOutput {
            name: Some(Arc::from(format!("column{}", column + 1))),
            output: origin.computed(),
        });
        Ok(Columns::Listed(named.collect()))
    }

    fn select(
        &mut self,
        select: &Select,
        order_by: Option<&OrderBy>,
        parent: &Scope<'_, 'a>,
        usage: Usage,
    ) -> Read<Columns<'a>> {
        let Select {
            select_token: _,
            optimizer_hints: _,
            distinct,
            select_modifiers: None,
            top: None,
            top_before_distinct: _,
            projection,
            exclude: None,
            into,
            from,
            lateral_views,
            prewhere: None,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify: None,
            window_before_qualify: _,
            value_table_mode: None,
            flavor: SelectFlavor::Standard,
        } = select
        else {
            return foreign("a clause of SELECT");
        };
        if !(lateral_views.is_empty() && connect_by.is_empty() && cluster_by.is_empty()) {
            return foreign("a clause of SELECT");
        }
        if !(distribute_by.is_empty() && sort_by.is_empty()) {
            return foreign("a clause of SELECT");
        }
        self.facts.kind("select");
        self.facts.class(Classes::READ);
        let (sources, merges) = self.from(from, parent)?;
        let scope = parent.within(&sources);
        for (filter, usage) in [(selection, Usage::FILTER), (having, Usage::FILTER)] {
            if let Some(filter) = filter {
                self.expression(filter, &scope, usage)?;
            }
        }
        for window in named_window {
            match &window.1 {
                NamedWindowExpr::WindowSpec(window) => self.window(window, &scope).map(drop)?,
                NamedWindowExpr::NamedWindow(_) => {}
            }
        }
        let columns = self.projection(projection, &scope, merges, usage)?;
        self.group_by(group_by, &scope, &columns)?;
        if let Some(Distinct::On(expressions)) = distinct {
            self.by_output(expressions.iter(), &scope, &columns, Usage::GROUP)?;
        }
        if let Some(order_by) = order_by {
            self.order_by(order_by, &scope, &columns)?;
        }
        if let Some(into) = into {
            self.select_into(into)?;
        }
        Ok(columns)
    }

    fn select_into(&mut self, into: &ast::SelectInto) -> Read<()> {
        self.facts.kind("create table as");
        self.facts.class(Classes::DDL);
        self.catalog_changed = true;
        for target in &into.targets {
            let named = match target {
                Expr::Identifier(name) => Named::unqualified(&name.value),
                Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [schema, name] => Named { schema: Some(schema.value.clone()), name: name.value.clone() },
                    _ => return foreign("SELECT INTO a name of more than two parts"),
                },
                _ => return foreign("SELECT INTO"),
            };
            self.names.note(self.facts, &named, Access::DEFINE);
        }
        Ok(())
    }

    fn group_by(&mut self, group_by: &GroupByExpr, scope: &Scope<'_, 'a>, columns: &Columns<'a>) -> Read<()> {
        let (expressions, modifiers) = match group_by {
            GroupByExpr::Expressions(expressions, modifiers) => (expressions.as_slice(), modifiers),
            GroupByExpr::All(_) => return foreign("GROUP BY ALL"),
        };
        for modifier in modifiers {
            match modifier {
                GroupByWithModifier::GroupingSets(sets) => {
                    self.by_output(std::iter::once(sets), scope, columns, Usage::GROUP)?;
                }
                _ => return foreign("GROUP BY ... WITH"),
            }
        }
        self.by_output(expressions.iter(), scope, columns, Usage::GROUP)
    }

    fn order_by(&mut self, order_by: &OrderBy, scope: &Scope<'_, 'a>, columns: &Columns<'a>) -> Read<()> {
        let OrderBy { kind: OrderByKind::Expressions(expressions), interpolate: None } = order_by else {
            return foreign("ORDER BY ALL");
        };
        for OrderByExpr { expr, options: _, with_fill } in expressions {
            if with_fill.is_some() {
                return foreign("ORDER BY ... WITH FILL");
            }
            self.by_output(std::iter::once(expr), scope, columns, Usage::ORDER)?;
        }
        Ok(())
    }

    /// Expressions that may also name an output column, by its name or its number. Literals have lost
    /// their values, so a number stands for every one of them.
    fn by_output<'e>(
        &mut self,
        expressions: impl Iterator<Item = &'e Expr>,
        scope: &Scope<'_, 'a>,
        columns: &Columns<'a>,
        usage: Usage,
    ) -> Read<()> {
        let outputs = if let Columns::Listed(columns) = columns { columns.as_slice() } else { &[] };
        for expression in expressions {
            let name = match expression {
                Expr::Identifier(name) => Some(name.value.as_str()),
                _ => None,
            };
            self.names.budget.compare(outputs.len())?;
            let mut named = outputs.iter().filter(|column| name.is_some() && column.name.as_deref() == name).peekable();
            if named.peek().is_some() {
                named.try_for_each(|column| self.stands(&column.output, usage))?;
                // ORDER BY prefers the output's name, GROUP BY the input's; what is only one of them is it.
                let input = name.map(|name| scope.bare(self.names, name)).transpose()?;
                if usage == Usage::ORDER || matches!(input, Some(Place::Unknown)) {
                    continue;
                }
            }
            if matches!(expression, Expr::Value(_)) {
                outputs.iter().try_for_each(|column| self.stands(&column.output, usage))?;
            }
            self.expression(expression, scope, usage)?;
        }
        Ok(())
    }

    /// The columns of a set operation: each value comes from either side.
    fn combine(&self, left: Columns<'a>, right: Columns<'a>) -> Read<Columns<'a>> {
        match (left, right) {
            (Columns::Listed(left), Columns::Listed(right)) if left.len() == right.len() => {
                let both = left.into_iter().zip(right).map(|(left, right)| {
                    let origin = self.both(left.output.into(), right.output.into())?;
                    Ok(NamedOutput { name: left.name, output: origin.computed() })
                });
                both.collect::<Read<_>>().map(Columns::Listed)
            }
            _ => Ok(Columns::Unknown),
        }
    }

    fn limit(&mut self, limit: Option<&LimitClause>, fetch: Option<&Fetch>, scope: &Scope<'_, 'a>) -> Read<()> {
        let (limit, offset) = match limit {
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            None => (None, None),
            Some(_) => return foreign("this form of LIMIT"),
        };
        let fetch = fetch.and_then(|fetch| fetch.quantity.as_ref());
        for expression in [limit, offset, fetch].into_iter().flatten() {
            self.expression(expression, scope, Usage::FILTER)?;
        }
        Ok(())
    }
}
