//! The PostgreSQL wire protocol through the gate: sessions of standard clients, decided message by
//! message, on connections that the gateway makes to the target. Source: PostgreSQL manual, chapter
//! "Frontend/Backend Protocol", version 3.0; 3.2 is negotiated down.
//!
//! Reading order: [`server`] accepts, [`handshake`] finds out who it is, [`session`] moves bytes,
//! [`machine`] turns them into commands and results, [`codec`] reads and writes them. [`tunnel`] stands on the other side: on
//! a person's machine, before the gateway.

pub mod catalog;
pub mod codec;
pub mod config;
mod deny;
pub mod error;
mod handshake;
mod interrupt;
mod lull;
mod machine;
mod registry;
mod server;
mod session;
mod side;
pub mod tunnel;
pub mod upstream;

pub use codec::mask::HashKey;
pub use config::{Target, TargetConfig};
pub use server::{Server, ServerParts};

/// The protocol's name in the configuration and in events.
pub const PROTOCOL: &str = "postgres";
