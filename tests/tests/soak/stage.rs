//! What the soak's threads share: the way to the gateway, the word to stop, what was done so far, and
//! what happened that should not have.

use std::{
    collections::BTreeMap,
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sluicegate_tests::{Api, Database, Endpoint, Gateway};

use crate::{clients, driver, holds};

/// The most failures that are kept; a soak that breaks breaks everywhere.
const KEPT: usize = 20;

/// What a client does over and over; it panics where it sees what it should not. The number is that of
/// the round.
pub type Round = fn(&Stage<'_>, u64);

/// Every kind of client.
pub const ROUNDS: [(&str, Round); 9] = [
    ("pgbench", clients::pgbench),
    ("psql", clients::psql),
    ("driver", driver::mixed),
    ("cancel", driver::cancelled),
    ("held", holds::held),
    ("abandoned", holds::abandoned),
    ("vandal", clients::vandal),
    ("killed client", clients::killed),
    ("killed backend", clients::victim),
];

/// Shared by all threads.
pub struct Stage<'a> {
    pub alice: Endpoint,
    pub dora: Endpoint,
    pub admin: Endpoint,
    pub dave: Api,
    pub database: &'a Database,
    stopped: AtomicBool,
    done: Mutex<BTreeMap<&'static str, u64>>,
    unexpected: Mutex<Vec<String>>,
}

impl<'a> Stage<'a> {
    pub fn new(gateway: &Gateway, database: &'a Database) -> Self {
        Self {
            alice: gateway.alice(),
            dora: gateway.endpoint("dora"),
            admin: gateway.endpoint("admin"),
            dave: gateway.api().basic("dave"),
            database,
            stopped: AtomicBool::new(false),
            done: Mutex::default(),
            unexpected: Mutex::default(),
        }
    }

    /// Each client once, one after the other. What fails here fails the soak at once.
    pub fn once(&self) {
        ROUNDS.iter().for_each(|(_, round)| round(self, 0));
    }

    /// One client over and over, with a breath between rounds, so that connections come and go.
    pub fn until_stopped(&self, name: &'static str, round: Round) {
        for number in 1.. {
            if self.is_stopped() {
                return;
            }
            self.attempt(name, || round(self, number));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Does something and notes how it went.
    pub fn attempt(&self, name: &'static str, act: impl FnOnce()) {
        match catch_unwind(AssertUnwindSafe(act)) {
            Ok(()) => *self.done.lock().expect("nobody panics with it").entry(name).or_default() += 1,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let mut unexpected = self.unexpected.lock().expect("nobody panics with it");
                if unexpected.len() < KEPT {
                    unexpected.push(format!("{name}: {}", text.unwrap_or_default()));
                }
            }
        }
    }

    /// Tells every thread to stop, once it is dropped.
    pub fn stop_at_end(&self) -> Stop<'_> {
        Stop(&self.stopped)
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// What was done so far.
    pub fn tally(&self) -> String {
        let mut text = String::new();
        for (name, count) in &*self.done.lock().expect("nobody panics with it") {
            write!(text, "{name} {count}, ").expect("a string takes everything");
        }
        let unexpected = self.unexpected.lock().expect("nobody panics with it").len();
        write!(text, "unexpected {unexpected}").expect("a string takes everything");
        text
    }

    /// What should not have happened, and what was never done.
    pub fn unexpected(&self) -> Vec<String> {
        let mut failures = self.unexpected.lock().expect("nobody panics with it").clone();
        let done = self.done.lock().expect("nobody panics with it");
        let idle = ROUNDS.iter().map(|(name, _)| *name).filter(|name| !done.contains_key(name));
        failures.extend(idle.map(|name| format!("{name}: not a single round ended well")));
        failures
    }
}

/// See [`Stage::stop_at_end`].
pub struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What pgbench and the drivers need beside the sample data.
pub fn furnish(database: &Database) {
    database.direct().pgbench(&["-i", "-s", "1", "-q"]).ok();
    database.direct().psql("CREATE TABLE imports (id integer, note text)").ok();
}

/// The lines of the gateway's log that nothing the soak does accounts for.
pub fn loud_lines(log: &str) -> Vec<String> {
    let is_expected = |line: &str| {
        // Broken modules and broken configurations are dropped in on purpose.
        ["policy", "configuration"].iter().any(|word| line.contains(word))
    };
    let loud = log.lines().filter(|line| line.contains("panic") || (line.contains("ERROR") && !is_expected(line)));
    loud.take(KEPT).map(|line| format!("the gateway's log says: {line}")).collect()
}
