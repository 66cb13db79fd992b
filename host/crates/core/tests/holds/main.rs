//! Commands that people have to agree to, from the gate's first no to the last entry: a state machine
//! against a model, races on real threads, and what neither of them reaches.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod cast;
mod edges;
mod invariants;
mod limits;
mod machine;
mod model;
mod races;
mod script;
mod stage;
