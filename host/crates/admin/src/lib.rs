//! Administration: the API as a router, the owner-only Unix socket on which a running gateway
//! serves it, and the client with which the command line asks. The API only reads; what it shows
//! comes through ports, so this crate knows no store and no policy runtime.

mod api;
mod client;
mod problem;
mod socket;

pub use api::{Api, Policies, PolicyList, SessionView, router};
pub use client::{AdminClient, ClientError};
pub use problem::Problem;
pub use socket::{AdminSocket, SocketError, path};
