//! Keeps the record of sessions in an embedded store (sled) under the data folder, so that it can be
//! proven.
//!
//! One thread writes; see [`SledRecorder`]. Entries of a session are chained by hashes and become
//! compressed blocks; heads of the chain are signed. Each session has a summary, so that a listing never
//! reads the entries, and each approval its place in an index. [`Store`] reads all of it, next to the
//! writer or alone. Only one process can have the store open: whoever finds it taken asks the gateway
//! instead. [`proof`] verifies exports and needs no store.

mod approvals;
mod block;
mod bounds;
mod error;
mod export;
mod format;
mod keyfile;
mod live;
mod mark;
pub mod proof;
mod read;
mod recorder;
mod recovery;
mod retention;
mod shared;
mod store;
mod upgrade;
mod writer;

pub use error::StoreError;
pub use keyfile::PUBLIC_KEY_FILE;
pub use recorder::{Pace, SledRecorder};
pub use retention::{Removed, Retention};
pub use store::Store;
