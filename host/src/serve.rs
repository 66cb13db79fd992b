//! The gateway as one process. The ONE place that lists protocols: adding one is its crate, its
//! adapter under `serve/`, its line in [`PROTOCOLS`], and its variant of [`ProtocolTarget`].
//!
//! * [`gateway`] puts the crates together, in order, and keeps them in step with the configuration;
//!   [`admin`] is its API.
//! * [`vitals`] is what operators measure and probes ask.
//! * [`watch`] tells when files changed, [`data_dir`] is where state is kept, [`supervisor`] is what systemd
//!   is told, [`descriptors`] how many files may be open.

pub mod data_dir;
pub mod gateway;

mod admin;
mod descriptors;
mod postgres;
mod supervisor;
mod vitals;
mod watch;

use std::{
    ffi::OsString,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use secrecy::SecretString;
use sluicegate_core::{
    Gate,
    secret::{LeaseSource, SecretSource},
};
use sluicegate_credentials::Credentials;
use sluicegate_net::{Listener, ServerTls, Stop, TlsError};
use sluicegate_postgres::config::Login;
use toml::{Spanned, de::DeTable};
use zeroize::Zeroizing;

use crate::config::{Target, report::Report};

/// The protocols of this version.
pub static PROTOCOLS: &[Protocol] = &[postgres::PROTOCOL];

/// What a target of each protocol needs to know.
#[derive(Debug, Clone)]
pub enum ProtocolTarget {
    /// PostgreSQL.
    Postgres(sluicegate_postgres::config::TargetConfig),
}

/// What the binary needs to know of a protocol.
#[derive(Debug)]
pub struct Protocol {
    /// Its name in the configuration and in the record.
    pub name: &'static str,
    /// Those of its target's keys that say where a secret is, and never hold one.
    pub secret_keys: &'static [&'static str],
    /// Those that say where credentials are lent.
    pub lease_keys: &'static [&'static str],
    /// What it is called in TLS's ALPN.
    pub alpn: &'static [&'static [u8]],
    /// Reads the keys of `[[target]]` that are the protocol's own.
    pub read_target: fn(&mut Report, Spanned<DeTable<'_>>) -> Option<ProtocolTarget>,
    /// Makes its server, with no targets yet.
    pub server: fn(Parts) -> Arc<dyn ProtocolServer>,
    /// What its clients find in their environment, so that they go to a target by themselves.
    pub environment: fn(&Route, &SecretString) -> Environment,
    /// Serves a local port that leads to a target, and says how clients use it.
    pub tunnel: fn(LocalPort) -> anyhow::Result<Tunnel>,
}

/// Variables that a program gets, or does not get whoever has set them.
pub type Environment = Vec<(&'static str, Option<OsString>)>;

/// A person's way through a gateway to a target.
#[derive(Debug, Clone)]
pub struct Route {
    /// The gateway's host.
    pub host: String,
    /// Its port for the protocol.
    pub port: u16,
    /// Whether it has a certificate; one without is on this machine.
    pub encrypted: bool,
    /// The authority that the certificate comes from, as PEM; none for those that this system trusts.
    pub ca: Option<PathBuf>,
    /// Who the gateway takes the person for.
    pub user: String,
    /// The target.
    pub target: String,
}

/// A port of this machine, where clients come that have no token.
pub struct LocalPort {
    /// Where it leads.
    pub route: Route,
    /// The port.
    pub listener: tokio::net::TcpListener,
    /// What clients have to know, for every user of this machine can reach the port.
    pub password: SecretString,
    /// Gets the token that the gateway sees.
    pub token: sluicegate_postgres::tunnel::FreshToken,
}

/// A local port that is ready.
pub struct Tunnel {
    /// How a client uses it, for people to copy.
    pub usage: String,
    /// Serves it for as long as it is polled.
    pub served: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What every protocol's server is made of.
pub struct Parts {
    /// The gate, shared by all.
    pub gate: Arc<Gate>,
    /// The deployment's key for the `hash` mask.
    pub mask_key: Zeroizing<[u8; data_dir::KEY_BYTES]>,
    /// TLS towards clients.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether clients off this machine may do without it.
    pub allow_plaintext: bool,
}

/// The server of one protocol.
pub trait ProtocolServer: Send + Sync {
    /// Reads what its targets need (those of other protocols are not its business), and returns what
    /// puts them in force. Their secrets are read when they are dialled. Open sessions stay as they are. Blocking.
    fn prepare(
        self: Arc<Self>,
        targets: &[Target],
        credentials: &Arc<Credentials>,
    ) -> anyhow::Result<Box<dyn FnOnce() + Send>>;
    /// Users are about to change: uses nothing of earlier sessions until targets are put in force.
    fn forget(&self);
    /// Serves until asked to stop, and for its grace until the last session ended.
    fn serve(self: Arc<Self>, listener: Listener, stop: Stop) -> Pin<Box<dyn Future<Output = ()> + Send>>;
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
            Self::Postgres(target) => match &target.login {
                Login::Role { password: Some(source), .. } => vec![("password", source)],
                Login::Role { password: None, .. } | Login::Lent(_) => Vec::new(),
            },
        }
    }

    /// Where it has credentials lent, by key.
    pub fn leases(&self) -> Vec<(&'static str, &LeaseSource)> {
        match self {
            Self::Postgres(target) => match &target.login {
                Login::Lent(source) => vec![("credentials", source)],
                Login::Role { .. } => Vec::new(),
            },
        }
    }

    /// Whether it could be made ready to dial: its certificate authorities and how they are used.
    pub fn try_out(&self) -> Result<(), TlsError> {
        match self {
            Self::Postgres(target) => sluicegate_postgres::Target::prepare(target, &Credentials::new()).map(drop),
        }
    }
}
