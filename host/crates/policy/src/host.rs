//! The policies of one gateway: started once, told which target binds what, asked for sessions, and
//! kept in step with the policies folder while it runs.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use sluicegate_core::{
    Session,
    policy::{Binding, PolicyEngine, PolicySession},
};
use sluicegate_metrics::PolicyMetrics;

use crate::{
    cache::Cache,
    chain::Chain,
    registry::{Problem, Registry},
    runtime::{PolicyConfig, Runtime},
    session::Policies,
    status::{PolicyStatus, Report},
    watch::Watch,
};

/// What one target binds, in the order in which its policies are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetBindings {
    /// The protocol that the target speaks.
    pub protocol: String,
    /// Its policies; empty for none.
    pub bindings: Vec<Binding>,
}

/// Runs the policies of a folder.
pub struct PolicyHost {
    shared: Arc<Shared>,
    registry: Arc<Mutex<Registry>>,
    _watch: Watch,
}

/// What sessions need of the host.
pub(crate) struct Shared {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) generation: ArcSwap<Generation>,
    pub(crate) reports: ArcSwap<Vec<Report>>,
    pub(crate) metrics: Arc<PolicyMetrics>,
}

/// Everything in force at one time.
#[derive(Default)]
pub(crate) struct Generation {
    pub(crate) id: u64,
    pub(crate) chains: HashMap<String, Arc<Chain>>,
}

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The WebAssembly engine does not run on this machine.
    #[error("the WebAssembly engine cannot start on this machine: {0}")]
    Engine(String),
    /// The thread that watches the folder could not be started.
    #[error("the policies folder cannot be watched; check the limits on threads")]
    Watch(#[source] io::Error),
}

/// Bindings that cannot be put in force. Those before stay.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.problems))]
pub struct ApplyError {
    /// One for each binding that would not work.
    pub problems: Vec<Problem>,
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

impl Shared {
    fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime, generation: ArcSwap::default(), reports: ArcSwap::default(), metrics: Arc::default() }
    }
}

impl PolicyHost {
    /// Starts the engine and watches the folder. Nothing is bound yet, and a session for a target
    /// that no [`apply`](Self::apply) has named is blocked.
    pub fn start(config: PolicyConfig) -> Result<Arc<Self>, StartError> {
        let runtime = runtime(&config)?;
        let shared = Arc::new(Shared::new(runtime));
        let cache = cache(&config);
        let dir = config.dir;
        let registry = Arc::new(Mutex::new(Registry::new(dir.clone(), cache, Arc::clone(&shared))));
        let watch = Watch::start(dir, Arc::clone(&registry)).map_err(StartError::Watch)?;
        Ok(Arc::new(Self { shared, registry, _watch: watch }))
    }

    /// Puts bindings in force, all of them or none. `targets` names every target, those without
    /// policies too. The first call always succeeds: a binding whose policy is missing or bad
    /// blocks, loudly, until the file is there. Later an error leaves in force what was.
    ///
    /// Compiles, so it may take seconds: call it where blocking is allowed.
    pub fn apply(&self, targets: HashMap<String, TargetBindings>) -> Result<(), ApplyError> {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.apply(targets).map_err(|problems| ApplyError { problems })
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<PolicyMetrics> {
        &self.shared.metrics
    }

    /// The number of the generation in force; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load().id
    }

    /// How each bound module stands, by name. Never waits for a compilation.
    pub fn status(&self) -> Vec<PolicyStatus> {
        self.shared.reports.load().iter().map(Report::now).collect()
    }
}

impl PolicyEngine for PolicyHost {
    fn open(&self, session: Arc<Session>) -> Box<dyn PolicySession> {
        Box::new(Policies::new(Arc::clone(&self.shared), session))
    }
}

/// What would keep the bindings from working, without putting them in force: for
/// `sluicegate check`. Compiles, so it may take seconds.
pub fn check(config: &PolicyConfig, targets: &HashMap<String, TargetBindings>) -> Result<Vec<Problem>, StartError> {
    let runtime = runtime(config)?;
    let registry = Registry::new(config.dir.clone(), cache(config), Arc::new(Shared::new(runtime)));
    Ok(registry.check(targets))
}

fn runtime(config: &PolicyConfig) -> Result<Arc<Runtime>, StartError> {
    Runtime::new(config).map(Arc::new).map_err(|error| StartError::Engine(format!("{error:#}")))
}

fn cache(config: &PolicyConfig) -> Option<Cache> {
    match Cache::open(&config.data_dir) {
        Ok(cache) => Some(cache),
        Err(error) => {
            let dir = config.data_dir.display();
            tracing::warn!(%dir, %error, "compiled policies cannot be kept safely; they are compiled at every start");
            None
        }
    }
}
