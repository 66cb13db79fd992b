//! The policy engine: runs WebAssembly policies written against `wit/policy.wit` behind
//! [`sluicegate_core::policy::PolicyEngine`]. It loads them from a folder, replaces them while
//! sessions run, bounds what they may use, and blocks whatever a policy fails to decide.
//!
//! Reading order: `host` (what is in force and how it changes; `registry`, `files` and `watch` keep
//! it), `session` (one session's events), `chain`, `tally`, `link` and `saying` (several policies, what
//! they say together, one, and what it says), `instance`, `facts` and `decision` (one sandbox, what it
//! sees and what it answers), `module`, `cache` and `runtime` (from a file to code that can run).

mod cache;
mod chain;
mod contract;
mod convert;
mod deadline;
mod decision;
mod facts;
mod files;
mod fixtures;
mod host;
mod instance;
mod link;
mod memory;
mod module;
mod quarantine;
mod registry;
mod runtime;
mod saying;
mod session;
mod status;
mod tally;
mod voice;
mod watch;

pub use host::{ApplyError, PolicyHost, StartError, TargetBindings, check};
pub use registry::Problem;
pub use runtime::PolicyConfig;
pub use status::{BindingStatus, PolicyState, PolicyStatus, RejectedFile};
