//! The proof that a session's record is what the gateway wrote: a chain of hashes, heads of that chain
//! signed by the gateway's key, and exports that carry both. Nothing here reads files or the store, so
//! that whoever has an export and the public key can verify it anywhere.
//!
//! * An entry is hashed as the MessagePack bytes of its time and event:
//!   `hash[n] = SHA-256("sluicegate record 1" || hash[n - 1] || bytes)`, and
//!   `hash[-1] = SHA-256("sluicegate record 1" || session id)`.
//! * A head says that the chain stood so: `"sluicegate head 1" || session id || n || hash[n] || at ||
//!   end`, with `n` and `at` as 8 bytes big-endian and `end` as one byte, signed with Ed25519 (RFC 8032).
//! * An export is JSON lines: see [`export`] for its form and [`verify`] for what is checked.

mod chain;
pub mod export;
mod fault;
mod head;
mod key;
mod readable;
mod verify;

pub(crate) use self::key::MAX_FILE_BYTES;
pub use self::{
    chain::{Chain, Hash},
    fault::Fault,
    head::{Head, SignedHead},
    key::{Fingerprint, KeyError, PublicKey, SigningKey},
    verify::{MAX_LINE_BYTES, Opening, Report, verify},
};
