//! Administration as a gateway has it: one API behind two doors, the owner's socket and, with `[admin]`,
//! the network; and the webhook that tells of holds. It outlives the sessions, so that one can look
//! on while the gateway stops.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use sluicegate_admin::{self as admin, AdminSocket, Api, ApiParts, Door, LoginIssuer, Rights, Webhook, WebhookConfig};
use sluicegate_credentials::Credentials;
use sluicegate_net::{Limits, Listener, ServerTls, Stopper, is_loopback, stop_channel};
use sluicegate_policy_engine::PolicyHost;
use tokio::task::{JoinSet, block_in_place};

use super::gateway::{exposure, server_tls};
use crate::config::{self, Config};

/// What the API speaks inside TLS.
const ALPN: &[&[u8]] = &[b"http/1.1"];
/// Open connections to the API; more are closed at once.
const MAX_CONNECTIONS: usize = 2048;
/// Those among them that have not said who they are yet.
const MAX_STARTING: usize = MAX_CONNECTIONS / 2;
/// How long requests may go on once the sessions have ended.
const GRACE: Duration = Duration::from_secs(2);

/// The API while it is served.
pub struct Administration {
    api: Api,
    /// Where it listens on the network, and the certificate there.
    network: Option<(SocketAddr, Option<Arc<ServerTls>>)>,
    stopper: Stopper,
    tasks: JoinSet<()>,
}

impl Administration {
    /// Opens both doors and serves.
    pub async fn start(config: &Config, parts: ApiParts) -> anyhow::Result<Self> {
        let socket = AdminSocket::bind(&config.data_dir).await?;
        let (api, (stopper, mut stop)) = (Api::new(parts), stop_channel());
        let mut started = Self { api, network: None, stopper, tasks: JoinSet::new() };
        if let Some(admin) = &config.admin {
            let limits = Limits { max_connections: MAX_CONNECTIONS, max_starting: MAX_STARTING, grace: GRACE };
            let listen = admin.listen.to_string();
            let listener = Listener::bind("admin", &listen, exposure(config), limits)
                .await
                .context("the API of [admin] cannot be served")?
                .behind(config.proxies.get(config::ADMIN).cloned().unwrap_or_default());
            let address = listener.local_addr();
            let tls = server_tls(config, ALPN)?;
            started.network = Some((address, tls.clone()));
            let door = Door::Network { listen, loopback: is_loopback(address.ip()) };
            let router = admin::router(started.api.clone(), door);
            started.tasks.spawn(admin::serve_tcp(listener, tls, router, stop.clone()));
        }
        let router = admin::router(started.api.clone(), Door::Owner);
        started.tasks.spawn(async move {
            if let Err(error) = socket.serve(router, async move { stop.asked().await }).await {
                tracing::error!(%error, "the command line cannot ask this gateway any more");
            }
        });
        Ok(started)
    }

    /// Where the API listens on the network.
    pub fn address(&self) -> Option<SocketAddr> {
        self.network.as_ref().map(|(address, _)| *address)
    }

    /// Its certificate, to be renewed with the others.
    pub fn certificate(&self) -> Option<Arc<ServerTls>> {
        self.network.as_ref().and_then(|(_, tls)| tls.clone())
    }

    /// Replaces who may do what, and where people log in, for requests from now on.
    pub fn set_rights(&self, config: &Config) {
        self.api.set_rights(rights(config));
        self.api.set_issuers(issuers(config));
    }

    /// Says on which port each protocol is served.
    pub fn set_ports(&self, ports: HashMap<&'static str, u16>) {
        self.api.set_ports(ports);
    }

    /// Closes both doors, and returns when requests have ended or their grace is over.
    pub async fn end(mut self) {
        self.stopper.stop();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Who may do what, as configured.
pub fn rights(config: &Config) -> Rights {
    let rights = |admin: &config::Admin| Rights { admins: admin.admins.clone(), scrapers: admin.scrapers.clone() };
    config.admin.as_ref().map(rights).unwrap_or_default()
}

/// Where people log in. An ID token is for the client that asked for it (OpenID Connect Core 1.0, section 2), so
/// whom tokens have to be for is also who asks.
pub fn issuers(config: &Config) -> Vec<LoginIssuer> {
    let people = config.issuers.iter().filter(|issuer| issuer.login);
    let shown = people.map(|issuer| LoginIssuer {
        issuer: issuer.url().to_owned(),
        client_id: issuer.audience.clone(),
        scopes: issuer.scopes.clone(),
    });
    shown.collect()
}

/// What tells people of holds; none where nothing is configured. Its secret is read now.
pub async fn webhook(config: &Config, credentials: &Credentials) -> anyhow::Result<Option<Arc<Webhook>>> {
    let Some(config::Webhook { url, secret, .. }) = &config.approvals.webhook else { return Ok(None) };
    let unusable = "the webhook of [approvals] cannot be used";
    let secret = credentials.read(secret).await.context(unusable)?;
    let webhook = block_in_place(|| Webhook::new(&WebhookConfig { url: url.clone(), secret }));
    Ok(Some(Arc::new(webhook.context(unusable)?)))
}

/// Tells how policies stand.
pub struct Status(pub Arc<PolicyHost>);

impl admin::Policies for Status {
    fn status(&self) -> Vec<serde_json::Value> {
        self.0.status().into_iter().filter_map(|policy| serde_json::to_value(policy).ok()).collect()
    }
}
