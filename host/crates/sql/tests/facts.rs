//! Facts and outputs, statement by statement, and what statements of one text mean to each other.

mod common;

use std::sync::Arc;

use common::World;
use sluicegate_core::sql::Usage;
use sluicegate_sql::{CopyFormat, Direction, Effect};

/// Each case is a text, its facts, and the outputs of its statement.
#[test]
fn statements_have_their_facts_and_outputs() {
    let world = World::new();
    for case in include_str!("fixtures/facts.txt").split("===") {
        let [text, facts, outputs] = case.trim().lines().collect::<Vec<_>>()[..] else { panic!("{case}") };
        let analysis = world.read(text);
        assert_eq!(common::facts(&analysis.facts), facts, "{text}");
        let found: Vec<_> = analysis.statements.iter().map(|statement| common::outputs(&statement.outputs)).collect();
        assert_eq!(found, [outputs], "{text}");
    }
}

#[test]
fn the_search_path_decides() {
    let facts = |path: &[&str], text: &str| common::facts(&World::with_path(path).read(text).facts);
    assert_eq!(facts(&["other", "public"], "select ssn from people"), "read; select; other.people[read]");
    assert_eq!(facts(&["pg_temp_3", "public"], "select ssn from scratch"), "read; select; pg_temp_3.scratch[read]");
    assert_eq!(facts(&["public"], "select oid from pg_class"), "read; select; pg_catalog.pg_class[read]");
    assert_eq!(facts(&[], "select ssn from people"), "read; select; people[read unknown]; reaches-unknown");
}

/// A statement is read in the state that those before it leave.
#[test]
fn earlier_statements_count() {
    let world = World::new();
    let last = |text: &str| {
        let analysis = world.read(text);
        (common::outputs(&analysis.statements.last().unwrap().outputs), analysis.facts.reaches_unknown)
    };
    let derived = ("derived(public.people.ssn)".to_owned(), false);
    assert_eq!(last("set work_mem = 1; select lower(ssn) from people"), derived);
    for before in [
        "set search_path = other",
        "set role bob",
        "select set_config('search_path', 'other', false)",
        "rollback",
        "alter table people rename to x",
        "do 'x'",
        "select leak()",
        "nonsense",
    ] {
        let text = format!("{before}; select lower(ssn) from people");
        assert_eq!(last(&text), ("?".to_owned(), true), "{before}");
    }
}

#[test]
fn prepared_statements_and_cursors_are_followed() {
    let mut world = World::new();
    let prepare = world.read("prepare q (int) as select lower(ssn) from people where id = $1");
    let [statement] = prepare.statements.as_slice() else { panic!("one statement") };
    let Effect::Prepare { name, body } = &statement.effect else { panic!("an effect") };
    assert_eq!(common::facts(&prepare.facts), "read | session; select+prepare; public.people[read]");
    world.prepared.insert(name.clone(), body.clone());

    let execute = world.read("execute Q(1 + 2)");
    assert_eq!(common::outputs(&execute.statements[0].outputs), "derived(public.people.ssn)");
    assert!(world.read("execute q(leak())").facts.reaches_unknown);
    assert!(world.read("execute other").facts.unanalysable.is_some());
    assert!(world.read("deallocate q; execute q(1)").facts.unanalysable.is_some());
    assert!(world.read("do 'x'; execute q(1)").facts.unanalysable.is_some());

    // The server reads it again where the search path has changed, and so do we.
    world.search_path = vec!["other".to_owned()];
    assert_eq!(common::outputs(&world.read("execute q(1)").statements[0].outputs), "derived(other.people.ssn)");

    let declare = "declare c no scroll cursor with hold for select id from other.people";
    let cursor = world.read(&format!("{declare}; fetch -1 in c; close c"));
    assert_eq!(common::outputs(&cursor.statements[1].outputs), "other.people.id");
    assert_eq!(cursor.statements[2].effect, Effect::CloseCursor { name: Some("c".to_owned()) });
    assert!(world.read("fetch c").facts.unanalysable.is_some());
}

