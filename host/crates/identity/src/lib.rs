//! Who is calling. Built-in users come from the configuration with argon2id hashes of their
//! secrets; they serve first runs and break-glass access. Everybody else shows a token of an OpenID Connect
//! issuer. A built-in user who has proven who they are can have a session token for the administration API. This crate
//! proves identities and decides nothing: what an identity may do is the gate's business. [`login`] is the other side of
//! it: how a person on their own machine comes to a token.

mod builtin;
mod credential;
pub mod login;
mod oidc;
mod recent;
mod tokens;
mod user;
mod workers;

pub use builtin::{BuiltinUsers, InvalidUser, UserProblem};
pub use credential::{HashError, HashProblem, MAX_SECRET_BYTES, hash_secret};
pub use oidc::{Everybody, HttpError, InvalidIssuer, Issuer};
pub use tokens::SessionTokens;
pub use user::{SecretHash, User};
