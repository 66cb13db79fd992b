//! What it costs to find the facts of a text, known and unknown: `cargo bench -p sluicegate-sql`.

#![allow(clippy::unwrap_used, reason = "what cannot be set up is not measured")]
#![allow(missing_docs, reason = "criterion's macros make functions of their own")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::World;
use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate_sql::{Analyser, Limits};

fn facts(c: &mut Criterion) {
    let introspection = include_str!("../tests/fixtures/drivers.sql").split("\n-- next\n").nth(5).unwrap();
    let texts = [
        ("one row", "select id, name, lower(ssn) from people where id = $1"),
        ("an update of pgbench", "UPDATE accounts SET abalance = abalance + 4 WHERE aid = 17;"),
        (
            "a join",
            "select p.*, sum(o.total) from people p join orders o on o.person_id = p.id group by p.id order by 2 limit 10",
        ),
        ("introspection by a driver", introspection),
    ];
    for (how, entries) in [("cached", 1000), ("read anew", 0)] {
        let world = World { analyser: Analyser::new(Limits::default(), entries), ..World::new() };
        for (what, text) in texts {
            c.bench_function(&format!("facts of {what}, {how}"), |b| b.iter(|| world.read(text)));
        }
    }
}

criterion_group!(benches, facts);
criterion_main!(benches);
