//! The API as callers meet it: over its real socket and a real listener, with real users, tokens and
//! gate, and a record in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod answering;
mod description;
mod health;
mod known;
mod listing;
mod logs;
mod network;
mod record;
mod socket;
mod stage;
mod webhook;
mod wire;
