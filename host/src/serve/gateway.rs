//! One running gateway: what is started in which order, and how it ends. What a changed configuration
//! changes is in [`reload`].

mod reload;

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use anyhow::Context;
use sluicegate_admin::ApiParts;
use sluicegate_core::{
    Access, AccessParts, Approvals, DigestKey, Gate, GateParts, Logins,
    access::Tickets,
    approvals::Announcer,
    record::{RecordError, Recorder},
};
use sluicegate_credentials::Credentials;
use sluicegate_identity::{BuiltinUsers, Everybody, SessionTokens};
use sluicegate_net::{Exposure, Listener, ServerTls, Stop, Stopper, TlsFiles, stop_channel};
use sluicegate_policy_engine::{PolicyConfig, PolicyHost, TargetBindings};
use sluicegate_recorder::SledRecorder;
use sluicegate_telemetry::Traced;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, block_in_place},
};
use zeroize::Zeroizing;

use super::{
    Parts, ProtocolServer,
    admin::{self, Administration, Status},
    data_dir, descriptors,
    supervisor::{self, Heart},
    vitals::{self, Readiness},
    watch::FileWatch,
};
use crate::config::{Config, Target};

/// How often it is said again that the certificate cannot be renewed, or is about to expire.
const CERTIFICATE_REMINDER: Duration = Duration::from_secs(60 * 60);

/// A gateway that serves.
pub struct Gateway {
    config: Config,
    /// What it was started with: some parts of it stay in force whatever `config` says.
    started: Config,
    recorder: Arc<SledRecorder>,
    /// None where nobody gets traces.
    traced: Option<Arc<Traced>>,
    policies: Arc<PolicyHost>,
    users: Arc<BuiltinUsers>,
    everybody: Arc<Everybody>,
    gate: Arc<Gate>,
    credentials: Arc<Credentials>,
    servers: Vec<Arc<dyn ProtocolServer>>,
    certificates: Vec<Arc<ServerTls>>,
    administration: Administration,
    stopper: Stopper,
    sessions: JoinSet<()>,
}

