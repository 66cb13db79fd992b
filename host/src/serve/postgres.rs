//! PostgreSQL as the binary sees it: how its targets are read, and how its server is made.

use std::{collections::HashMap, future::Future, path::Path, pin::Pin, sync::Arc};

use anyhow::Context;
use sluicegate_credentials::Credentials;
use sluicegate_net::{Listener, Stop};
use sluicegate_postgres::{
    HashKey, Server, ServerParts,
    config::{ALPN, Login, TargetConfig},
};
use toml::{Spanned, de::DeTable};

use super::{Parts, Protocol, ProtocolServer, ProtocolTarget};
use crate::config::{Target, report::Report, section};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "postgres",
    secret_keys: &["password"],
    lease_keys: &["credentials"],
    alpn: &[ALPN],
    read_target,
    server,
};

fn read_target(report: &mut Report, table: Spanned<DeTable<'_>>) -> Option<ProtocolTarget> {
    section::read::<TargetConfig>(report, "this target", table, section::TARGET).map(ProtocolTarget::Postgres)
}

/// Makes paths independent of the working folder.
pub fn resolve_paths(target: &mut TargetConfig, base: &Path) {
    if let Login::Role { password: Some(source), .. } = &mut target.login {
        source.resolve(base);
    }
    if let Some(ca) = &mut target.ca {
        *ca = base.join(&ca);
    }
}

fn server(parts: Parts) -> Arc<dyn ProtocolServer> {
    Arc::new(Postgres(Server::new(ServerParts {
        gate: parts.gate,
        hash_key: Arc::new(HashKey::new(*parts.mask_key)),
        tls: parts.tls,
        allow_plaintext: parts.allow_plaintext,
    })))
}

struct Postgres(Arc<Server>);

impl ProtocolServer for Postgres {
    fn prepare(
        self: Arc<Self>,
        targets: &[Target],
        credentials: &Arc<Credentials>,
    ) -> anyhow::Result<Box<dyn FnOnce() + Send>> {
        let mut prepared = HashMap::new();
        for target in targets {
            let ProtocolTarget::Postgres(config) = &target.settings;
            let dialled = sluicegate_postgres::Target::prepare(config, credentials)
                .with_context(|| format!("target `{}`", target.name))?;
            let bounded = dialled.into_iter().map(|place| place.within(target.session)).collect();
            prepared.insert(target.name.clone(), bounded);
        }
        Ok(Box::new(move || self.0.set_targets(prepared)))
    }

    fn forget(&self) {
        self.0.forget_connections();
    }

    fn serve(self: Arc<Self>, listener: Listener, stop: Stop) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Arc::clone(&self.0).serve(listener, stop))
    }
}
