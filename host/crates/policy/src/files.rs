//! The files of bound modules: what was last seen of each, which version of it is in force, and
//! whether a new one is taken.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use sluicegate_core::record;

use crate::{
    module::{self, File, Module, Shipped},
    status::{PolicyState, PolicyStatus, RejectedFile},
};

/// One bound module.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    /// The version in force.
    pub(crate) active: Option<Arc<Module>>,
    /// How the file looked from outside when it was last read.
    pub(crate) stamp: Option<Stamp>,
    /// The last file that was not taken.
    pub(crate) rejected: Option<RejectedFile>,
    seen: Seen,
}

/// The last look at a file.
#[derive(Clone, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Never,
    Missing,
    /// The module's digest, and its fixtures.
    Files(String, Option<String>),
    Unreadable(String),
}

/// What tells cheaply that a file is another: seconds and nanoseconds of its last change, size, inode.
pub(crate) type Stamp = (i64, i64, u64, u64);

/// The stamp of a module's file; none where there is no file.
pub(crate) fn stamp(dir: &Path, name: &str) -> Option<Stamp> {
    let metadata = fs::metadata(module::path(dir, name).ok()?).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino()))
}

impl Entry {
    /// Reads the file, and takes it if it is another and `load` finds it good. `load` also receives
    /// whether a version in force would be replaced. Returns whether something changed that a
    /// generation shows.
    pub(crate) fn look(
        &mut self,
        dir: &Path,
        name: &str,
        load: impl FnOnce(&Shipped, bool) -> Result<Module, String>,
    ) -> bool {
        let file = module::read(dir, name);
        let seen = match &file {
            Ok(File::Missing) => Seen::Missing,
            Ok(File::Present(shipped)) => Seen::Files(shipped.digest.clone(), shipped.fixtures.clone()),
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        match file {
            Ok(File::Missing) => self.missing(name),
            Ok(File::Present(shipped)) if self.is_active(&shipped.digest) => {
                tracing::info!(
                    policy = name,
                    digest = shipped.digest,
                    "the policy's file is again the version in force"
                );
                self.rejected = None;
                false
            }
            Ok(File::Present(shipped)) => match load(&shipped, self.active.is_some()) {
                Ok(module) => {
                    tracing::info!(policy = name, digest = shipped.digest, version = module.version, "policy loaded");
                    self.rejected = None;
                    self.active = Some(Arc::new(module));
                    true
                }
                Err(reason) => self.reject(name, shipped.digest, reason),
            },
            Err(error) => self.reject(name, String::new(), error.to_string()),
        }
    }

    fn is_active(&self, digest: &str) -> bool {
        self.active.as_ref().is_some_and(|active| active.digest == digest)
    }

    fn missing(&mut self, name: &str) -> bool {
        if let Some(active) = &self.active {
            tracing::error!(
                policy = name,
                digest = active.digest,
                "the policy's file is gone; its last version stays in force until the gateway restarts"
            );
        }
        self.rejected = None;
        self.active.is_none()
    }

    fn reject(&mut self, name: &str, digest: String, reason: String) -> bool {
        match &self.active {
            Some(active) => tracing::error!(
                policy = name,
                rejected = digest,
                in_force = active.digest,
                reason,
                "the policy's new file is refused; the version before stays in force"
            ),
            None => tracing::error!(
                policy = name,
                rejected = digest,
                reason,
                "the policy's file is refused and no version is in force; what it would decide is blocked"
            ),
        }
        self.rejected = Some(RejectedFile { digest, reason, at: record::now() });
        self.active.is_none()
    }

    pub(crate) fn status(&self, name: &str, generation: u64) -> PolicyStatus {
        let active = self.active.as_deref();
        let state = match (&self.seen, &self.rejected) {
            (Seen::Missing, _) => PolicyState::Missing,
            (_, Some(rejected)) => PolicyState::Rejected { reason: rejected.reason.clone() },
            _ => PolicyState::Active,
        };
        PolicyStatus {
            module: name.to_owned(),
            state,
            digest: active.map(|m| m.digest.clone()).unwrap_or_default(),
            name: active.map(|m| m.name.clone()).unwrap_or_default(),
            version: active.map(|m| m.version.clone()).unwrap_or_default(),
            generation,
            loaded_at: active.map_or(0, |m| m.loaded_at),
            bindings: Vec::new(),
            rejected: self.rejected.clone(),
        }
    }
}
