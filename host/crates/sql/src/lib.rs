//! What a SQL text does, as the PostgreSQL dialect reads it: facts for policies, and the effects on
//! the session that the protocol must follow. Pure: no I/O.
//!
//! The text is read by this crate's own lexer, which is PostgreSQL's (manual, section 4.1); queries
//! and writes are parsed by `sqlparser` from those tokens, and every other statement is recognised by
//! its leading keywords. What cannot be read is a fact of its own, never a guess.

pub mod analysis;
pub mod catalog;

mod alter;
mod analyser;
mod bodies;
mod budget;
mod copy;
mod expression;
mod facts;
mod from;
mod functions;
mod hazards;
mod lex;
mod names;
mod objects;
mod projection;
mod query;
mod reader;
mod scope;
mod sets;
mod settings;
mod spelling;
mod statement;
mod tokens;
mod utility;
mod write;

pub use analyser::Analyser;
pub use analysis::{Analysis, Context, Copy, CopyFormat, Direction, Effect, Limits, Output, Outputs, Statement};
pub use catalog::{Catalog, CatalogColumn, Oid, Relation, RelationKind};
pub use functions::is_indirect;
pub use sets::Sets;
