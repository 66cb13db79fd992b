//! What the gateway holds in memory: for sessions that do nothing, and for results of any size.

use std::{fs, time::Duration};

use sluicegate_tests::{Endpoint, programs::memory};

use crate::{
    drain::Drain,
    rounds::progress,
    stage::{ROWS, Stage, target},
    workloads::{BARE, HAPROXY, INSPECTED, MASKED, PGBOUNCER, SLUICEGATE},
};

/// How many sessions are idle at once.
const SESSIONS: usize = 1000;

/// What each of them has done before: a policy that was never asked has no instance.
const COMMAND: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 1";

/// How long they then do nothing: within ten seconds the gateway drops what a next command starts again.
const REST: Duration = Duration::from_secs(12);

/// Everything about memory.
pub struct Memory {
    /// Bytes of resident memory that one idle session adds, by who it goes through.
    pub idle: Vec<(&'static str, f64)>,
    /// What results take.
    pub peaks: Vec<Peak>,
}

/// The highest resident memory of the gateway during a result, in bytes.
pub struct Peak {
    /// What the gateway does with the rows.
    pub who: &'static str,
    /// Of a million rows.
    pub small: u64,
    /// Of four million.
    pub large: u64,
}

/// Measures on fresh gateways, so that memory which was used before is not used again unseen.
pub fn measure(stage: &Stage) -> Memory {
    let mut idle = vec![(HAPROXY, idle_session(HAPROXY, stage.haproxy.id(), &stage.through_haproxy()))];
    for (who, target) in [(BARE, target::BARE), (SLUICEGATE, target::DEMO)] {
        let gateway = stage.fresh_gateway();
        idle.push((who, idle_session(who, gateway.id(), &stage.through(&gateway, target))));
    }
    // Last, because it keeps its connections, of which the server has enough only once.
    idle.insert(1, (PGBOUNCER, idle_session(PGBOUNCER, stage.pgbouncer.id(), &stage.through_pgbouncer())));
    let results = [
        (SLUICEGATE, target::PLAIN, "SELECT id, bucket, label, note FROM measured"),
        (MASKED, target::MASKED, "SELECT id, bucket, label, note FROM measured"),
        (INSPECTED, target::DEMO, "SELECT id, bucket, seen, note FROM measured"),
    ];
    let peaks = results.map(|(who, target, sql)| {
        let gateway = stage.fresh_gateway();
        let mut drain = Drain::connect(&stage.through(&gateway, target));
        let mut peak = |sql: &str, rows| {
            progress(&format!("memory: {rows} rows, {who}"));
            forget_peak(gateway.id());
            assert_eq!(drain.rows(sql), rows, "{sql} has another number of rows");
            memory(gateway.id(), "VmHWM")
        };
        let small = peak(sql, ROWS);
        Peak { who, small, large: peak(&format!("{sql}, generate_series(1, 4)"), 4 * ROWS) }
    });
    progress("");
    Memory { idle, peaks: peaks.into() }
}

/// Bytes that each of many sessions adds to a process.
fn idle_session(who: &str, process: u32, endpoint: &Endpoint) -> f64 {
    progress(&format!("memory: {SESSIONS} idle sessions, {who}"));
    let open = |count| {
        let sessions = (0..count).map(|_| {
            let mut session = Drain::connect(endpoint);
            session.rows(COMMAND);
            session
        });
        sessions.collect::<Vec<_>>()
    };
    // What is set up once, with the first sessions, belongs to none.
    drop(open(8));
    std::thread::sleep(Duration::from_secs(1));
    let before = memory(process, "VmRSS");
    let sessions = open(SESSIONS);
    std::thread::sleep(REST);
    let after = memory(process, "VmRSS");
    drop(sessions);
    (after as f64 - before as f64) / SESSIONS as f64
}

/// Has the kernel count the highest resident memory anew; see proc(5), `clear_refs`.
fn forget_peak(process: u32) {
    fs::write(format!("/proc/{process}/clear_refs"), "5").expect("the gateway is ours");
}
