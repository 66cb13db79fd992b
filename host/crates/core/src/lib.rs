//! The vocabulary of Sluicegate and its gate: what every protocol, policy engine and recorder
//! share, and the two permits without which nothing is dialled and nothing is forwarded. This
//! crate knows no protocol, no WebAssembly runtime, no store and no web server.

pub mod access;
pub mod admission;
pub mod approval;
pub mod approvals;
mod chain;
pub mod command;
pub mod denial;
mod digest;
pub mod file;
pub mod gate;
mod hex;
pub mod identity;
mod logins;
pub mod policy;
pub mod record;
pub mod result;
pub mod scope;
pub mod secret;
pub mod sessions;
pub mod sql;
pub mod verdict;

pub use access::{Access, AccessParts, Rules, TargetAccess};
pub use admission::{Claim, Gate, GateParts, Hello, Refusal, Session, SessionId, SessionPermit};
pub use approval::{Approval, ApprovalId, ApprovalState, Requirement};
pub use approvals::Approvals;
pub use chain::Chain;
pub use command::{Command, Phase};
pub use denial::{Denial, DenialKind};
pub use digest::DigestKey;
pub use gate::{ForwardPermit, GatedSession, Halt, InFlight, ResultSummary};
pub use hex::hex;
pub use identity::{Authenticator, Basis, Directory, Identity, Principal, Proven, Verification};
pub use logins::{Login, Logins};
pub use result::{Batch, BatchColumn, Column, ColumnName, RelationName, Resolution, ResultSchema};
pub use verdict::{CellMask, ColumnPlan, DateUnit, Mask, MaskPlan};
