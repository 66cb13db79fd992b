//! The WebAssembly engine that every policy shares: its settings, its limits, its ticker, and the
//! linker that offers policies the contract and nothing else.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use wasmtime::{
    Config, Engine, EngineWeak,
    component::{HasSelf, Linker},
};

use crate::{contract::Policy, instance::State};

/// One tick of the clock that ends calls.
const TICK: Duration = Duration::from_millis(1);

/// The most data that a policy may hand over in one call, in bytes.
pub(crate) const HOSTCALL_FUEL: usize = 8 << 20;

/// Where policies are and what they may use.
#[derive(Debug, Clone)]
pub struct PolicyConfig {
    /// The watched folder: policy `name` is `name.wasm` in it.
    pub dir: PathBuf,
    /// Compiled code is kept under `cache` in here, and the key that authenticates it beside that.
    pub data_dir: PathBuf,
    /// How long one call may work, not counting what its thread waits for a processor; at least 1 ms.
    pub deadline: Duration,
    /// How much memory one instance may use, in bytes.
    pub memory: usize,
}

impl PolicyConfig {
    /// The default limits: 20 ms a call, 64 MiB an instance.
    pub fn new(dir: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), data_dir: data_dir.into(), deadline: Duration::from_millis(20), memory: 64 << 20 }
    }
}

/// The engine and its limits.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    pub(crate) deadline: Duration,
    pub(crate) memory: usize,
}

impl Runtime {
    /// Builds the engine and starts its ticker.
    pub(crate) fn new(config: &PolicyConfig) -> wasmtime::Result<Self> {
        let engine = Engine::new(&settings())?;
        let mut linker = Linker::new(&engine);
        Policy::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        let weak = engine.weak();
        thread::Builder::new().name("policy-ticker".into()).spawn(move || tick(&weak))?;
        Ok(Self { engine, linker, deadline: config.deadline.max(TICK), memory: config.memory })
    }
}

fn settings() -> Config {
    let mut config = Config::new();
    config.concurrency_support(false);
    config.epoch_interruption(true);
    // The same events must give the same verdicts on every machine.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    config
}

/// Counts ticks until no engine is left. A late wake-up counts once: a burst of missed ticks would
/// time out innocent calls.
fn tick(engine: &EngineWeak) {
    let mut next = Instant::now() + TICK;
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        let now = Instant::now();
        if next > now {
            thread::sleep(next - now);
            next += TICK;
        } else {
            thread::sleep(TICK);
            next = Instant::now() + TICK;
        }
    }
}
