//! What an operator can measure: the instruments that the gate, the policies, the approvals and the
//! recorder hold, and the text in which they are scraped. Labels are looked up once for each session or
//! binding; what is counted for each command is a few relaxed atomics. It knows no protocol and no web
//! server, and nothing here holds a secret; users' names are in it.
//!
//! Whoever counts owns its instruments ([`GateMetrics`], [`PolicyMetrics`], [`HoldMetrics`],
//! [`RecordMetrics`]); [`Metrics`] collects them all and is what is scraped.

mod gate;
mod histogram;
mod holds;
mod label;
mod policies;
mod process;
mod record;
mod registry;
mod sampled;
mod session;
mod users;
mod words;

pub use gate::GateMetrics;
pub use histogram::{Histogram, Seconds};
pub use holds::HoldMetrics;
pub use policies::{BindingMetrics, PolicyEvent, PolicyMetrics};
pub use prometheus_client::metrics::counter::Counter;
pub use record::RecordMetrics;
pub use registry::{CONTENT_TYPE, Metrics, Sources};
pub use sampled::Sample;
pub use session::{Finished, SessionMetrics, TargetMetrics};
pub use users::MAX_USERS;
pub use words::{Refused, Verdict};
