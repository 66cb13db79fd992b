//! Policies for the Sluicegate access gateway, in Rust: the contract's types, the trait that a policy
//! implements, and the in-memory events with which it is tested natively.
#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub mod bindings;
mod facts;
mod glob;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
pub mod host;
mod json;
mod kinds;
mod policy;
mod settings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::{
    exports::sluicegate::policy::guest::{Events, Interests},
    sluicegate::policy::{
        results::{Cell, Column, Resolution, Values},
        sessions::IdentityKind,
        sql::{Access, Classes, ColumnUse, FunctionUse, Relation, Usage},
        types::{ColumnName, DateUnit, Level, Mask, RelationName},
        verdicts::{Approval, ResultVerdict, RowsVerdict, Verdict},
    },
};
pub use facts::Sql;
pub use glob::{ColumnGlob, GlobError, NameGlob};
pub use kinds::{KindError, KindPrefix, classes_of_kind, named_class};
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
