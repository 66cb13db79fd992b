//! One running gateway: what is started in which order, what a changed configuration changes, and how
//! it ends.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use sluicegate_admin::{self as admin, AdminSocket, Api};
use sluicegate_core::{Approvals, Gate, GateParts, TargetAccess, record::RecordError};
use sluicegate_identity::BuiltinUsers;
use sluicegate_net::{Exposure, Limits, Listener, ServerTls, Stop, Stopper, TlsFiles, stop_channel};
use sluicegate_policy_engine::{ApplyError, PolicyConfig, PolicyHost, TargetBindings};
use sluicegate_recorder::SledRecorder;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, block_in_place},
};

use super::{PROTOCOLS, Parts, ProtocolServer, data_dir, watch::FileWatch};
use crate::config::{self, Config, Loaded, Target};

/// How long sessions may go on once stopping is asked for.
const GRACE: Duration = Duration::from_secs(10);
/// Open connections per listener; more are closed at once.
const MAX_CONNECTIONS: usize = 4096;
/// Those among them that have not logged in yet.
const MAX_STARTING: usize = MAX_CONNECTIONS / 4;
/// How often the certificate's files are looked at.
const TLS_POLL: Duration = Duration::from_secs(60);

/// A gateway that serves.
pub struct Gateway {
    config: Config,
    recorder: Arc<SledRecorder>,
    policies: Arc<PolicyHost>,
    users: Arc<BuiltinUsers>,
    gate: Arc<Gate>,
    servers: Vec<Arc<dyn ProtocolServer>>,
    certificates: Vec<Arc<ServerTls>>,
    stopper: Stopper,
    tasks: JoinSet<()>,
}

impl Gateway {
    /// Starts everything, in the order in which one part needs the other; when it returns, clients
    /// are served. Needs a runtime of several threads.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        data_dir::prepare(&config.data_dir)?;
        let mask_key = data_dir::mask_key(&config.data_dir)?;
        let recorder = Arc::new(block_in_place(|| SledRecorder::open(&config.data_dir))?);
        let policies = PolicyHost::start(config.policy_engine())?;
        block_in_place(|| policies.apply(bindings(&config.targets)))?;
        let users = Arc::new(BuiltinUsers::new(&config.users)?);
        let approvals = Approvals::new(config.approvals.limits, recorder.clone(), None);
        let gate = Gate::new(GateParts {
            authenticator: users.clone(),
            policies: policies.clone(),
            recorder: recorder.clone(),
            recording: config.recording,
            max_output: config.record.output,
            approvals: Arc::clone(&approvals),
        });
        let (gate, mut tasks) = (Arc::new(gate), JoinSet::new());
        let (stopper, stop) = stop_channel();
        let (mut servers, mut certificates, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for protocol in PROTOCOLS {
            let Some(listen) = config.listen.iter().find(|listen| listen.protocol.name == protocol.name) else {
                continue;
            };
            let tls = server_tls(&config, protocol.alpn)?;
            certificates.extend(tls.clone());
            let parts = Parts {
                gate: Arc::clone(&gate),
                mask_key: mask_key.clone(),
                tls,
                allow_plaintext: config.allow_plaintext,
            };
            let server = (protocol.server)(parts);
            let limits = Limits { max_connections: MAX_CONNECTIONS, max_starting: MAX_STARTING, grace: GRACE };
            let address = listen.address.to_string();
            let listener = Listener::bind(protocol.name, &address, exposure(&config), limits).await?;
            addresses.push(format!("{} {}", protocol.name, listener.local_addr()));
            servers.push(Arc::clone(&server));
            tasks.spawn(server.serve(listener, stop.clone()));
        }
        let mut gateway = Self { config, recorder, policies, users, gate, servers, certificates, stopper, tasks };
        block_in_place(|| gateway.prepare(&gateway.config))?();
        gateway.serve_admin(stop).await?;
        tracing::info!(listening = addresses.join(", "), targets = gateway.config.targets.len(), "ready");
        Ok(gateway)
    }

