//! What `sluicegate policy status` shows about each bound module.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluicegate_core::{policy::Mode, record};

use crate::link::{Code, Link};

/// One module that some target binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The module's name: `pii-mask` is `pii-mask.wasm`.
    pub module: String,
    /// How it stands.
    pub state: PolicyState,
    /// SHA-256 of the version in force, in hexadecimal; empty where none is.
    pub digest: String,
    /// What the version in force calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The generation of the whole folder that is in force.
    pub generation: u64,
    /// When the version in force was loaded, in milliseconds since the Unix epoch; 0 for never.
    pub loaded_at: i64,
    /// The targets that bind it.
    pub bindings: Vec<BindingStatus>,
    /// The last file that was refused, if nothing better came since.
    pub rejected: Option<RejectedFile>,
}

/// How a module stands. Where `digest` is not empty, that version stays in force whatever happened
/// to the file; where it is empty, the bindings block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum PolicyState {
    /// The file is in force.
    Active,
    /// The file, or a binding's settings, are refused.
    Rejected {
        /// Why.
        reason: String,
    },
    /// There is no such file.
    Missing,
    /// A binding failed too often and blocks for a while.
    Quarantined {
        /// Until when, in milliseconds since the Unix epoch.
        until: i64,
    },
}

/// One binding of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingStatus {
    /// The target's name.
    pub target: String,
    /// Whether its verdicts are carried out.
    pub mode: Mode,
    /// Why the binding blocks everything; none where it works.
    pub broken: Option<String>,
    /// Until when it is quarantined, in milliseconds since the Unix epoch.
    pub quarantined_until: Option<i64>,
}

/// A file that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedFile {
    /// Its SHA-256 in hexadecimal; empty where it could not be read.
    pub digest: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
}

/// A status without what changes by itself, and the links that tell it.
pub(crate) struct Report {
    pub(crate) base: PolicyStatus,
    pub(crate) links: Vec<(String, Arc<Link>)>,
}

impl Report {
    pub(crate) fn now(&self) -> PolicyStatus {
        let mut status = self.base.clone();
        status.bindings = self.links.iter().map(|(target, link)| binding(target, link)).collect();
        if let Some(until) = status.bindings.iter().filter_map(|b| b.quarantined_until).max() {
            status.state = PolicyState::Quarantined { until };
        } else if status.state == PolicyState::Active
            && let Some(reason) = status.bindings.iter().find_map(|b| b.broken.clone())
        {
            status.state = PolicyState::Rejected { reason };
        }
        status
    }
}

fn binding(target: &str, link: &Link) -> BindingStatus {
    let left = link.quarantine.remaining();
    let until = left.map(|left| record::now().saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX)));
    BindingStatus {
        target: target.to_owned(),
        mode: link.mode,
        broken: match &link.code {
            Code::Broken(reason) => Some(reason.clone()),
            Code::Ready(_) => None,
        },
        quarantined_until: until,
    }
}
