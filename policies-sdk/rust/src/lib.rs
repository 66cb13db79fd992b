//! Policies for the Sluicegate access gateway, in Rust.
//!
//! A policy implements [`Policy`] and names itself in [`export!`]. Built for
//! `wasm32-unknown-unknown` it is a module that the gateway loads as it is; built natively it is a
//! plain library, whose events are the in-memory structures of `testing`, so that `cargo test`
//! needs neither WebAssembly nor a gateway.
//!
//! ```
//! use sluicegate_policy::{Command, Events, Interests, NoSettings, Policy, Session, Verdict};
//!
//! struct NoDrops;
//!
//! impl Policy for NoDrops {
//!     const NAME: &'static str = "no-drops";
//!     const VERSION: &'static str = "1.0.0";
//!     type Settings = NoSettings;
//!
//!     fn interests() -> Interests {
//!         Interests::in_events(Events::COMMAND)
//!     }
//!
//!     fn configure(_: NoSettings) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn on_command(&mut self, _: &Session, command: &Command) -> Verdict {
//!         match command.sql() {
//!             Some(sql) if sql.kinds().iter().any(|kind| kind.starts_with("drop")) => {
//!                 Verdict::block("nothing is dropped here")
//!             }
//!             _ => Verdict::Allow,
//!         }
//!     }
//! }
//!
//! sluicegate_policy::export!(NoDrops);
//! # fn main() {}
//! ```

#[doc(hidden)]
pub mod bindings;
mod facts;
mod glob;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
pub mod host;
mod json;
mod policy;
mod settings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::{
    exports::sluicegate::policy::guest::{Events, Interests},
    sluicegate::policy::{
        results::{Cell, Column, Resolution, Values},
        sql::{Access, Classes, ColumnUse, FunctionUse, Relation, Usage},
        types::{ColumnName, DateUnit, Level, Mask, RelationName},
        verdicts::{Approval, ResultVerdict, RowsVerdict, Verdict},
    },
};
pub use facts::Sql;
pub use glob::{ColumnGlob, GlobError};
pub use policy::{NoSettings, Policy};

#[cfg(target_family = "wasm")]
pub use bindings::sluicegate::policy::{
    commands::Command,
    results::{Plan, ResultSet, Rows},
    sessions::Session,
};
#[cfg(not(target_family = "wasm"))]
pub use testing::{Command, Plan, ResultSet, Rows, Session};

/// Makes a type the policy of this module: `sluicegate_policy::export!(MyPolicy);`, once per crate.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        const _: () = {
            #[cfg(target_family = "wasm")]
            type Exported = $crate::guest::Exported<$policy>;
            #[cfg(target_family = "wasm")]
    $crate::bindings::export_bindings!(Exported with_types_in $crate::bindings);
            #[cfg(not(target_family = "wasm"))]
            $crate::testing::is_policy::<$policy>();
        };
    };
}
