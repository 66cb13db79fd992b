//! `sluicegate sessions key`: the public key with which exports are verified, for whoever has no access to
//! the data folder.

use crate::cli::{print::out, source::Source};

#[derive(Debug, clap::Args)]
pub struct Key {}

impl Key {
    /// Prints the key as PEM.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        Ok(out(source.public_key().await?.trim_end())?)
    }
}
