//! The policy engine with real policies: the guests beside this folder, built for WebAssembly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that is surprised fails"
)]

mod approvals;
mod events;
mod limits;
mod loading;
mod reload;
mod shipped;
mod support;
