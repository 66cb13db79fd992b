//! Paths with their parameters.

use std::fmt::{Display, Write as _};

use sluicegate_core::sessions::{ApprovalFilter, SessionFilter, SessionVerdict};

use super::ClientError;

/// A path to which parameters are added.
pub(super) struct Query(String);

impl Query {
    pub(super) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn of_sessions(filter: &SessionFilter) -> Result<Self, ClientError> {
        let query = Self::new("/api/v1/sessions")
            .with("user", filter.user.as_ref())
            .with("target", filter.target.as_ref())
            .with("verdict", filter.verdict.map(SessionVerdict::word))
            .with("table", filter.table.as_ref())
            .with("since", filter.since.map(time).transpose()?)
            .with("until", filter.until.map(time).transpose()?)
            .with("before", filter.before);
        Ok(query.with("limit", Some(filter.limit)))
    }

    pub(super) fn of_approvals(filter: &ApprovalFilter) -> Self {
        Self::new("/api/v1/approvals")
            .with("state", filter.state)
            .with("requester", filter.requester.as_ref())
            .with("target", filter.target.as_ref())
            .with("before", filter.before)
            .with("limit", Some(filter.limit))
    }

    /// Adds a parameter, where there is one.
    pub(super) fn with(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.0.push(if self.0.contains('?') { '&' } else { '?' });
            self.0.push_str(name);
            self.0.push('=');
            push_encoded(&mut self.0, &value.to_string());
        }
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

fn time(millis: i64) -> Result<jiff::Timestamp, ClientError> {
    jiff::Timestamp::from_millisecond(millis).map_err(|_| ClientError::Time(millis))
}

/// Percent-encodes a query's value: all but the unreserved characters of RFC 3986, section 2.3.
fn push_encoded(uri: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}
