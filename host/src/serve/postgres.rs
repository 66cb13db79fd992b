//! PostgreSQL as the binary sees it: how its targets are read, how its server is made, and how its clients find their way.

use std::{collections::HashMap, ffi::OsString, future::Future, path::Path, pin::Pin, sync::Arc};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use sluicegate_credentials::Credentials;
use sluicegate_net::{ClientTls, Listener, Stop, TlsMode};
use sluicegate_postgres::{
    HashKey, Server, ServerParts,
    config::{ALPN, Login, TargetConfig},
};
use toml::{Spanned, de::DeTable};

use super::{Environment, LocalPort, Parts, Protocol, ProtocolServer, ProtocolTarget, Route, Tunnel};
use crate::config::{Target, report::Report, section};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "postgres",
    secret_keys: &["password"],
    lease_keys: &["credentials"],
    alpn: &[ALPN],
    read_target,
    server,
    environment,
    tunnel,
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

/// What libpq reads (PostgreSQL manual, "Environment Variables"). What would lead it somewhere else is taken away: the token is
/// for this gateway alone.
fn environment(route: &Route, token: &SecretString) -> Environment {
    let some = |text: &str| Some(OsString::from(text));
    let (mode, ca) = match (&route.ca, route.encrypted) {
        (Some(ca), true) => ("verify-full", Some(ca.clone().into_os_string())),
        // The word for the system's authorities, since libpq 16.
        (None, true) => ("verify-full", some("system")),
        (_, false) => ("disable", None),
    };
    let mut variables = vec![
        ("PGHOST", some(&route.host)),
        ("PGPORT", some(&route.port.to_string())),
        ("PGUSER", some(&route.user)),
        ("PGPASSWORD", some(token.expose_secret())),
        ("PGDATABASE", some(&route.target)),
        ("PGSSLMODE", some(mode)),
        ("PGSSLROOTCERT", ca),
    ];
    let elsewhere = [
        "PGHOSTADDR",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGREQUIRESSL",
        "PGREQUIREAUTH",
        "PGCHANNELBINDING",
        "PGSSLCERT",
        "PGSSLKEY",
    ];
    variables.extend(elsewhere.map(|name| (name, None)));
    variables
}

fn tunnel(local: LocalPort) -> anyhow::Result<Tunnel> {
    let LocalPort { route, listener, password, token } = local;
    let mode = if route.encrypted { TlsMode::VerifyFull } else { TlsMode::Disable };
    let tls = ClientTls::load(mode, route.ca.as_deref().filter(|_| route.encrypted), &[ALPN])?;
    let port = listener.local_addr()?.port();
    let (user, target) = (word(&route.user), word(&route.target));
    let usage = format!("PGPASSWORD={} psql -h 127.0.0.1 -p {port} -U {user} -d {target}", password.expose_secret());
    let Route { host, port, user, target, .. } = route;
    let tunnel = sluicegate_postgres::tunnel::Tunnel { host, port, tls, user, target, password, token };
    Ok(Tunnel { usage, served: Box::pin(tunnel.serve(listener)) })
}

/// A word for a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._-+/:".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(route: &Route, name: &str) -> Option<String> {
        let variables = environment(route, &SecretString::from("token"));
        let (_, value) = variables.into_iter().find(|(known, _)| *known == name).unwrap();
        value.map(|value| value.into_string().unwrap())
    }

    #[test]
    fn a_client_trusts_whom_the_login_trusts_and_goes_nowhere_else() {
        let (host, user, target) = ("gate.example.com".to_owned(), "carol".to_owned(), "orders".to_owned());
        let route = Route { host, port: 5432, encrypted: true, ca: None, user, target };
        assert_eq!(found(&route, "PGSSLMODE").as_deref(), Some("verify-full"));
        assert_eq!(found(&route, "PGSSLROOTCERT").as_deref(), Some("system"));
        let own = Route { ca: Some("/ca.pem".into()), ..route.clone() };
        assert_eq!(found(&own, "PGSSLROOTCERT").as_deref(), Some("/ca.pem"));
        let here = Route { encrypted: false, ..own };
        assert_eq!((found(&here, "PGSSLMODE").as_deref(), found(&here, "PGSSLROOTCERT")), (Some("disable"), None));
        for name in ["PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE"] {
            assert_eq!(found(&here, name), None, "{name}");
        }
    }

    #[test]
    fn a_word_stays_one_in_a_shell() {
        assert_eq!(word("carol@example.com"), "carol@example.com");
        assert_eq!(word("it's $HOME"), r"'it'\''s $HOME'");
    }
}
