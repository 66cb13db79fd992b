//! Traces of sessions for an OpenTelemetry collector: a trace for each session, and in it a span for each
//! command. They are made of the very entries that the record gets, so they can hold nothing that the
//! record does not keep; and of those they leave out texts, parameters and results. The trace's id is the
//! session's. Without a collector none of this runs: the gate then has the recorder itself.

mod endpoint;
mod spans;
mod traced;

pub use endpoint::{Endpoint, EndpointError};
pub use traced::{StartError, Traced};
