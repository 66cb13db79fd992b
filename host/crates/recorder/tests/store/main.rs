//! The recorder against real stores in temporary folders.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests, whose helpers are no tests")]

mod holds;
mod keys;
mod proof;
mod record;
mod recovery;
mod retention;
mod support;
mod upgrade;
