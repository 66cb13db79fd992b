//! Which settings a text sets.

mod common;

use common::World;
use sluicegate_sql::{Effect, Sets};

fn named(names: &[&str]) -> Sets {
    Sets::Named(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn names_are_as_the_server_reads_them() {
    let cases: &[(&str, &[&str])] = &[
        ("set \"Sluicegate\".\"user\" = 'x'", &["sluicegate.user"]),
        ("set sluicegate /* x */ . user to x", &["sluicegate.user"]),
        ("set \"sluicegate.user\" to x", &["sluicegate.user"]),
        ("set local sluicegate.user to x", &["sluicegate.user"]),
        ("set session sluicegate.user to x", &["sluicegate.user"]),
        ("set local.x to y", &["local.x"]),
        ("set time zone 'UTC'", &["timezone"]),
        ("reset sluicegate.user", &["sluicegate.user"]),
        ("reset all", &["all"]),
        ("discard all", &["all"]),
        ("alter role app set sluicegate.user = 'x'", &["sluicegate.user"]),
        ("alter database orders reset sluicegate.user", &["sluicegate.user"]),
        ("alter system set sluicegate.user = 'x'", &["sluicegate.user"]),
        ("select set_config('SluiceGate.user', 'x', false)", &["sluicegate.user"]),
        ("select pg_catalog.\"set_config\"(E'sluicegat\\x65.user', 'x', false)", &["sluicegate.user"]),
        ("select set_config($a$sluicegate.user$a$, 'x', false)", &["sluicegate.user"]),
        ("select 1 where (select set_config('a.b', 'x', false)) is null; set c.d to 1", &["a.b", "c.d"]),
        ("explain analyze select set_config('a.b', 'x', false)", &["a.b"]),
        ("prepare p as select set_config('a.b', 'x', false)", &["a.b"]),
        ("copy (select set_config('a.b', 'x', false)) to stdout", &["a.b"]),
        ("SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'a.b'", &["a.b"]),
    ];
    for (text, names) in cases {
        assert_eq!(World::new().read(text).sets(), named(names), "{text}");
    }
}

#[test]
fn what_is_computed_is_unknown() {
    for text in [
        "select set_config('sluice' || 'gate.user', 'x', false)",
        "select set_config('sluice'\n'gate.user', 'x', false)",
        "select set_config(E'sluicegat\\u0065.user', 'x', false)",
        "select set_config($1, 'x', false)",
        "select set_config(new_value => 'x', setting_name => 'sluicegate.user', is_local => false)",
        "select set_config(name, 'x', false) from pg_settings where name = 'a' || 'b'",
        "select set_config(name, 'x', false) from (select 'sluicegate.user' as name) x",
        "prepare p as select set_config($1, 'x', false)",
    ] {
        assert_eq!(World::new().read(text).sets(), Sets::Unknown, "{text}");
    }
}

#[test]
fn other_texts_set_nothing() {
    for text in ["select 1", "update people set name = 'x'", "alter table people set (fillfactor = 50)", "show a.b"] {
        assert_eq!(World::new().read(text).sets(), Sets::None, "{text}");
    }
}

/// Two texts that differ in the literal only.
#[test]
fn one_name_is_not_taken_for_another() {
    let world = World::new();
    assert_eq!(world.read("select set_config('a.b', 'x', false)").sets(), named(&["a.b"]));
    assert_eq!(world.read("select set_config('c.d', 'x', false)").sets(), named(&["c.d"]));
}

#[test]
fn execute_sets_what_was_prepared() {
    let mut world = World::new();
    let analysis = world.read("prepare p as select set_config('a.b', 'x', false)");
    let Effect::Prepare { name, body } = &analysis.statements[0].effect else { panic!("it prepares") };
    world.prepared.insert(name.clone(), body.clone());
    assert_eq!(world.read("execute p").sets(), named(&["a.b"]));
}
