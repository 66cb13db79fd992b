//! What real clients send: psql's commands, pg_dump, pgbench, vacuumdb and others as a server logged
//! them, and the introspection of well-known drivers. All of it must be analysable.

mod common;

use common::World;
use sluicegate_sql::Effect;

fn texts(fixture: &'static str) -> impl Iterator<Item = &'static str> {
    fixture.split("\n-- next\n").map(str::trim)
}

#[test]
fn what_clients_send_is_analysable() {
    let mut world = World { catalog: common::server_catalog(), ..World::new() };
    let all = texts(include_str!("fixtures/clients.sql")).chain(texts(include_str!("fixtures/drivers.sql")));
    for text in all {
        let analysis = world.read(text);
        assert_eq!(analysis.facts.unanalysable, None, "{text}");
        assert_eq!(analysis.facts.statements, 1, "{text}");
        for statement in &analysis.statements {
            match &statement.effect {
                Effect::Prepare { name, body } => drop(world.prepared.insert(name.clone(), body.clone())),
                Effect::DeclareCursor { name, body } => drop(world.cursors.insert(name.clone(), body.clone())),
                _ => {}
            }
        }
    }
}

/// Introspection reads the server's own catalog with the server's own functions and nothing else, so
/// that it works where people's tables are masked.
#[test]
fn introspection_reaches_nothing_unknown() {
    let world = World { catalog: common::server_catalog(), ..World::new() };
    let queries = texts(include_str!("fixtures/clients.sql")).chain(texts(include_str!("fixtures/drivers.sql")));
    let mut judged = 0;
    for text in queries.filter(|text| text.to_lowercase().starts_with("select")) {
        let facts = world.read(text).facts.clone();
        let known = facts.relations.iter().all(|relation| relation.known);
        let own = facts.functions.iter().all(|function| function.builtin && !function.name.starts_with("lo_"));
        if known && own {
            assert!(!facts.reaches_unknown, "{text}");
            judged += 1;
        }
    }
    assert!(judged > 100, "only {judged} queries were judged");
}