#[test]
fn copy_is_read_in_all_its_syntaxes() {
    let world = World::new();
    let copy = |text: &str| world.read(text).statements[0].copy.clone().unwrap();

    let out = copy("copy people (ssn, id) to stdout (format csv, header, delimiter ';', null 'x', quote '''')");
    assert_eq!((out.direction, out.format, out.delimiter), (Direction::Out, CopyFormat::Csv, b';'));
    assert_eq!((out.null.as_str(), out.header, out.quote, out.escape), ("x", true, b'\'', b'\''));
    assert_eq!(common::fields(&out.columns.unwrap()), "public.people.ssn, public.people.id");

    let old = copy(r"copy people to stdout with delimiter as E'\t' null as '' csv header force quote id, name");
    assert_eq!((old.format, old.delimiter, old.null.as_str(), old.header), (CopyFormat::Csv, b'\t', "", true));

    let query = copy("copy (select upper(ssn), 1 from people) to stdout");
    assert_eq!((query.delimiter, query.null.as_str(), query.relation), (b'\t', r"\N", None));
    assert_eq!(common::fields(&query.columns.unwrap()), "derived(public.people.ssn), computed");

    assert_eq!(copy("copy binary people from stdin").format, CopyFormat::Binary);
    assert_eq!(copy("copy people from stdin (header false)").direction, Direction::In);
    assert!(copy("copy people to '/tmp/x'").server_side);
    assert_eq!(copy("copy nothing to stdout").columns, None);
    for refused in [
        "copy people to stdout (format json)",
        "copy people to stdout (encoding 'sjis')",
        "copy people to stdout (delimiter 'ab')",
        "copy people to stdout (delimiter 'a'\n'')",
        "copy people to stdout (surprise 1)",
        "copy people",
    ] {
        assert!(world.read(refused).facts.unanalysable.is_some(), "{refused}");
    }
}

#[test]
fn columns_know_where_they_stand() {
    let analysis = World::new().read(
        "select o.id, max(total) as t from orders o join people p on p.id = o.person_id \
         where ssn = 'x' group by 1 order by t",
    );
    let used = |column: &str| {
        let mut columns = analysis.facts.columns.iter();
        columns.find(|used| &*used.name.column == column).unwrap().usage
    };
    assert_eq!(used("ssn"), Usage::FILTER);
    assert_eq!(used("person_id"), Usage::JOIN);
    // Which output `group by 1` means is not looked at, so it may be any.
    assert_eq!(used("total"), Usage::OUTPUT | Usage::ORDER | Usage::GROUP);

    let written = World::new().read("update people set name = lower(ssn) where id = 1");
    let all: Vec<_> = written.facts.columns.iter().map(|used| (&*used.name.column, used.usage)).collect();
    assert_eq!(all, [("name", Usage::WRITE), ("ssn", Usage::OUTPUT), ("id", Usage::FILTER)]);
}

#[test]
fn texts_are_normalised() {
    let normalized = |text: &str| World::new().read(text).normalized.to_string();
    let text = "SELECT  'a', -1.5e3 /* x */ FROM t -- y\n WHERE a=$1";
    assert_eq!(normalized(text), "SELECT ?, -? FROM t WHERE a=$1");
    assert_eq!(normalized("select 'a'\n'b', $x$c$x$, E'\\''"), "select ?, ?, ?");
    assert_eq!(normalized("select 'a"), "");
}

/// An analysis is shared between texts that differ in literals, and between no others.
#[test]
fn the_cache_serves_texts_that_normalise_alike() {
    let mut world = World::new();
    let first = world.read("select lower(ssn) from people where id = 1");
    assert!(Arc::ptr_eq(&first, &world.read("select lower(ssn) from people where id = 2")));
    world.search_path = vec!["other".to_owned()];
    let other = world.read("select lower(ssn) from people where id = 1");
    assert_eq!(common::facts(&other.facts), "read; select; other.people[read]");
}
