//! Reads the output columns of SELECT and RETURNING, and columns wherever they stand.

use std::sync::Arc;

use sluicegate_core::sql::Usage;
use sqlparser::ast::{self, Expr, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions};

use crate::{
    analysis::Output,
    facts::Origin,
    names::object_name,
    reader::{Read, Reader, foreign},
    scope::{Columns, NamedOutput, Place, Scope, Source},
};

/// `MaxTupleAttributeNumber` of PostgreSQL: it refuses longer lists of outputs.
const MAX_OUTPUTS: usize = 1664;

impl<'a> Reader<'a, '_> {
    /// The output columns of a SELECT or RETURNING. `merges` says that columns of FROM items stand for one
    /// another, so that the order of `*` is not known.
    pub(crate) fn projection(
        &mut self,
        items: &[SelectItem],
        scope: &Scope<'_, 'a>,
        merges: bool,
        usage: Usage,
    ) -> Read<Columns<'a>> {
        let mut columns = Some(Vec::with_capacity(items.len()));
        for item in items {
            let more = match item {
                SelectItem::UnnamedExpr(expression) => Some(vec![self.item(expression, None, scope, usage)?]),
                SelectItem::ExprWithAlias { expr, alias } => {
                    Some(vec![self.item(expr, Some(&alias.value), scope, usage)?])
                }
                SelectItem::Wildcard(options) => {
                    plain(options)?;
                    let all = self.expand(scope.sources.iter(), usage)?;
                    all.filter(|_| !merges && !scope.sources.is_empty())
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    plain(options)?;
                    self.expand_item(&object_name(name).unwrap_or_default(), scope, usage)?
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expression), options) => {
                    plain(options)?;
                    self.expression(expression, scope, usage)?;
                    None
                }
                SelectItem::ExprWithAliases { .. } => return foreign("several aliases"),
            };
            columns = columns.zip(more).map(|(mut columns, more)| {
                columns.extend(more);
                columns
            });
            if columns.as_ref().is_some_and(|columns| columns.len() > MAX_OUTPUTS) {
                return Err(format!("it has more than {MAX_OUTPUTS} output columns, which PostgreSQL refuses"));
            }
        }
        Ok(columns.map_or(Columns::Unknown, Columns::Listed))
    }

    fn item(
        &mut self,
        expression: &Expr,
        alias: Option<&String>,
        scope: &Scope<'_, 'a>,
        usage: Usage,
    ) -> Read<NamedOutput> {
        let (name, output) = match self.column(expression, scope, usage)? {
            Some((name, place)) => (Some(name), place),
            None => (None, self.expression(expression, scope, usage)?.computed()),
        };
        let name = alias.map(|alias| Arc::from(alias.as_str())).or(name);
        Ok(NamedOutput { name, output })
    }

    /// The column that an expression is, with its name, if it is nothing else.
    pub(crate) fn column(
        &mut self,
        expression: &Expr,
        scope: &Scope<'_, 'a>,
        usage: Usage,
    ) -> Read<Option<(Arc<str>, Output)>> {
        let names = self.names;
        let (name, place) = match expression {
            Expr::Identifier(name) if !is_keyword(name) => (&name.value, scope.bare(names, &name.value)?),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [item, name] => (&name.value, scope.qualified(names, None, &item.value, &name.value)?),
                [schema, item, name] | [_, schema, item, name] => {
                    (&name.value, scope.qualified(names, Some(&schema.value), &item.value, &name.value)?)
                }
                [.., name] => (&name.value, Place::Unknown),
                [] => return Ok(None),
            },
            _ => return Ok(None),
        };
        let output = match place {
            Place::Column(output) => {
                self.stands(&output, usage)?;
                output
            }
            Place::Unknown => {
                self.unplaced(name, usage);
                Origin::unknown().computed()
            }
        };
        Ok(Some((Arc::from(name.as_str()), output)))
    }

    /// Notes where a column stands.
    pub(crate) fn stands(&mut self, output: &Output, usage: Usage) -> Read<()> {
        self.names.budget.spend(output.sources.len())?;
        self.facts.columns(output, usage);
        Ok(())
    }

    fn expand_item(&mut self, name: &[String], scope: &Scope<'_, 'a>, usage: Usage) -> Read<Option<Vec<NamedOutput>>> {
        let items = match name {
            [item] => scope.items(self.names, None, item)?,
            [schema, item] | [_, schema, item] => scope.items(self.names, Some(schema), item)?,
            _ => Vec::new(),
        };
        Ok(self.expand(items.iter().copied(), usage)?.filter(|_| items.len() == 1))
    }

    fn expand<'s>(
        &mut self,
        sources: impl Iterator<Item = &'s Source<'a>>,
        usage: Usage,
    ) -> Read<Option<Vec<NamedOutput>>>
    where
        'a: 's,
    {
        let mut all = Some(Vec::new());
        for source in sources {
            let listed = source.columns.list(self.names)?;
            for column in listed.iter().flatten() {
                self.stands(&column.output, usage)?;
            }
            all = all.zip(listed).map(|(mut all, listed)| {
                all.extend(listed);
                all
            });
        }
        Ok(all)
    }
}

/// Refuses what other dialects add to `*`.
fn plain(options: &WildcardAdditionalOptions) -> Read<()> {
    match options {
        WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike: None,
            opt_exclude: None,
            opt_except: None,
            opt_replace: None,
            opt_rename: None,
            opt_alias: None,
        } => Ok(()),
        _ => foreign("an option of `*`"),
    }
}

/// Whether an unquoted name is a keyword of SQL that no column can have as its name.
pub(crate) fn is_keyword(name: &ast::Ident) -> bool {
    let keywords = ["default", "current_catalog", "current_role", "current_schema", "current_user"];
    name.quote_style.is_none() && keywords.contains(&name.value.as_str())
}
