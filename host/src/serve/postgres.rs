//! PostgreSQL as the binary sees it: how its targets are read.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sluicegate_core::secret::SecretSource;
use toml::{Spanned, de::DeTable};

use super::{Protocol, ProtocolTarget};
use crate::config::{report::Report, section};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetConfig {
    pub address: String,
    pub database: String,
    pub username: String,
    pub password: Option<SecretSource>,
    pub sslmode: Option<String>,
    pub ca: Option<PathBuf>,
    pub connect_timeout: Option<u64>,
}

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol { name: "postgres", read_target };

fn read_target(report: &mut Report, table: Spanned<DeTable<'_>>) -> Option<ProtocolTarget> {
    section::read::<TargetConfig>(report, "this target", table, section::TARGET).map(ProtocolTarget::Postgres)
}

/// Makes paths independent of the working folder.
pub fn resolve_paths(target: &mut TargetConfig, base: &Path) {
    if let Some(SecretSource::File(path)) = &mut target.password {
        *path = base.join(&path);
    }
    if let Some(ca) = &mut target.ca {
        *ca = base.join(&ca);
    }
}
