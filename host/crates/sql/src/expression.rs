//! Reads expressions: which columns they read, which functions they call, and whether that is all their
//! value can hold.

use std::borrow::Borrow;

use sluicegate_core::sql::{Classes, Usage};
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Query, Subscript, WindowSpec, WindowType,
};

use crate::{
    facts::Origin,
    functions,
    names::{object_name, part_name},
    projection::is_keyword,
    reader::{Read, Reader, foreign},
    scope::{Columns, Scope, is_setting_name},
};

impl<'a> Reader<'a, '_> {
    /// Reads an expression and gives what its value is computed from. `usage` is where it stands.
    pub(crate) fn expression(&mut self, expression: &Expr, scope: &Scope<'_, 'a>, usage: Usage) -> Read<Origin> {
        // A chain of operators leans to the left and may be long.
        let mut origin = Origin::none();
        let mut left = expression;
        while let Expr::BinaryOp { left: next, op, right } = left {
            origin = origin.and(self.operator(op)?).and(self.expression(right, scope, usage)?);
            left = next;
        }
        Ok(origin.and(self.deeper(|reader| reader.term(left, scope, usage))?))
    }

    fn term(&mut self, expression: &Expr, scope: &Scope<'_, 'a>, usage: Usage) -> Read<Origin> {
        use Expr as E;
        match expression {
            E::Value(_) => Ok(Origin::none()),
            E::Identifier(name) if is_keyword(name) => Ok(Origin::none()),
            E::Identifier(_) | E::CompoundIdentifier(_) => {
                let output = self.column(expression, scope, usage)?.map(|(_, output)| output);
                let origin = output.map_or(Origin::unknown(), Origin::from);
                if origin.sources.iter().any(|source| self.names.catalog.may_be_cast(source)) {
                    self.facts.reaches_unknown();
                    return Ok(origin.or_unknown());
                }
                Ok(origin)
            }
            E::Nested(inner)
            | E::IsFalse(inner)
            | E::IsNotFalse(inner)
            | E::IsTrue(inner)
            | E::IsNotTrue(inner)
            | E::IsNull(inner)
            | E::IsNotNull(inner)
            | E::IsUnknown(inner)
            | E::IsNotUnknown(inner)
            | E::IsJson { expr: inner, .. }
            | E::IsNormalized { expr: inner, .. }
            | E::Collate { expr: inner, .. } => self.expression(inner, scope, usage),
            E::UnaryOp { op, expr } => {
                let origin = self.symbols(&[&op.to_string()]);
                Ok(origin.and(self.expression(expr, scope, usage)?))
            }
            E::IsDistinctFrom(left, right) | E::IsNotDistinctFrom(left, right) => {
                let origin = self.symbols(&["="]);
                Ok(origin.and(self.all([left, right], scope, usage)?))
            }
            E::Between { expr, low, high, negated: _ } => {
                let origin = self.symbols(&["<", "<=", ">", ">="]);
                Ok(origin.and(self.all([expr, low, high], scope, usage)?))
            }
            E::InList { expr, list, negated: _ } => {
                let origin = self.symbols(&["=", "<>"]);
                Ok(origin.and(self.all(std::iter::once(expr.as_ref()).chain(list.iter()), scope, usage)?))
            }
            E::InSubquery { expr, subquery, negated: _ } => {
                let origin = self.symbols(&["=", "<>"]).and(self.expression(expr, scope, usage)?);
                Ok(origin.and(self.subquery(subquery, scope, usage)?))
            }
            E::Like { expr, pattern, escape_char, any: _, negated: _ }
            | E::ILike { expr, pattern, escape_char, any: _, negated: _ }
            | E::SimilarTo { expr, pattern, escape_char, negated: _ } => {
                let origin = self.symbols(&["~~", "!~~", "~~*", "!~~*", "~", "!~"]);
                let parts = [Some(expr), Some(pattern), escape_char.as_ref()];
                Ok(origin.and(self.all(parts.into_iter().flatten(), scope, usage)?))
            }
            E::AnyOp { left, compare_op, right, is_some: _ } | E::AllOp { left, compare_op, right } => {
                let origin = self.operator(compare_op)?;
                Ok(origin.and(self.all([left, right], scope, usage)?))
            }
            E::Cast { expr, data_type, format: None, .. } => {
                let origin = self.expression(expr, scope, usage)?;
                Ok(self.cast(data_type, origin))
            }
            E::TypedString(typed) => Ok(self.cast(&typed.data_type, Origin::none())),
            E::Interval(interval) => self.expression(&interval.value, scope, usage),
            E::AtTimeZone { timestamp, time_zone } => self.all([timestamp, time_zone], scope, usage),
            E::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                let whens = conditions.iter().flat_map(|when| [&when.condition, &when.result]);
                let others = [operand, else_result].into_iter().flatten().map(AsRef::as_ref);
                let compared = if operand.is_some() { self.symbols(&["="]) } else { Origin::none() };
                Ok(compared.and(self.all(whens.chain(others), scope, usage)?))
            }
            E::Exists { subquery, negated: _ } => {
                self.query(subquery, scope, Usage::FILTER)?;
                Ok(Origin::none())
            }
            E::Subquery(subquery) => self.subquery(subquery, scope, usage),
            E::Tuple(values) => self.all(values, scope, usage),
            E::Array(array) => self.all(&array.elem, scope, usage),
            E::GroupingSets(sets) | E::Cube(sets) | E::Rollup(sets) => self.all(sets.iter().flatten(), scope, usage),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, scope, usage),
            E::Function(function) => self.function(function, scope, usage),
            _ => self.keyword_function(expression, scope, usage),
        }
    }

    /// The functions that SQL gives a syntax of their own.
    fn keyword_function(&mut self, expression: &Expr, scope: &Scope<'_, 'a>, usage: Usage) -> Read<Origin> {
        use Expr as E;
        let (name, arguments) = match expression {
            E::Extract { field: _, syntax: _, expr } => ("extract", vec![expr]),
            E::Ceil { expr, field: CeilFloorKind::DateTimeField(_) } => ("ceil", vec![expr]),
            E::Floor { expr, field: CeilFloorKind::DateTimeField(_) } => ("floor", vec![expr]),
            E::Position { expr, r#in } => ("position", vec![expr, r#in]),
            E::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                let optional = [substring_from.as_ref(), substring_for.as_ref()];
                ("substring", std::iter::once(expr).chain(optional.into_iter().flatten()).collect())
            }
            E::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                let characters = trim_characters.iter().flatten();
                let origin = self.all(characters, scope, usage)?;
                let parts = trim_what.iter().chain(std::iter::once(expr)).map(AsRef::as_ref);
                let origin = origin.and(self.all(parts, scope, usage)?);
                return self.call(&["btrim".to_owned()], false, origin);
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let parts = [Some(expr), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()];
                ("overlay", parts.into_iter().flatten().collect())
            }
            _ => return foreign("an expression"),
        };
        let origin = self.all(arguments.into_iter().map(AsRef::as_ref), scope, usage)?;
        self.call(&[name.to_owned()], false, origin)
    }

    /// What a value computed from all of these is computed from.
    pub(crate) fn all<'e, E: Borrow<Expr> + 'e>(
        &mut self,
        expressions: impl IntoIterator<Item = &'e E>,
        scope: &Scope<'_, 'a>,
        usage: Usage,
    ) -> Read<Origin> {
        let mut origin = Origin::none();
        for expression in expressions {
            origin = origin.and(self.expression(expression.borrow(), scope, usage)?);
        }
        Ok(origin)
    }

    /// A subquery's value: that of its columns.
    fn subquery(&mut self, subquery: &Query, scope: &Scope<'_, 'a>, usage: Usage) -> Read<Origin> {
        Ok(match self.query(subquery, scope, usage)? {
            Columns::Listed(columns) => {
                let mut origins = columns.into_iter().map(|column| Origin::from(column.output));
                origins.try_fold(Origin::none(), |all, origin| self.both(all, origin))?
            }
            _ => Origin::unknown(),
        })
    }

    /// The origin of a value that comes from either, for values that no words of the text stand for.
    pub(crate) fn both(&self, left: Origin, right: Origin) -> Read<Origin> {
        self.names.budget.compare(left.sources.len() * right.sources.len())?;
        Ok(left.and(right))
    }

    fn access(&mut self, root: &Expr, chain: &[AccessExpr], scope: &Scope<'_, 'a>, usage: Usage) -> Read<Origin> {
        let mut origin = self.expression(root, scope, usage)?;
        for access in chain {
            origin = match access {
                AccessExpr::Subscript(Subscript::Index { index }) => origin.and(self.expression(index, scope, usage)?),
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    let bounds = [lower_bound, upper_bound].into_iter().flatten();
                    let bounds: Vec<&Expr> = bounds.collect();
                    bounds.into_iter().try_fold(origin, |origin, bound| {
                        Ok::<_, String>(origin.and(self.expression(bound, scope, usage)?))
                    })?
                }
                AccessExpr::Subscript(_) => return foreign("a subscript with a stride"),
                // `value.name` is a field, or a function that takes the value.
                AccessExpr::Dot(Expr::Identifier(name)) => {
                    if !self.names.is_plain_name(&name.value) {
                        self.runs_unknown_code();
                    }
                    origin.or_unknown()
                }
                AccessExpr::Dot(_) => return foreign("a field"),
            };
        }
        Ok(origin)
    }

    pub(crate) fn cast(&mut self, data_type: &DataType, origin: Origin) -> Origin {
        if self.names.is_builtin_type(data_type) && !self.names.catalog.has_casts_of_builtin_types() {
            return origin;
        }
        self.facts.reaches_unknown();
        origin.or_unknown()
    }

    /// The server's own operators only compute; one that is not known may be a user's.
    fn operator(&mut self, operator: &BinaryOperator) -> Read<Origin> {
        use BinaryOperator as B;
        match operator {
            B::Spaceship
            | B::Xor
            | B::BitwiseXor
            | B::DuckIntegerDivide
            | B::MyIntegerDivide
            | B::Match
            | B::Regexp
            | B::Glob
            | B::Assignment => foreign("an operator"),
            B::PGCustomBinaryOperator(_) | B::Custom(_) => {
                self.facts.reaches_unknown();
                Ok(Origin::unknown())
            }
            other => Ok(self.symbols(&[&other.to_string()])),
        }
    }

    /// What an operator with one of these symbols adds to a value: nothing where it can only be the server's,
    /// anything where users have made one too.
    fn symbols(&mut self, symbols: &[&str]) -> Origin {
        if self.names.catalog_holds && !symbols.iter().any(|symbol| self.names.catalog.is_user_operator(symbol)) {
            return Origin::none();
        }
        self.facts.reaches_unknown();
        Origin::unknown()
    }

    fn function(&mut self, function: &Function, scope: &Scope<'_, 'a>, usage: Usage) -> Read<Origin> {
        let Function {
            name,
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args,
            filter,
            null_treatment: _,
            over,
            within_group,
        } = function
        else {
            return foreign("a function's syntax");
        };
        self.seen.functions += 1;
        let Some(parts) = object_name(name) else { return foreign("a function's name") };
        let quoted = name.0.iter().filter_map(part_name).any(|part| part.quote_style.is_some());
        let mut origin = match args {
            FunctionArguments::None => Origin::none(),
            FunctionArguments::Subquery(query) => self.subquery(query, scope, usage)?,
            FunctionArguments::List(list) => {
                let origin = self.arguments(&list.args, scope, usage)?;
                list.clauses
                    .iter()
                    .try_fold(origin, |origin, clause| Ok::<_, String>(origin.and(self.clause(clause, scope)?)))?
            }
        };
        for order in within_group {
            origin = origin.and(self.expression(&order.expr, scope, usage)?);
        }
        if let Some(filter) = filter {
            origin = origin.and(self.expression(filter, scope, Usage::FILTER)?);
        }
        origin = match over {
            Some(WindowType::WindowSpec(window)) => origin.and(self.window(window, scope)?),
            Some(WindowType::NamedWindow(_)) => origin.or_unknown(),
            None => origin,
        };
        self.call(&parts, quoted, origin)
    }

    /// What a function's value is computed from, given that of its arguments.
    pub(crate) fn call(&mut self, name: &[String], quoted: bool, arguments: Origin) -> Read<Origin> {
        let (schema, name) = match name {
            [name] if !quoted && functions::is_syntax(name) => return Ok(arguments),
            [name] => (None, name),
            [schema, name] | [_, schema, name] => (Some(schema.as_str()), name),
            _ => return foreign("a function's name"),
        };
        let builtin = self.names.is_builtin_function(schema, name);
        self.facts.function(schema.unwrap_or_default(), name, builtin);
        // Whoever else has a function of such a name: it may still be the server's that is called.
        if schema.is_none_or(|schema| schema == "pg_catalog") {
            self.carried(name, &arguments)?;
        }
        if !builtin {
            self.runs_unknown_code();
            return Ok(arguments.or_unknown());
        }
        if functions::is_administrative(name) {
            self.facts.class(Classes::ADMIN);
        }
        self.settings_may_change |= name == "set_config";
        if functions::reads_elsewhere(name) {
            self.facts.reaches_unknown();
            return Ok(arguments.or_unknown());
        }
        Ok(arguments)
    }

    /// What a call may put where no column names it: nothing that is stored, or what a policy can judge by
    /// the columns.
    fn carried(&mut self, name: &str, arguments: &Origin) -> Read<()> {
        let stored = !(arguments.known && arguments.sources.iter().all(is_setting_name));
        let told = functions::is_keeper(name) && arguments.known;
        if stored && (functions::is_carrier(name) || functions::is_keeper(name)) && !told {
            return Err(format!("{name} would carry stored values to where no column names them"));
        }
        if told {
            for source in &arguments.sources {
                self.facts.column(source, Usage::OUTPUT);
            }
        }
        Ok(())
    }

    pub(crate) fn arguments(&mut self, arguments: &[FunctionArg], scope: &Scope<'_, 'a>, usage: Usage) -> Read<Origin> {
        let mut origin = Origin::none();
        for argument in arguments {
            let (FunctionArg::Unnamed(value)
            | FunctionArg::Named { arg: value, .. }
            | FunctionArg::ExprNamed { arg: value, name: Expr::Identifier(_), .. }) = argument
            else {
                return foreign("a function's argument");
            };
            origin = match value {
                FunctionArgExpr::Expr(expression) => origin.and(self.expression(expression, scope, usage)?),
                // `count(*)`: no other function of the server takes it.
                FunctionArgExpr::Wildcard => origin,
                FunctionArgExpr::QualifiedWildcard(_) => origin.or_unknown(),
                FunctionArgExpr::WildcardWithOptions(_) => return foreign("an option of `*`"),
            };
        }
        Ok(origin)
    }

    fn clause(&mut self, clause: &FunctionArgumentClause, scope: &Scope<'_, 'a>) -> Read<Origin> {
        match clause {
            FunctionArgumentClause::OrderBy(orders) => orders.iter().try_fold(Origin::none(), |origin, order| {
                Ok(origin.and(self.expression(&order.expr, scope, Usage::ORDER)?))
            }),
            FunctionArgumentClause::JsonNullClause(_) => Ok(Origin::none()),
            FunctionArgumentClause::JsonReturningClause(returning) => {
                Ok(self.cast(&returning.data_type, Origin::none()))
            }
            _ => foreign("a clause of a function's arguments"),
        }
    }

    /// A window definition, on which the value of a window function depends.
    pub(crate) fn window(&mut self, window: &WindowSpec, scope: &Scope<'_, 'a>) -> Read<Origin> {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = window;
        let mut origin = self.all(partition_by, scope, Usage::GROUP)?;
        for order in order_by {
            origin = origin.and(self.expression(&order.expr, scope, Usage::ORDER)?);
        }
        // A frame's offsets hold no column; only what they call matters.
        let bounds = window_frame.iter().flat_map(|frame| std::iter::once(&frame.start_bound).chain(&frame.end_bound));
        for bound in bounds {
            use sqlparser::ast::WindowFrameBound as W;
            if let W::Preceding(Some(offset)) | W::Following(Some(offset)) = bound {
                self.expression(offset, scope, Usage::FILTER)?;
            }
        }
        Ok(if window_name.is_some() { origin.or_unknown() } else { origin })
    }
}
