//! Keeps the record of sessions in an embedded store (sled) under the data folder.
//!
//! One thread writes; see [`SledRecorder`]. Entries of a session become compressed blocks, and each
//! session has a summary, so that a listing never reads the entries. [`Store`] reads both, next to
//! the writer or alone. Only one process can have the store open: whoever finds it taken asks the
//! gateway instead.

mod bounds;
mod error;
mod format;
mod recorder;
mod store;
mod writer;

pub use error::StoreError;
pub use recorder::SledRecorder;
pub use store::Store;
