//! The gateway as one process. The ONE place that lists protocols: adding one is its crate, its
//! adapter under `serve/` and a line in each of the two lists below.

mod postgres;

use std::path::Path;

use sluicegate_core::secret::SecretSource;
use toml::{Spanned, de::DeTable};

use crate::config::report::Report;

/// The protocols of this version.
pub static PROTOCOLS: &[Protocol] = &[postgres::PROTOCOL];

/// What a target of each protocol needs to know.
#[derive(Debug, Clone)]
pub enum ProtocolTarget {
    /// PostgreSQL.
    Postgres(postgres::TargetConfig),
}

/// What the binary needs to know of a protocol.
#[derive(Debug)]
pub struct Protocol {
    /// Its name in the configuration and in the record.
    pub name: &'static str,
    /// Reads the keys of `[[target]]` that are the protocol's own.
    pub read_target: fn(&mut Report, Spanned<DeTable<'_>>) -> Option<ProtocolTarget>,
}

impl ProtocolTarget {
    /// Makes paths independent of the working folder.
    pub fn resolve_paths(&mut self, base: &Path) {
        match self {
            Self::Postgres(target) => postgres::resolve_paths(target, base),
        }
    }

    /// The secrets it reads when it dials, by key.
    pub fn secrets(&self) -> Vec<(&'static str, &SecretSource)> {
        match self {
            Self::Postgres(target) => target.password.iter().map(|source| ("password", source)).collect(),
        }
    }

    /// The files it reads when it dials, by key.
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        match self {
            Self::Postgres(target) => target.ca.iter().map(|path| ("ca", path.as_path())).collect(),
        }
    }
}
