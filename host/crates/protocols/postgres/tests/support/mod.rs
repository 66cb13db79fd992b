//! What this crate's tests on a real server share: a temporary PostgreSQL, certificates for it, and
//! a gate that admits.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its own part, and fails by panicking")]

use std::sync::Arc;

use sluicegate_credentials::Credentials;
use sluicegate_postgres::{Target, upstream::Route};

pub mod admit;
pub mod gateway;
pub mod server;

/// The ways to a target that is configured so.
pub fn routes(config: &str) -> Vec<Route> {
    let places = Target::prepare(&toml::from_str(config).unwrap(), &Credentials::new()).unwrap();
    places.into_iter().map(|target| Route::new(Arc::new(target))).collect()
}
