//! What policies cost, from the gate's question to their answer, and what it costs to ask one that does
//! not care: `cargo bench -p sluicegate-policy-engine`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be set up is not measured")]
#![allow(missing_docs, reason = "criterion's macros make functions of their own")]
#![allow(dead_code, reason = "the tests' support has more than is needed here")]

#[path = "../tests/engine/support.rs"]
mod support;

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use sluicegate_core::{Batch, BatchColumn, Command, policy::Mode};

use crate::support::{Fixture, ask, binding, example, narrow, schema, select};

/// A command that nobody has seen: its facts are new, so no answer to it is remembered.
fn command(c: &mut Criterion, what: &str, fixture: &Fixture) {
    let mut session = fixture.open();
    c.bench_function(what, |b| {
        b.iter_batched(select, |command| black_box(ask(&mut session, &command)), BatchSize::SmallInput);
    });
}

/// What the engine itself takes, and the matcher: `narrow` wants writes, and is asked about a SELECT.
fn matcher(c: &mut Criterion) {
    let fixture = Fixture::new();
    fixture.bind(Vec::new());
    command(c, "a command, no policy", &fixture);
    fixture.put("narrow", &narrow());
    fixture.bind(vec![binding("narrow", Mode::Enforce, json!({}))]);
    command(c, "a command, one policy that does not want it", &fixture);
}

/// What single facts cost, by a policy that reads what it is told to.
fn reading(c: &mut Criterion) {
    let settings = [
        ("nothing read", json!({})),
        ("its classes read", json!({ "command": "classes" })),
        ("a rule cited", json!({ "cite": "deny[2]" })),
        ("its text read", json!({ "only": "nowhere in the text" })),
        ("every fact read (28 calls)", json!({ "command": "glance" })),
    ];
    for (what, settings) in settings {
        command(c, &format!("a command, {what}"), &Fixture::probing(settings));
    }
    let fixture = Fixture::probing(json!({}));
    c.bench_function("the first command of a session (an instance starts)", |b| {
        b.iter(|| black_box(ask(&mut fixture.open(), &select())));
    });
}

/// The shipped policies, with settings that make them work.
fn shipped(c: &mut Criterion) {
    let settings = [
        (
            "hold-for-approval",
            json!({ "when": [{ "kinds": ["delete"], "missing_where": true }, { "tables": ["*.secrets"] }],
                    "approvers": ["group:dba"] }),
        ),
        ("sql-guard", json!({ "deny": ["ddl", "drop"], "require_where": true })),
        ("pii-mask", json!({ "columns": ["*.secret"], "detect": ["card", "email", "ssn"] })),
    ];
    for (name, settings) in &settings {
        command(c, &format!("{name}, a command"), &bound(&[(name, settings.clone())]));
    }
    let fixture = bound(&settings);
    command(c, "all three, a command", &fixture);
    let (mut session, schema) = (fixture.open(), schema());
    let mut ask_both = |command: &Arc<Command>| {
        let (_, mut flight) = ask(&mut session, command);
        black_box(flight.result(&schema))
    };
    c.bench_function("all three, a command and its result of 4 columns", |b| {
        b.iter_batched(select, |command| ask_both(&command), BatchSize::SmallInput);
    });
    let known = select();
    c.bench_function("all three, a command and its result, both remembered", |b| b.iter(|| ask_both(&known)));
}

/// Values that are looked into, by a comparison and by `pii-mask`.
fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("256 rows of 4 columns");
    group.throughput(Throughput::Elements(1024));
    let (schema, rows) = (schema(), batch());
    let fixtures = [
        ("compared", Fixture::probing(json!({ "inspect": [0, 1, 2, 3], "rows": "secret" }))),
        ("pii-mask", bound(&[("pii-mask", json!({ "columns": ["*.secret"], "detect": ["card", "email", "ssn"] }))])),
    ];
    for (what, fixture) in fixtures {
        let (_, mut flight) = ask(&mut fixture.open(), &select());
        assert!(flight.result(&schema).plan.inspects());
        group.bench_function(what, |b| b.iter(|| black_box(flight.rows(&rows))));
    }
}

fn bound(policies: &[(&str, Value)]) -> Fixture {
    let fixture = Fixture::new();
    for (name, _) in policies {
        fixture.put(name, &example(name));
    }
    fixture.bind(policies.iter().map(|(name, settings)| binding(name, Mode::Enforce, settings.clone())).collect());
    fixture
}

/// Columns of values of 16 bytes.
fn batch() -> Arc<Batch> {
    let column = |column| BatchColumn {
        column,
        offsets: (0..=256).map(|n| n * 16).collect(),
        bytes: b"0123456789abcdef".repeat(256),
        nulls: Vec::new(),
    };
    Arc::new(Batch { first_row: 0, rows: 256, columns: (0..4).map(column).collect() })
}

criterion_group!(benches, matcher, reading, shipped, rows);
criterion_main!(benches);