impl Gateway {
    /// Starts everything, in the order in which one part needs the other; when it returns, clients
    /// are served. Needs a runtime of several threads.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        descriptors::raise_limit(&config);
        data_dir::prepare(&config.data_dir)?;
        let mask_key = data_dir::mask_key(&config.data_dir)?;
        let recorder = Arc::new(block_in_place(|| SledRecorder::open(&config.data_dir))?);
        let policies = PolicyHost::start(config.policy_engine())?;
        block_in_place(|| policies.apply(bindings(&config.targets)))?;
        let users = Arc::new(BuiltinUsers::new(&config.users)?);
        let tickets = Arc::new(Tickets::default());
        let everybody = Arc::new(block_in_place(|| Everybody::new(users.clone(), tickets.clone(), &config.issuers))?);
        let traced = traced(&config, &recorder)?;
        let recording: Arc<dyn Recorder> = match &traced {
            Some(traced) => traced.clone(),
            None => recorder.clone(),
        };
        let credentials = Credentials::new();
        block_in_place(|| vault(&config, &credentials))?();
        let approvals = approvals(&config, &recording, &credentials, DigestKey::derive(&mask_key)).await?;
        let access = Access::new(AccessParts {
            directory: everybody.clone(),
            tickets,
            approvals: Arc::clone(&approvals),
            recorder: Arc::clone(&recording),
        });
        let gate = Arc::new(Gate::new(GateParts {
            logins: Arc::new(Logins::new(everybody.clone())),
            access,
            policies: policies.clone(),
            recorder: recording,
            recording: config.recording,
            max_output: config.record.output,
            approvals: Arc::clone(&approvals),
        }));
        let (stopper, stop) = stop_channel();
        let readiness = Arc::new(Readiness::new(recorder.clone(), policies.clone(), stop.clone()));
        let store = Arc::new(recorder.store());
        let api = ApiParts {
            sessions: store.clone(),
            history: store,
            health: readiness.clone(),
            metrics: vitals::metrics(&gate, &policies, &approvals, &recorder),
            approvals,
            policies: Arc::new(Status(policies.clone())),
            gate: Arc::clone(&gate),
            tokens: Arc::new(SessionTokens::new(users.clone())),
            rights: admin::rights(&config),
            issuers: admin::issuers(&config),
        };
        let administration = Administration::start(&config, api).await?;
        let certificates = administration.certificate().into_iter().collect();
        let (servers, sessions) = (Vec::new(), JoinSet::new());
        let mut gateway = Self {
            started: config.clone(),
            config,
            recorder,
            traced,
            policies,
            users,
            everybody,
            gate,
            credentials,
            servers,
            certificates,
            administration,
            stopper,
            sessions,
        };
        gateway.keep(&gateway.config);
        let mut addresses = gateway.listen(&mask_key, &stop).await?;
        block_in_place(|| gateway.prepare(&gateway.config))?();
        readiness.serves();
        addresses.extend(gateway.administration.address().map(|address| format!("admin {address}")));
        tracing::info!(listening = addresses.join(", "), targets = gateway.config.targets.len(), "ready");
        Ok(gateway)
    }

    /// Opens the protocols' listeners, and returns where they are.
    async fn listen(
        &mut self,
        mask_key: &Zeroizing<[u8; data_dir::KEY_BYTES]>,
        stop: &Stop,
    ) -> anyhow::Result<Vec<String>> {
        let (mut addresses, mut ports) = (Vec::new(), HashMap::new());
        for listen in &self.config.listen {
            let protocol = listen.protocol;
            let tls = server_tls(&self.config, protocol.alpn)?;
            self.certificates.extend(tls.clone());
            let parts = Parts {
                gate: Arc::clone(&self.gate),
                mask_key: mask_key.clone(),
                tls,
                allow_plaintext: self.config.allow_plaintext,
            };
            let server = (protocol.server)(parts);
            let (address, limits) = (listen.address.to_string(), self.config.limits);
            let listener = Listener::bind(protocol.name, &address, exposure(&self.config), limits).await?;
            let listener = listener.behind(self.config.proxies.get(protocol.name).cloned().unwrap_or_default());
            addresses.push(format!("{} {}", protocol.name, listener.local_addr()));
            ports.insert(protocol.name, listener.local_addr().port());
            self.servers.push(Arc::clone(&server));
            self.sessions.spawn(server.serve(listener, stop.clone()));
        }
        self.administration.set_ports(ports);
        Ok(addresses)
    }

    /// Follows the configuration's file until `stop` says so or is closed. Then there are no new
    /// sessions, and open ones have a grace. A second word has them end at once, a third cuts them.
    /// Where nothing can be recorded any more it ends with an error, so that whoever watches over the
    /// process starts it again.
    pub async fn run(mut self, mut stop: mpsc::Receiver<()>) -> anyhow::Result<()> {
        let (path, text) = (&self.config.path, self.config.text.as_bytes());
        let mut watch = FileWatch::start([(path.as_path(), text)]);
        // Seen as empty, so that what changed since the start is found too.
        let mut certificate = FileWatch::start(self.certificate_files().map(|path| (path, &[][..])));
        let mut reminder = tokio::time::interval(CERTIFICATE_REMINDER);
        let mut hangups = signal(SignalKind::hangup()).context("signals cannot be received")?;
        let mut heart = Heart::start();
        let access = Arc::clone(self.gate.access());
        let mut watched = pin!(access.watch());
        // Only now, for a hangup before would have ended the process.
        supervisor::ready();
        loop {
            tokio::select! {
                _ = stop.recv() => break,
                () = watch.changed() => self.reload(),
                error = self.recorder.failed() => return self.give_up(error).await,
                Some(()) = hangups.recv() => {
                    self.reload();
                    self.reload_certificates();
                }
                () = certificate.changed() => self.reload_certificates(),
                _ = reminder.tick() => self.remind_of_certificates(),
                () = heart.beat() => {}
                () = &mut watched => {}
            }
        }
        let drain = self.started.limits.grace;
        tracing::info!(?drain, "stopping: no new sessions, open ones may finish");
        supervisor::stopping(drain);
        self.stopper.stop();
        let mut told_again = false;
        loop {
            tokio::select! {
                ended = self.sessions.join_next() => if ended.is_none() { break },
                () = heart.beat() => {}
                () = &mut watched => {}
                Some(()) = stop.recv() => {
                    if std::mem::replace(&mut told_again, true) {
                        tracing::warn!("told to stop a third time: open sessions are cut");
                        self.sessions.shutdown().await;
                    } else {
                        tracing::warn!("told to stop a second time: open sessions end now");
                        self.stopper.now();
                    }
                }
            }
        }
        self.gate.access().close().await;
        self.credentials.close().await;
        // With the sessions the holds have ended, so that nothing is left to be announced.
        self.administration.end().await;
        self.recorder.close().await.context("the end of the record may be missing")?;
        if let Some(traced) = &self.traced {
            block_in_place(|| traced.end());
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Ends the sessions, which can do nothing any more, and says why.
    async fn give_up(mut self, error: RecordError) -> anyhow::Result<()> {
        tracing::error!("stopping, because nothing can be recorded: all sessions end");
        supervisor::stopping(Duration::ZERO);
        self.stopper.now();
        while self.sessions.join_next().await.is_some() {}
        self.credentials.close().await;
        self.administration.end().await;
        Err(anyhow::Error::new(error).context("the gateway ends, because it cannot record what passes; start it again"))
    }
}

impl Config {
    /// What the policy engine needs to know.
    pub fn policy_engine(&self) -> PolicyConfig {
        let mut engine = PolicyConfig::new(&self.policies.dir, &self.data_dir);
        if let Some(deadline) = self.policies.deadline {
            engine.deadline = deadline;
        }
        engine
    }
}

/// Which target binds what, as the policy engine wants to know it.
pub fn bindings(targets: &[Target]) -> HashMap<String, TargetBindings> {
    let bindings = |target: &Target| TargetBindings {
        protocol: target.protocol.name.to_owned(),
        bindings: target.bindings.clone(),
    };
    targets.iter().map(|target| (target.name.clone(), bindings(target))).collect()
}

/// The approvals of all sessions, and who is told of them.
async fn approvals(
    config: &Config,
    recorder: &Arc<dyn Recorder>,
    credentials: &Credentials,
    digest_key: DigestKey,
) -> anyhow::Result<Arc<Approvals>> {
    let webhook = admin::webhook(config, credentials).await?;
    let announcer = webhook.clone().map(|webhook| webhook as Arc<dyn Announcer>);
    let approvals = Approvals::new(config.approvals.limits, recorder.clone(), announcer, digest_key);
    if let Some(webhook) = webhook {
        webhook.follow(&approvals);
    }
    Ok(approvals)
}

/// Makes Vault ready, if there is one, and returns what puts it in force. Blocking.
pub fn vault(config: &Config, credentials: &Arc<Credentials>) -> anyhow::Result<impl FnOnce() + use<>> {
    let vault = config.vault.as_ref().map(|vault| credentials.prepare_vault(&vault.config)).transpose()?;
    let credentials = Arc::clone(credentials);
    Ok(move || credentials.configure(vault))
}

/// What makes traces of what is recorded, if somebody gets them.
fn traced(config: &Config, recorder: &Arc<SledRecorder>) -> anyhow::Result<Option<Arc<Traced>>> {
    let Some(endpoint) = &config.telemetry else { return Ok(None) };
    let started = block_in_place(|| Traced::start(recorder.clone(), endpoint, env!("CARGO_PKG_VERSION")));
    Ok(Some(Arc::new(started.context("[telemetry] cannot be used")?)))
}

/// The certificate for clients who speak one of these inside TLS; none without `[tls]`.
pub fn server_tls(config: &Config, alpn: &[&[u8]]) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let files = TlsFiles { cert: tls.cert.clone(), key: tls.key.clone() };
    Ok(Some(Arc::new(block_in_place(|| ServerTls::load(files, alpn))?)))
}

/// Whom listeners may serve.
pub fn exposure(config: &Config) -> Exposure {
    match (&config.tls, config.allow_plaintext) {
        (Some(_), _) => Exposure::Tls,
        (None, true) => Exposure::Plaintext,
        (None, false) => Exposure::LoopbackOnly,
    }
}
