//! How long an analysis takes. Run with `cargo test -p sluicegate-sql --test speed -- --ignored --nocapture`.

mod common;

use std::time::Instant;

use common::World;
use sluicegate_sql::{Analyser, Limits};

#[test]
#[ignore = "measures, and judges nothing"]
fn analyses_in_microseconds() {
    let psql = include_str!("fixtures/drivers.sql").split("\n-- next\n").nth(5).unwrap();
    let texts = [
        ("one row", "select id, name, lower(ssn) from people where id = $1"),
        ("pgbench", "UPDATE accounts SET abalance = abalance + 4 WHERE aid = 17;"),
        (
            "join",
            "select p.*, sum(o.total) from people p join orders o on o.person_id = p.id group by p.id order by 2 limit 10",
        ),
        ("introspection", psql),
    ];
    for (name, text) in texts {
        for (how, entries) in [("cached", 1000), ("read anew", 0)] {
            let world = World { analyser: Analyser::new(Limits::default(), entries), ..World::new() };
            world.read(text);
            let rounds = 5000;
            let started = Instant::now();
            for _ in 0..rounds {
                world.read(text);
            }
            println!("{name}, {how}: {:.1} us", started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
        }
    }
}
