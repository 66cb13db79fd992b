//! Policies under test without WebAssembly: a native build sees these in-memory events where a
//! module sees the gateway's, and [`assert_fixtures`] runs fixture files against a policy.
//!
//! A fixture is a JSON file. Only `cases` is required, and what is left out is empty or false.
//!
//! ```json
//! {
//!   "settings": { "columns": ["*.ssn"] },
//!   "session": { "user": "alice", "groups": ["engineering"], "target": "orders" },
//!   "cases": [
//!     {
//!       "about": "a column that matches is masked",
//!       "command": { "text": "select ssn from people", "sql": { "classes": ["read"], "kinds": ["select"] } },
//!       "result": {
//!         "columns": [{ "name": "ssn", "type": "text", "resolution": "stored", "sources": ["public.people.ssn"] }],
//!         "rows": [["123-45-6789"]]
//!       },
//!       "expect": { "command": "allow", "result": { "mask": { "ssn": "redact" } } }
//!     }
//!   ]
//! }
//! ```
//!
//! A session may also have `"kind": "agent"` (or `service`), `owner`, `actor`, `roles`, `protocol`, `client_address` and
//! `application`.
//!
//! The cases are the commands of one session, in order: one configured policy sees them all. What a
//! case expects is exact, except that the text of a block is what its reason contains:
//!
//! | expectation | forms | if left out |
//! |---|---|---|
//! | `command` | `"allow"`, `{"block": "part of the reason"}`, `{"suspend": "part of the reason"}` | `"allow"` |
//! | `result` | `{"mask": {column: mask}, "inspect": [column], "spare": [column], "limit_rows": n}`, `{"block": ...}` | nothing is planned |
//! | `rows` | `{"cells": [{"row": 0, "column": name, "mask": mask}]}`, `{"block": ...}` | no cell is masked |
//! | `rule` | the rule that the policy cites about the command; within `result` and `rows` about those | not compared |
//!
//! What a policy asks of people can be told in full: `{"suspend": {"reason": "part of it", "approvers":
//! ["group:dba"], "min_approvals": 2, "reason_required": true, "expires_in": 600, "remember": 60}}`, of
//! which any part may be left out. A result is expected of a command that is held too, as if it had been
//! approved.
//!
//! A mask is written `"redact"`, `"hash"`, `"null"`, `"email"`, `{"partial": 4}`, `{"round": 2}`,
//! `{"truncate-date": "month"}` or `{"replace": "text"}`. A file with `"refused": "part of the
//! error"` expects that the settings are refused, and has no cases; `"opened"` is what the policy
//! says when the session opens.

mod events;
mod fixture;
mod run;

pub use events::{Command, Plan, Planned, ResultSet, Rows, Session, SqlFacts, sql};
pub use fixture::{
    Case, Expected, ExpectedApproval, ExpectedCell, ExpectedPlan, ExpectedRows, ExpectedVerdict, Fixture, ResultFacts,
};
pub use run::{FixtureError, assert_fixtures, configure, run_fixture, run_fixtures};

#[doc(hidden)]
pub const fn is_policy<P: crate::Policy>() {}
