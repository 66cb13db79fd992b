//! The harness of the end-to-end tests: it starts a real PostgreSQL and the real gateway, and drives
//! real clients through it. Everything it starts ends with the test process, however that ends.

pub mod api;
pub mod builder;
pub mod bystander;
pub mod client;
pub mod gateway;
pub mod guard;
pub mod issuer;
pub mod owner;
pub mod person;
pub mod policies;
pub mod postgres;
pub mod programs;
pub mod relay;
pub mod scrape;
pub mod search;
pub mod seed;
pub mod tap;
pub mod tls;
pub mod users;
pub mod vault;
pub mod webhook;
pub mod wire;

pub use api::Api;
pub use bystander::Bystander;
pub use client::{Endpoint, Session};
pub use gateway::Gateway;
pub use issuer::Issuer;
pub use person::Person;
pub use postgres::{Database, Postgres};
pub use relay::{Fault, Relay};
pub use vault::Vault;
