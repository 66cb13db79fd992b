//! Reads FROM: relations, subqueries, functions and joins.

use std::sync::Arc;

use sluicegate_core::sql::{Access, Usage};
use sqlparser::ast::{
    Expr, FunctionArg, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, TableAlias, TableFactor,
    TableSample, TableSampleKind, TableSampleModifier, TableWithJoins,
};

use crate::{
    facts::Origin,
    names::{Named, object_name},
    reader::{Read, Reader, foreign},
    scope::{Columns, NamedOutput, Scope, Source},
};

/// The server's functions that give one column, named after them, whose values come from their arguments.
const ONE_COLUMN: &[&str] = &["generate_series", "generate_subscripts", "regexp_split_to_table", "string_to_table"];

impl<'a> Reader<'a, '_> {
    /// Reads FROM and gives its items, and whether some of their columns stand for one another.
    pub(crate) fn from(&mut self, from: &[TableWithJoins], parent: &Scope<'_, 'a>) -> Read<(Vec<Source<'a>>, bool)> {
        let mut sources = Vec::with_capacity(from.len());
        let mut merges = false;
        for item in from {
            merges |= self.joined(item, parent, &mut sources)?;
        }
        Ok((sources, merges))
    }

    fn joined(&mut self, item: &TableWithJoins, parent: &Scope<'_, 'a>, sources: &mut Vec<Source<'a>>) -> Read<bool> {
        let first = sources.len();
        let mut merges = self.item_of_from(&item.relation, parent, sources)?;
        for Join { relation, global, join_operator } in &item.joins {
            if *global {
                return foreign("GLOBAL JOIN");
            }
            merges |= self.item_of_from(relation, parent, sources)?;
            let joined = sources.get(first..).unwrap_or_default();
            merges |= self.join_condition(join_operator, &parent.within(joined))?;
        }
        Ok(merges)
    }

    fn join_condition(&mut self, operator: &JoinOperator, scope: &Scope<'_, 'a>) -> Read<bool> {
        use JoinOperator as J;
        let (J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint)
        | J::CrossJoin(constraint)) = operator
        else {
            return foreign("this kind of join");
        };
        match constraint {
            JoinConstraint::On(condition) => {
                self.expression(condition, scope, Usage::JOIN)?;
                Ok(false)
            }
            JoinConstraint::Using(names) => {
                for name in names {
                    let parts = object_name(name).unwrap_or_default();
                    let [name] = parts.as_slice() else { return foreign("USING") };
                    let column = Expr::Identifier(Ident::with_quote('"', name.as_str()));
                    self.column(&column, scope, Usage::JOIN)?;
                }
                Ok(true)
            }
            JoinConstraint::Natural => {
                for source in scope.sources {
                    for column in source.columns.list(self.names)?.iter().flatten() {
                        self.stands(&column.output, Usage::JOIN)?;
                    }
                }
                Ok(true)
            }
            JoinConstraint::None => Ok(false),
        }
    }

    fn item_of_from(
        &mut self,
        item: &TableFactor,
        parent: &Scope<'_, 'a>,
        sources: &mut Vec<Source<'a>>,
    ) -> Read<bool> {
        self.seen.items += 1;
        let source = match item {
            TableFactor::Table { .. } => self.relation_item(item, parent, sources)?,
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                self.subquery_item(*lateral, subquery, alias.as_ref(), parent, sources)?
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
                let scope = Scope { parent: Some(parent), ctes: &[], sources };
                self.function_item(name, args, alias.as_ref(), *with_ordinality, &scope)?
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset: false,
                with_offset_alias: None,
                with_ordinality: _,
            } => {
                let scope = parent.within(sources);
                for array in array_exprs {
                    self.expression(array, &scope, Usage::OUTPUT)?;
                }
                let builtin = self.names.is_builtin_function(None, "unnest");
                self.facts.function("", "unnest", builtin);
                if !builtin {
                    self.facts.reaches_unknown();
                }
                Source { schema: None, name: Some(alias_name(alias.as_ref(), "unnest")), columns: Columns::Unknown }
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.deeper(|reader| {
                    let mut nested = Vec::new();
                    let merges = reader.nested(table_with_joins, parent, sources, &mut nested)?;
                    sources.extend(nested);
                    Ok(merges)
                });
            }
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
                let mut nested = Vec::new();
                self.deeper(|reader| reader.nested(table_with_joins, parent, sources, &mut nested))?;
                Source { schema: None, name: Some(alias.name.value.clone()), columns: Columns::Unknown }
            }
            _ => return foreign("this item of FROM"),
        };
        sources.push(source);
        Ok(false)
    }

    /// A join in parentheses. Lateral items in it see the items before it.
    fn nested(
        &mut self,
        join: &TableWithJoins,
        parent: &Scope<'_, 'a>,
        before: &[Source<'a>],
        nested: &mut Vec<Source<'a>>,
    ) -> Read<bool> {
        let scope = parent.within(before);
        self.joined(join, if before.is_empty() { parent } else { &scope }, nested)
    }

    fn relation_item(
        &mut self,
        item: &TableFactor,
        parent: &Scope<'_, 'a>,
        sources: &[Source<'a>],
    ) -> Read<Source<'a>> {
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version: None,
            with_ordinality,
            partitions,
            json_path: None,
            sample,
            index_hints,
        } = item
        else {
            return foreign("this item of FROM");
        };
        if !(with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty()) {
            return foreign("a table's hint");
        }
        let scope = parent.within(sources);
        if let Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample {
            self.sample(sample, &scope)?;
        }
        match args {
            Some(arguments) if arguments.settings.is_none() => {
                self.function_item(name, &arguments.args, alias.as_ref(), *with_ordinality, &scope)
            }
            Some(_) => foreign("SETTINGS"),
            None => self.relation(&Named::from_object_name(name)?, alias.as_ref(), Access::READ, parent),
        }
    }

    /// A relation or common table expression as an item.
    pub(crate) fn relation(
        &mut self,
        named: &Named,
        alias: Option<&TableAlias>,
        access: Access,
        scope: &Scope<'_, 'a>,
    ) -> Read<Source<'a>> {
        let cte = if named.schema.is_none() && access == Access::READ { scope.cte(&named.name) } else { None };
        let (columns, schema) = match cte {
            Some(cte) => (cte.columns.again(self.names)?, None),
            None => {
                let found = self.names.note(self.facts, named, access);
                let schema = found.map(|relation| relation.name.schema.to_string());
                (found.map_or(Columns::Unknown, Columns::Relation), schema.or_else(|| named.schema.clone()))
            }
        };
        let Some(alias) = alias else {
            return Ok(Source { schema, name: Some(named.name.clone()), columns });
        };
        let names = alias_columns(alias)?;
        let columns = if names.is_empty() { columns } else { columns.renamed(self.names, &names)? };
        Ok(Source { schema: None, name: Some(alias.name.value.clone()), columns })
    }

    fn subquery_item(
        &mut self,
        lateral: bool,
        subquery: &Query,
        alias: Option<&TableAlias>,
        parent: &Scope<'_, 'a>,
        sources: &[Source<'a>],
    ) -> Read<Source<'a>> {
        let scope = parent.within(if lateral { sources } else { &[] });
        let columns = self.query(subquery, &scope, Usage::OUTPUT)?;
        let Some(alias) = alias else { return Ok(Source { schema: None, name: None, columns }) };
        let columns = columns.renamed(self.names, &alias_columns(alias)?)?;
        Ok(Source { schema: None, name: Some(alias.name.value.clone()), columns })
    }

    fn function_item(
        &mut self,
        name: &ObjectName,
        arguments: &[FunctionArg],
        alias: Option<&TableAlias>,
        with_ordinality: bool,
        scope: &Scope<'_, 'a>,
    ) -> Read<Source<'a>> {
        let parts = object_name(name).unwrap_or_default();
        let quoted = name.0.iter().filter_map(crate::names::part_name).any(|part| part.quote_style.is_some());
        let values = self.arguments(arguments, scope, Usage::OUTPUT)?;
        let origin = self.call(&parts, quoted, values)?;
        // What a function's rows are read as is cast to, and a user's type may call anything.
        for data_type in alias.into_iter().flat_map(|alias| &alias.columns).filter_map(|c| c.data_type.as_ref()) {
            self.cast(data_type, Origin::none());
        }
        let function = parts.last().cloned().unwrap_or_default();
        let name = alias_name(alias, &function);
        let one_column = origin.known && !with_ordinality && ONE_COLUMN.contains(&function.as_str());
        let columns = if one_column { one(alias, &name, origin)? } else { Columns::Unknown };
        Ok(Source { schema: None, name: Some(name), columns })
    }

    fn sample(&mut self, sample: &TableSample, scope: &Scope<'_, 'a>) -> Read<()> {
        let TableSample {
            modifier: TableSampleModifier::TableSample,
            name: _,
            quantity,
            seed: _,
            bucket: None,
            offset: None,
        } = sample
        else {
            return foreign("SAMPLE");
        };
        if let Some(quantity) = quantity {
            self.expression(&quantity.value, scope, Usage::FILTER)?;
        }
        Ok(())
    }
}

/// The column of a function that gives one.
fn one<'a>(alias: Option<&TableAlias>, name: &str, origin: Origin) -> Read<Columns<'a>> {
    let names = alias.map(alias_columns).transpose()?.unwrap_or_default();
    let name = names.first().map_or(name, String::as_str);
    Ok(Columns::Listed(vec![NamedOutput { name: Some(Arc::from(name)), output: origin.computed() }]))
}

fn alias_name(alias: Option<&TableAlias>, otherwise: &str) -> String {
    alias.map_or(otherwise, |alias| alias.name.value.as_str()).to_owned()
}

fn alias_columns(alias: &TableAlias) -> Read<Vec<String>> {
    if alias.at.is_some() {
        return foreign("an alias with AT");
    }
    Ok(alias.columns.iter().map(|column| column.name.value.clone()).collect())
}
