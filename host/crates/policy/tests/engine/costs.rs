//! What a call costs. Prints; run it by hand:
//! `cargo test -p sluicegate-policy-engine --test engine -- --ignored --nocapture costs`

use std::{hint::black_box, sync::Arc, time::Instant};

use serde_json::{Value, json};
use sluicegate_core::{Batch, BatchColumn, Command, policy::Mode};

use crate::support::*;

fn measure(what: &str, per: u32, mut call: impl FnMut()) {
    for _ in 0..1000 {
        call();
    }
    let best = (0..7)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..5000 {
                call();
            }
            start.elapsed() / 5000
        })
        .min()
        .unwrap();
    let nanos = best.as_nanos() as f64 / f64::from(per);
    println!("{what:<50} {nanos:>9.1} ns");
}

fn command_cost(what: &str, settings: Value) {
    let fixture = Fixture::probing(settings);
    let mut session = fixture.open();
    let command = select();
    measure(what, 1, || {
        black_box(ask(&mut session, &command));
    });
}

#[test]
#[ignore = "a measurement, not a test"]
fn costs() {
    let fixture = Fixture::new();
    fixture.bind(Vec::new());
    let mut session = fixture.open();
    let command = select();
    measure("a command without policies", 1, || {
        black_box(ask(&mut session, &command));
    });
    fixture.put("narrow", &narrow());
    fixture.bind(vec![binding("narrow", Mode::Enforce, json!({}))]);
    let mut session = fixture.open();
    measure("a command that the policy is not interested in", 1, || {
        black_box(ask(&mut session, &command));
    });
    command_cost("a command, nothing read", json!({}));
    command_cost("a command, its classes read", json!({ "command": "classes" }));
    command_cost("a command, a rule cited", json!({ "cite": "deny[2]" }));
    command_cost("a command, its text read", json!({ "only": "nowhere in the text" }));
    command_cost("a command, every fact read (28 calls)", json!({ "command": "glance" }));

    let fixture = Fixture::probing(json!({ "inspect": [0, 1, 2, 3], "rows": "secret" }));
    let (_, mut flight) = ask(&mut fixture.open(), &select());
    let schema = schema();
    measure("a result's plan, four columns inspected", 1, || {
        black_box(flight.result(&schema));
    });
    let rows = rows();
    measure("rows, per value, 256 rows of 4 columns", 1024, || {
        black_box(flight.rows(&rows));
    });
    shipped(&command, &rows);
    measure("the first command of a session (an instance starts)", 1, || {
        black_box(ask(&mut fixture.open(), &command));
    });
}

/// The shipped policies with settings that make them work.
fn shipped(command: &Arc<Command>, rows: &Arc<Batch>) {
    let fixture = Fixture::new();
    fixture.put("sql-guard", &example("sql-guard"));
    fixture.put("pii-mask", &example("pii-mask"));
    fixture.put("hold-for-approval", &example("hold-for-approval"));
    let settings = json!({ "when": [{ "kinds": ["delete"], "missing_where": true }, { "tables": ["*.secrets"] }],
                           "approvers": ["group:dba"] });
    fixture.bind(vec![binding("hold-for-approval", Mode::Enforce, settings)]);
    let mut session = fixture.open();
    measure("hold-for-approval, a command", 1, || {
        black_box(ask(&mut session, command));
    });
    fixture.bind(vec![binding("sql-guard", Mode::Enforce, json!({ "deny": ["ddl", "drop"], "require_where": true }))]);
    let mut session = fixture.open();
    measure("sql-guard, a command", 1, || {
        black_box(ask(&mut session, command));
    });
    let settings = json!({ "columns": ["*.secret"], "detect": ["card", "email", "ssn"] });
    fixture.bind(vec![binding("pii-mask", Mode::Enforce, settings)]);
    let mut session = fixture.open();
    let schema = schema();
    measure("pii-mask, a command and its result of 4 columns", 1, || {
        let (_, mut flight) = ask(&mut session, command);
        black_box(flight.result(&schema));
    });
    let (_, mut flight) = ask(&mut session, command);
    assert!(flight.result(&schema).plan.inspects());
    measure("pii-mask, rows, per value looked into", 1024, || {
        black_box(flight.rows(rows));
    });
}

/// 256 rows of four columns of 16 bytes.
fn rows() -> Arc<Batch> {
    let column = |column| BatchColumn {
        column,
        offsets: (0..=256).map(|n| n * 16).collect(),
        bytes: b"0123456789abcdef".repeat(256),
        nulls: Vec::new(),
    };
    Arc::new(Batch { first_row: 0, rows: 256, columns: (0..4).map(column).collect() })
}
