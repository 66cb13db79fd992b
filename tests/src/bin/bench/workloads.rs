//! What is measured, who takes part, and how fast the gateway is to be.

use std::time::Duration;

use sluicegate_tests::Endpoint;

use crate::{
    drain, pgbench,
    stage::{ROWS, Stage, target},
};

/// The server itself.
const DIRECT: &str = "direct";
/// HAProxy in TCP mode.
pub const HAPROXY: &str = "HAProxy";
/// PgBouncer in session mode.
pub const PGBOUNCER: &str = "PgBouncer";
/// The gateway with a target that no policy is bound to.
pub const BARE: &str = "no policies";
/// The gateway with three policies. They leave every value of these results as it is.
pub const SLUICEGATE: &str = "Sluicegate";
/// [`SLUICEGATE`], where a connection to the server waits for its user's next session, as behind PgBouncer.
pub const REUSING: &str = "reusing";
/// [`SLUICEGATE`], and one column is masked.
pub const MASKED: &str = "one masked";
/// [`SLUICEGATE`], and the texts of one column are looked into.
pub const INSPECTED: &str = "one inspected";

/// What is counted where each transaction has a connection of its own.
pub const CONNECTIONS: &str = "connections/s";

/// What pgbench does: a name, a title, what is counted, its arguments, and the part of PgBouncer's speed that is wanted.
const PGBENCH: [(&str, &str, &str, &[&str], f64); 10] = [
    ("select-simple-1", "pgbench -S, simple, 1 client", "tps", &["-S", "-M", "simple", "-c", "1"], 0.95),
    ("select-simple-8", "pgbench -S, simple, 8 clients", "tps", &["-S", "-M", "simple", "-c", "8", "-j", "2"], 0.95),
    ("select-extended-1", "pgbench -S, extended, 1 client", "tps", &["-S", "-M", "extended", "-c", "1"], 0.95),
    (
        "select-extended-8",
        "pgbench -S, extended, 8 clients",
        "tps",
        &["-S", "-M", "extended", "-c", "8", "-j", "2"],
        0.95,
    ),
    ("select-prepared-1", "pgbench -S, prepared, 1 client", "tps", &["-S", "-M", "prepared", "-c", "1"], 0.95),
    (
        "select-prepared-8",
        "pgbench -S, prepared, 8 clients",
        "tps",
        &["-S", "-M", "prepared", "-c", "8", "-j", "2"],
        0.95,
    ),
    ("tpcb-1", "TPC-B-like, 1 client", "tps", &["-b", "tpcb-like", "-c", "1"], 0.97),
    ("tpcb-8", "TPC-B-like, 8 clients", "tps", &["-b", "tpcb-like", "-c", "8", "-j", "2"], 0.97),
    ("connect-1", "connections, 1 client", CONNECTIONS, &["-S", "-C", "-c", "1"], 0.8),
    ("connect-8", "connections, 8 clients", CONNECTIONS, &["-S", "-C", "-c", "8", "-j", "2"], 0.8),
];

/// One thing that is measured, of everybody in turn.
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// Who takes part.
    pub entries: Vec<Entry>,
    /// What is wanted.
    pub goals: Vec<Goal>,
    action: Action,
}

/// Who takes part, and by which way.
pub struct Entry {
    /// Who it is.
    pub who: &'static str,
    endpoint: Endpoint,
}

/// How fast somebody is to be, as a part of somebody else's speed.
pub struct Goal {
    /// Who is judged.
    pub who: &'static str,
    /// Beside whom.
    pub beside: &'static str,
    /// The least part of their speed.
    pub at_least: f64,
}

enum Action {
    /// pgbench with these arguments.
    Pgbench(&'static [&'static str]),
    /// A query whose rows are counted and no more.
    Rows(&'static str),
}

/// Everything, in the order in which it runs.
pub fn all(stage: &Stage) -> Vec<Workload> {
    let transactions = PGBENCH.iter().map(|&(name, title, unit, args, at_least)| {
        let connects = args.contains(&"-C");
        let reusing = connects.then_some((REUSING, target::REUSING));
        let ways: Vec<_> = [(BARE, target::BARE), (SLUICEGATE, target::DEMO)].into_iter().chain(reusing).collect();
        let entries = entries(stage, &ways);
        let goals = vec![Goal { who: if connects { REUSING } else { SLUICEGATE }, beside: PGBOUNCER, at_least }];
        Workload { name, title, unit, entries, goals, action: Action::Pgbench(args) }
    });
    transactions.chain(rows(stage)).collect()
}

/// Results of a million rows. Beside the text that is looked into stands a column of a type that is not, so
/// that it is one; that result is compared with others of its own.
fn rows(stage: &Stage) -> Vec<Workload> {
    let masks = [(BARE, target::BARE), (SLUICEGATE, target::PLAIN), (MASKED, target::MASKED)];
    let inspection = [(INSPECTED, target::DEMO)];
    let workload = |name, title, ways: &[_], goals: &[(&'static str, f64)], sql| Workload {
        name,
        title,
        unit: "rows/s",
        entries: entries(stage, ways),
        goals: goals.iter().map(|&(who, at_least)| Goal { who, beside: HAPROXY, at_least }).collect(),
        action: Action::Rows(sql),
    };
    let (masked, inspected) = ([(SLUICEGATE, 0.95), (MASKED, 0.9)], [(INSPECTED, 0.75)]);
    vec![
        workload("rows-select", "1M rows by SELECT", &masks, &masked, "SELECT id, bucket, label, note FROM measured"),
        workload("rows-copy", "1M rows by COPY", &masks, &masked, "COPY measured (id, bucket, label, note) TO STDOUT"),
        workload(
            "rows-select-inspected",
            "1M rows by SELECT, a text inspected",
            &inspection,
            &inspected,
            "SELECT id, bucket, seen, note FROM measured",
        ),
        workload(
            "rows-copy-inspected",
            "1M rows by COPY, a text inspected",
            &inspection,
            &inspected,
            "COPY measured (id, bucket, seen, note) TO STDOUT",
        ),
    ]
}

fn entries(stage: &Stage, ways: &[(&'static str, &str)]) -> Vec<Entry> {
    let rivals = [(DIRECT, stage.direct()), (HAPROXY, stage.through_haproxy()), (PGBOUNCER, stage.through_pgbouncer())];
    let ours = ways.iter().map(|&(who, target)| (who, stage.through_sluicegate(target)));
    rivals.into_iter().chain(ours).map(|(who, endpoint)| Entry { who, endpoint }).collect()
}

impl Workload {
    /// One run of one of its entries: units per second.
    pub fn run(&self, entry: &Entry, stage: &Stage, length: Duration) -> f64 {
        match self.action {
            Action::Pgbench(args) => {
                stage.tidy();
                pgbench::transactions(&entry.endpoint, args, length)
            }
            Action::Rows(sql) => drain::speed(&entry.endpoint, sql, ROWS, length),
        }
    }
}
