//! What a name stands for: relations by the session's search path, functions and types by whether they
//! are certainly the server's own.

use std::sync::Arc;

use sluicegate_core::{result::RelationName, sql::Access};
use sqlparser::ast::{ArrayElemTypeDef, DataType, Ident, ObjectName, ObjectNamePart};

use crate::{
    analysis::Context,
    budget::Budget,
    catalog::{Catalog, Relation, is_temporary},
    facts::Facts,
    functions,
};

/// The schema of the server's own objects.
const SYSTEM_SCHEMA: &str = "pg_catalog";

/// How names are looked up at one statement of a text.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What is left of what the text may cost.
    pub budget: &'a Budget,
    search_path: &'a [String],
    /// False once an earlier statement of the text may have changed the search path.
    pub path_holds: bool,
    /// False once an earlier statement of the text may have changed the catalog.
    pub catalog_holds: bool,
}

/// A relation's name in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// As written.
    pub schema: Option<String>,
    /// Folded.
    pub name: String,
}

impl<'a> Names<'a> {
    /// As the session stands before the text.
    pub fn new(context: &Context<'a>, budget: &'a Budget) -> Self {
        let Context { catalog, search_path, .. } = context;
        Self { catalog, budget, search_path, path_holds: true, catalog_holds: true }
    }

    /// Notes the relation's use; gives the relation if it is certainly this one.
    pub fn note(&self, facts: &mut Facts, named: &Named, access: Access) -> Option<&'a Relation> {
        let (found, certain) = self.find(named);
        match found {
            Some(relation) => {
                facts.relation(self.catalog, relation, access);
                if !certain && access != Access::DEFINE {
                    facts.reaches_unknown();
                }
            }
            None => facts.unknown_relation(&named.as_relation_name(), access),
        }
        found.filter(|_| certain)
    }

    /// The relation of that name, and whether it is certainly this one.
    pub fn find(&self, named: &Named) -> (Option<&'a Relation>, bool) {
        let name = named.name.as_str();
        let temporary = self.search_path.iter().find(|schema| is_temporary(schema));
        match named.schema.as_deref() {
            Some("pg_temp") => {
                let found = temporary.and_then(|schema| self.catalog.find(schema, name));
                (found, self.catalog_holds && self.path_holds)
            }
            Some(schema) => (self.catalog.find(schema, name), self.catalog_holds),
            None if !self.path_holds => (None, false),
            None => {
                let hidden = temporary.is_none() && self.catalog.has_temporary(name);
                let implied = (!self.search_path.iter().any(|schema| schema == SYSTEM_SCHEMA)).then_some(SYSTEM_SCHEMA);
                let listed = self.search_path.iter().filter(|schema| !is_temporary(schema)).map(String::as_str);
                let mut order = temporary.map(String::as_str).into_iter().chain(implied).chain(listed);
                (order.find_map(|schema| self.catalog.find(schema, name)), self.catalog_holds && !hidden)
            }
        }
    }

    /// Whether this is the server's view of its settings, which sets what is written to it, or a view upon it.
    pub fn is_settings(&self, named: &Named) -> bool {
        let is_it =
            |relation: &Relation| &*relation.name.name == "pg_settings" && &*relation.name.schema == SYSTEM_SCHEMA;
        let mut reached = self.find(named).0.into_iter().flat_map(|relation| self.catalog.reach(relation.oid));
        named.name == "pg_settings" || reached.any(|oid| self.catalog.relation(oid).is_some_and(is_it))
    }

    /// Whether this call certainly runs a function of the server.
    pub fn is_builtin_function(&self, schema: Option<&str>, name: &str) -> bool {
        schema.is_none_or(|schema| schema == SYSTEM_SCHEMA)
            && self.catalog_holds
            && self.catalog.is_builtin_function(name)
    }

    /// Whether `row.name` cannot be a call: no user's function and none of the server's that reads more than
    /// its arguments has this name.
    pub fn is_plain_name(&self, name: &str) -> bool {
        self.catalog_holds && !self.catalog.is_user_function(name) && !functions::is_indirect(name)
    }

    /// Whether reading or casting to this type runs none but the server's own functions.
    pub fn is_builtin_type(&self, data_type: &DataType) -> bool {
        match data_type {
            DataType::Custom(name, _) => match object_name(name).as_deref() {
                Some([name]) => self.catalog_holds && self.catalog.is_builtin_type(name),
                Some([schema, name]) => schema == SYSTEM_SCHEMA && self.catalog.is_builtin_type(name),
                _ => false,
            },
            DataType::Array(
                ArrayElemTypeDef::SquareBracket(inner, _)
                | ArrayElemTypeDef::AngleBracket(inner)
                | ArrayElemTypeDef::Parenthesis(inner),
            ) => self.is_builtin_type(inner),
            other => is_standard(other),
        }
    }
}

impl Named {
    /// A name without a schema.
    pub fn unqualified(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }

    /// The last two parts of a name; the database before them can only be the current one.
    pub fn from_object_name(name: &ObjectName) -> Result<Self, String> {
        match object_name(name).as_deref() {
            Some([name]) => Ok(Self::unqualified(name)),
            Some([schema, name] | [_, schema, name]) => Ok(Self { schema: Some(schema.clone()), name: name.clone() }),
            _ => Err("a relation's name has too many parts".to_owned()),
        }
    }

    /// As facts name it.
    pub fn as_relation_name(&self) -> RelationName {
        RelationName {
            schema: Arc::from(self.schema.as_deref().unwrap_or_default()),
            name: Arc::from(self.name.as_str()),
        }
    }
}

/// The parts of a name; none where one of them is not an identifier.
pub fn object_name(name: &ObjectName) -> Option<Vec<String>> {
    name.0.iter().map(|part| part_name(part).map(|ident| ident.value.clone())).collect()
}

/// The identifier in a part of a name.
pub fn part_name(part: &ObjectNamePart) -> Option<&Ident> {
    match part {
        ObjectNamePart::Identifier(ident) => Some(ident),
        ObjectNamePart::Function(_) => None,
    }
}

/// Whether sqlparser's name of a type is PostgreSQL's too.
fn is_standard(data_type: &DataType) -> bool {
    use DataType as D;
    matches!(
        data_type,
        D::Character(_)
            | D::Char(_)
            | D::CharacterVarying(_)
            | D::CharVarying(_)
            | D::Varchar(_)
            | D::Uuid
            | D::Numeric(_)
            | D::Decimal(_)
            | D::Dec(_)
            | D::Float(_)
            | D::Int2(_)
            | D::SmallInt(_)
            | D::Int(_)
            | D::Int4(_)
            | D::Int8(_)
            | D::Integer(_)
            | D::BigInt(_)
            | D::Float4
            | D::Float8
            | D::Real
            | D::DoublePrecision
            | D::Bool
            | D::Boolean
            | D::Date
            | D::Time(..)
            | D::Timestamp(..)
            | D::Interval { .. }
            | D::JSON
            | D::JSONB
            | D::Regclass
            | D::Text
            | D::Bytea
            | D::Bit(_)
            | D::BitVarying(_)
            | D::VarBit(_)
            | D::GeometricType(_)
            | D::TsVector
            | D::TsQuery
    )
}