    /// Follows the configuration's file until `stop` says so or is closed. Then there are no new
    /// sessions, and open ones have a grace. A second word has them end at once, a third cuts them.
    /// Where nothing can be recorded any more it ends with an error, so that whoever watches over the
    /// process starts it again.
    pub async fn run(mut self, mut stop: mpsc::Receiver<()>) -> anyhow::Result<()> {
        let mut watch = FileWatch::start(&self.config.path, self.config.text.as_bytes());
        let mut hangups = signal(SignalKind::hangup()).context("signals cannot be received")?;
        let mut tls_poll = tokio::time::interval(TLS_POLL);
        loop {
            tokio::select! {
                _ = stop.recv() => break,
                () = watch.changed() => self.reload(),
                error = self.recorder.failed() => return self.give_up(error).await,
                Some(()) = hangups.recv() => {
                    self.reload();
                    self.reload_certificates();
                }
                _ = tls_poll.tick() => self.reload_certificates(),
            }
        }
        tracing::info!(grace = ?GRACE, "stopping: no new sessions, open ones may finish");
        self.stopper.stop();
        let mut told_again = false;
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => if ended.is_none() { break },
                Some(()) = stop.recv() => {
                    if std::mem::replace(&mut told_again, true) {
                        tracing::warn!("told to stop a third time: open sessions are cut");
                        self.tasks.shutdown().await;
                    } else {
                        tracing::warn!("told to stop a second time: open sessions end now");
                        self.stopper.now();
                    }
                }
            }
        }
        self.recorder.close().await.context("the end of the record may be missing")?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Ends the sessions, which can do nothing any more, and says why.
    async fn give_up(mut self, error: RecordError) -> anyhow::Result<()> {
        tracing::error!("stopping, because nothing can be recorded: all sessions end");
        self.stopper.now();
        while self.tasks.join_next().await.is_some() {}
        Err(anyhow::Error::new(error).context("the gateway ends, because it cannot record what passes; start it again"))
    }

    /// The owner's socket, for the command line.
    async fn serve_admin(&mut self, mut stop: Stop) -> anyhow::Result<()> {
        let socket = AdminSocket::bind(&self.config.data_dir).await?;
        let api = Api::new(Arc::new(self.recorder.store()), Arc::new(Status(Arc::clone(&self.policies))));
        self.tasks.spawn(async move {
            if let Err(error) = socket.serve(admin::router(api), async move { stop.asked().await }).await {
                tracing::error!(%error, "`sluicegate sessions` and `policy status` cannot ask this gateway any more");
            }
        });
        Ok(())
    }

    /// Reads the file again. Whatever is wrong with it, what is in force stays in force.
    fn reload(&mut self) {
        match block_in_place(|| self.try_reload()) {
            Ok(()) => tracing::info!(
                targets = self.config.targets.len(),
                users = self.config.users.len(),
                "configuration reloaded"
            ),
            Err(why) => {
                tracing::error!("the changed configuration is refused, and the one before stays in force\n{why}")
            }
        }
    }

    fn try_reload(&mut self) -> Result<(), String> {
        let Loaded { config, mut report, .. } = config::load(&self.config.path).map_err(|error| error.to_string())?;
        let Some(config) = config else { return Err(report.plain()) };
        config::check_files(&config, &mut report);
        if !report.is_empty() {
            tracing::warn!("the configuration is taken with these problems\n{}", report.plain());
        }
        let put_in_force = self.prepare(&config).map_err(|error| format!("{error:#}"))?;
        if let Err(ApplyError { problems }) = self.policies.apply(bindings(&config.targets)) {
            config::explain(&config, &mut report, &problems);
            return Err(report.plain());
        }
        self.users.replace(&config.users).map_err(|error| error.to_string())?;
        put_in_force();
        for part in self.needs_restart(&config) {
            tracing::warn!("a change of {part} is in force only after a restart");
        }
        self.config = config;
        Ok(())
    }

    /// Reads what targets need, and returns what puts them in force: protocols first, so that the
    /// gate admits nobody to a target that cannot be dialled yet.
    fn prepare(&self, config: &Config) -> anyhow::Result<impl FnOnce() + use<>> {
        let prepared = self.servers.iter().map(|server| Arc::clone(server).prepare(&config.targets));
        let prepared: Vec<_> = prepared.collect::<anyhow::Result<_>>()?;
        let access = |target: &Target| TargetAccess {
            protocol: target.protocol.name,
            allow: target.allow.clone(),
            hold_in_transaction: target.hold_in_transaction,
        };
        let access = config.targets.iter().map(|target| (target.name.clone(), access(target))).collect();
        let gate = Arc::clone(&self.gate);
        Ok(move || {
            prepared.into_iter().for_each(|put_in_force| put_in_force());
            gate.set_targets(access);
        })
    }

    fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let old = &self.config;
        let listen =
            |config: &Config| -> Vec<_> { config.listen.iter().map(|l| (l.protocol.name, l.address)).collect() };
        let changed = [
            ("`data_dir`", old.data_dir != new.data_dir),
            ("`recording`", old.recording != new.recording),
            ("[listen]", listen(old) != listen(new) || old.allow_plaintext != new.allow_plaintext),
            ("[tls]", old.tls.as_ref().map(|t| (&t.cert, &t.key)) != new.tls.as_ref().map(|t| (&t.cert, &t.key))),
            ("[policies]", (&old.policies.dir, old.policies.deadline) != (&new.policies.dir, new.policies.deadline)),
        ];
        changed.into_iter().filter_map(|(part, changed)| changed.then_some(part)).collect()
    }

    fn reload_certificates(&self) {
        for tls in &self.certificates {
            if let Err(error) = block_in_place(|| tls.reload()) {
                let error = sluicegate_net::Chain(&error);
                tracing::error!(%error, "the changed certificate is refused, and the one before stays in force");
            }
        }
    }
}

/// Tells the command line how policies stand.
struct Status(Arc<PolicyHost>);

impl admin::Policies for Status {
    fn status(&self) -> Vec<serde_json::Value> {
        self.0.status().into_iter().filter_map(|policy| serde_json::to_value(policy).ok()).collect()
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

fn server_tls(config: &Config, alpn: &[&[u8]]) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let files = TlsFiles { cert: tls.cert.clone(), key: tls.key.clone() };
    Ok(Some(Arc::new(block_in_place(|| ServerTls::load(files, alpn))?)))
}

fn exposure(config: &Config) -> Exposure {
    match (&config.tls, config.allow_plaintext) {
        (Some(_), _) => Exposure::Tls,
        (None, true) => Exposure::Plaintext,
        (None, false) => Exposure::LoopbackOnly,
    }
}
