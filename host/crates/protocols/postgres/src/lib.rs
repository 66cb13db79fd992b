//! sluicegate-postgres

pub mod config;
pub mod upstream;
