//! What this crate's tests on a real server share: a temporary PostgreSQL, certificates for it, and
//! a gate that admits.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod admit;
pub mod gateway;
pub mod server;
