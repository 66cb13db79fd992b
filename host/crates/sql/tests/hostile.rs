//! Texts that try to be read differently than the server reads them, to exhaust the analyser, or to
//! hide what they do.

mod common;

use std::time::{Duration, Instant};

use common::World;
use sluicegate_core::sql::Classes;
use sluicegate_sql::{Analyser, Limits};

fn reason(text: &str) -> Option<String> {
    World::new().read(text).facts.unanalysable.clone()
}

/// What the server's lexer reads as one or several statements, and we must too.
#[test]
fn texts_split_as_the_server_splits_them() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        (" ; ;; -- nothing\n /* at /* all */ ; */", &[]),
        ("select 1; select 2;", &["select", "select"]),
        ("select ';' ; show a", &["select", "show"]),
        ("select $$;$$, $a$ $$;$b$ $a$; show a", &["select", "show"]),
        ("select $a$ ; $b$a$; show a", &["select", "show"]),
        ("select E'\\'; drop table people; --'", &["select"]),
        ("select '\\'; drop table people; --'", &["select", "drop table"]),
        ("select 1 -- ; \r; drop table people", &["select", "drop table"]),
        ("select 1 /* /* */ ; */ ; show a", &["select", "show"]),
        ("select 'a'\n'; drop table people; '", &["select"]),
        ("select 'a' -- x\n '; drop table people; '", &["select"]),
        ("select \";\" from people; show a", &["select", "show"]),
        ("select 'it''s;'; show a", &["select", "show"]),
        ("select a$b$ from people; show a; --$b$", &["select", "show"]),
        ("select 1 +/* ; */ 2; show a", &["select", "show"]),
        ("select 1 <--;\n 2; show a", &["select", "show"]),
        ("create table t (begin atomic); drop table people", &["create table", "drop table"]),
        ("create rule r as on insert to people do also (select 1; select 2); show a", &["create rule", "show"]),
    ];
    for (text, kinds) in cases {
        let analysis = World::new().read(text);
        let found: Vec<&str> = analysis.statements.iter().map(|statement| statement.kind.as_str()).collect();
        assert_eq!(&found, kinds, "{text}");
    }
}

/// What servers, versions or settings read differently is refused.
#[test]
fn doubtful_texts_are_refused() {
    let long = "x".repeat(64);
    let cases = [
        "select 'a",
        "select \"a",
        "select /* a",
        "select $a$ b",
        "select $",
        "select \"\"",
        "select 1\0",
        "select U&'\\0041'",
        "select U&\"a\" from people",
        "select 0x1F",
        "select 1_000",
        "select 1a",
        "select $1a",
        "select 1..2",
        "select \u{b} 1",
        "select {d '2020-01-01'}",
        "select 1\\",
        &format!("select {long}"),
        &format!("select \"{long}\""),
        "create function f() returns int begin atomic select 1; end; drop table people",
        "create function f() returns int begin atomic select 1 as case; end; drop table people; end",
        "create function f() returns int begin atomic select 1; end; create function g() returns int begin atomic select 1; end",
    ];
    for text in cases {
        let analysis = World::new().read(text);
        assert!(analysis.facts.unanalysable.is_some(), "{text}");
        assert!(analysis.facts.classes.contains(Classes::UNANALYSABLE), "{text}");
        assert!(analysis.facts.reaches_unknown, "{text}");
    }
    assert_eq!(reason(&format!("select \"{}\"", "x".repeat(63))), None);
}

/// While the server lets a backslash escape in plain literals, texts with one are refused.
#[test]
fn backslashes_are_refused_where_they_may_escape() {
    let world = World { conforming: false, ..World::new() };
    assert!(world.read("select '\\'; drop table people; --'").facts.unanalysable.is_some());
    assert!(world.read("select 'plain', E'\\'', $$\\$$").facts.unanalysable.is_none());
}

/// What sqlparser knows from other dialects and PostgreSQL does not have is refused.
#[test]
fn other_dialects_are_refused() {
    let cases = [
        "select top 1 * from people",
        "select * from people limit 1, 2",
        "select * from people pivot (max(id) for name in ('a'))",
        "insert overwrite table people values (1)",
        "replace into people values (1)",
        "select * from people |> where id = 1",
        "select 1 union by name select 2",
        "delete people from people",
        "select * exclude (ssn) from people",
        "update people set id = 1 limit 1",
        "select * from people for json auto",
    ];
    for text in cases {
        assert!(reason(text).is_some(), "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    for depth in [101, 1000, 100_000] {
        for (open, close) in [("(", ")"), ("[", "]"), ("case when ", " end"), ("(select ", ")"), ("f(", ")")] {
            let text = format!("select {}1{}", open.repeat(depth), close.repeat(depth));
            assert!(reason(&text).is_some(), "{depth} {open}");
        }
    }
    for word in ["not ", "- ", "+ "] {
        let text = format!("select {} 1", word.repeat(20_000));
        assert!(reason(&text).is_some(), "{word}");
    }
}

/// Long chains lean to one side of the tree, on which nothing may overflow. The thread has little
/// stack, as a busy server's have.
#[test]
fn chains_do_not_overflow_the_stack() {
    let chains = [
        ("select 1 from people where id = 1", " or id = 1"),
        ("select 1 from people where id = 1", " and id = 1"),
        ("select 1", " + 1"),
        ("select 'a'", " || 'a'"),
        ("select 1", " union all select 1"),
        ("select 1", " except select 1"),
        ("select 1", "::int4"),
        ("select id", " is null"),
        ("select now()", " at time zone 'utc'"),
        ("select name", " collate \"C\""),
        ("select id", "[1]"),
        ("select * from people", ", people"),
        ("select * from people", " cross join people"),
        ("select 1", ", 1"),
        ("insert into people values (1)", ", (1)"),
        ("select 1", "; select 1"),
        ("with a as (select 1)", ", a as (select 1)"),
        ("select id", " between 1 and 2"),
        ("select 1 where 1 in (1", ", 1"),
    ];
    let run = move || {
        for (start, link) in chains {
            for links in [10, 400, 8000] {
                let started = Instant::now();
                let analysis = World::new().read(&format!("{start}{}", link.repeat(links)));
                assert!(
                    started.elapsed() < Duration::from_secs(5),
                    "{start} {link} {links} took {:?}",
                    started.elapsed()
                );
                drop(analysis);
            }
        }
    };
    std::thread::Builder::new().stack_size(512 * 1024).spawn(run).unwrap().join().unwrap();
}

/// Joins whose conditions never come nest without parentheses.
#[test]
fn joins_that_nest_are_bounded() {
    for join in [" join people u3ing (id)", " join on", " left join people as using", " cross join a", " inner join a"]
    {
        for (times, bounded) in [(1000, true), (1001, false), (8_000, false)] {
            let found = reason(&format!("select * from people a{}", join.repeat(times)));
            let refused = found.as_deref().is_some_and(|reason| reason.contains("joins") || reason.contains("tokens"));
            assert_eq!(refused, !bounded, "{times} x {join}: {found:?}");
        }
    }
    let united = vec!["select 1 from people a join people b on true"; 500].join(" union all ");
    assert_eq!(reason(&united), None);
}

/// Depth within the limits costs time in proportion, not more.
#[test]
fn nesting_within_the_limits_is_quick() {
    let nests = [
        ("select ", "(", "1", ")"),
        ("select ", "(select ", "1", ")"),
        ("select * from ", "(", "people", ")"),
        ("select * from ", "(select * from ", "people", ") x"),
        ("select ", "case when 1 = 1 then ", "1", " end"),
        ("select ", "lower(", "name", ")"),
        ("select ", "array[", "1", "]"),
        ("select ", "cast(", "1", " as int)"),
        ("select ", "extract(epoch from ", "now()", ")"),
        ("select ", "interval (", "1", ")"),
        ("select ", "x(y ", "1", ")"),
        ("select ", "if(current_time(", "1", "))"),
        ("select 1 where exists ", "(select 1 where exists (select 1) and ", "1=1", ")"),
        ("select * from ", "(people cross join ", "people", ")"),
        ("select * from ", "((select 1) union ", "select 1", ")"),
        ("select ", "row(", "1", ")"),
        ("select ", "substring(", "name", " from 1)"),
        ("select ", "trim(both ", "name", ")"),
        ("select ", "position(", "1", " in 'a')"),
        ("select a", "[", "1", "]"),
        ("select ", "x.y(", "1", ")"),
        ("select ", "date (", "1", ")"),
        ("select ", "a::numeric(", "1", ")"),
        ("select ", "count(*) filter (where ", "true", ")"),
        ("select ", "sum(1) over (order by ", "1", ")"),
    ];
    for (start, open, middle, close) in nests {
        for depth in [5, 20, 45, 95] {
            let started = Instant::now();
            World::new().read(&format!("{start}{}{middle}{}", open.repeat(depth), close.repeat(depth)));
            World::new().read(&format!("{start}{}{middle}", open.repeat(depth)));
            assert!(started.elapsed() < Duration::from_secs(2), "{open} {depth} took {:?}", started.elapsed());
        }
    }
}

#[test]
fn sizes_are_bounded() {
    let limits = Limits { max_bytes: 100, max_tokens: 10, max_depth: 3 };
    let world = World { analyser: Analyser::new(limits, 10), ..World::new() };
    assert!(world.read(&format!("select 1 --{}", "x".repeat(100))).facts.unanalysable.is_some());
    assert!(world.read("select 1, 1, 1, 1, 1, 1").facts.unanalysable.is_some());
    assert!(world.read("select ((((1))))").facts.unanalysable.is_some());
    assert!(world.read("select (((1)))").facts.unanalysable.is_none());
}

/// Ways to show a value of `ssn` without an output that says so.
#[test]
fn hidden_reads_are_not_called_harmless() {
    let world = World::new();
    let texts = [
        "select p from people p",
        "select (p) from people p",
        "select row(p.*) from people p",
        "select to_json(p.*) from people p",
        "select string_agg(p::text, ',') from people p",
        "select x from (select p as x from people p) y",
        "select people.to_json from people",
        "select (people).ssn from people",
        "select y from (select people::text from people) x(y)",
        "select x.a from people as x(i, n, a)",
        "select upper(ssn) from people",
        "select max(a) from (select ssn from people) x(a)",
        "select a || '' from (values ((select ssn from people))) x(a)",
        "with x(a) as (select ssn from people) select lower(a) from x",
        "with recursive x(a) as (select ssn from people union select a from x) select lower(a) from x",
        "with people as (select * from people) select lower(ssn) from people",
        "select lower(ssn) from (people cross join orders) j",
        "select lower(ssn) from people join other.people o using (id, ssn)",
        "select lower(x) from orders, lateral (select ssn from people) l(x)",
        "select lower(g) from people, generate_series(1, ssn) g",
        "select (select ssn from people limit 1) || 'x'",
        "select array(select ssn from people)",
        "select case when ssn = 'a' then 1 else 2 end from people",
        "select ssn = any (array['a']) from people",
        "select 'a' in (select ssn from people)",
        "select rank() over (order by ssn) from people",
        "select rank() over w from people window w as (order by ssn)",
        "select count(*) filter (where ssn = 'a') from people",
        "select lower(ssn) from people union select 'a'",
        "select 'a' union select lower(ssn) from people",
        "select coalesce(null, ssn) from people",
        "select ssn::text::status from people",
        "select ssn <-> 'a' from people",
        "select ssn operator(public.+) 'a' from people",
        "select lower(hint) from directory",
        "insert into orders select id from people returning (select ssn from people)",
        "update orders o set id = 1 from people p where true returning lower(p.ssn)",
        "delete from orders using people p where true returning lower(p.ssn)",
        "select shadowed(1) from people",
        "select lower(relname) from pg_stats",
        "select extract(epoch from ssn::date) from people",
        "select trim(both ssn from 'a'), substring('a' from length(ssn)) from people",
        "select string_agg('a', ssn) from people",
        "select string_agg('a', '' order by ssn) from people",
        "select (array[ssn])[1] from people",
        "select (array['a'])[length(ssn)] from people",
    ];
    for text in texts {
        let analysis = world.read(text);
        let facts = &analysis.facts;
        let outputs = analysis.statements.last().map(|statement| common::outputs(&statement.outputs)).unwrap();
        assert_eq!(facts.unanalysable, None, "{text}");
        assert!(!outputs.split(", ").any(|output| output == "computed" || output == "none"), "{text}: {outputs}");
        let reaches = facts.reaches_unknown || facts.reachable_columns.iter().any(|column| &*column.column == "ssn");
        assert!(reaches, "{text}");
    }
}

/// What is said in other words for the parser is only what holds no column and calls nothing.
#[test]
fn spelling_hides_nothing() {
    let world = World::new();
    let columns = |text: &str| {
        let facts = world.read(text).facts.clone();
        assert_eq!(facts.unanalysable, None, "{text}");
        facts.functions.iter().any(|function| function.name == "leak")
    };
    assert!(!columns("insert into people (id) values (1) on conflict (lower(ssn)) where id > 1 do nothing"));
    assert!(columns(
        "insert into people (id) values (leak()) on conflict (id) do update set id = leak() where leak() > 1"
    ));
    assert!(columns("select concat(variadic leak()) from only people where id between symmetric leak() and 2"));
    for text in [
        "insert into people select p.id from people p join orders o on conflict(leak()) where leak() > 1 on conflict do nothing",
        "select 1 from people join orders on conflict(leak()) where leak() > 1",
        "select 1 from people join orders on conflict (leak())",
    ] {
        let facts = world.read(text).facts.clone();
        assert!(
            facts.unanalysable.is_some() || facts.functions.iter().any(|function| function.name == "leak"),
            "{text}"
        );
    }
}

/// Functions that would carry values out of the columns' sight.
#[test]
fn values_are_not_carried_away() {
    for text in [
        "select set_config('a.b', ssn, false) from people",
        "select count(*) from people where set_config('a.b', ssn, false) is null",
        "select pg_notify('x', ssn) from people",
        "update people set id = length(set_config('a.b', ssn, false))",
        "select set_config('a.b', (select ssn from people), false)",
        "select set_config('a.b', p::text, false) from people p",
        "select pg_notify('x', leak())",
        "create table x (); select 1 from people where set_config('a.b', ssn, false) is null",
        "select pg_create_restore_point(ssn) from people",
        "select setseed(length(ssn)) from people",
        "select lo_put(1, 0, ssn) from people",
        "select setval('s', leak())",
        "select pg_advisory_lock(p) from people p",
        "select query_to_xml('select ssn from people', true, true, '')",
        "select 1 from people where id in (select 1 where pg_catalog.\"query_to_xml\"('x', true, true, '') is null)",
        "select id from people order by ts_rewrite('a', 'select x from y')",
        "select * from ts_stat('select x from y')",
        "select ('select x from y'::text).ts_stat",
        "prepare p as select database_to_xml(true, true, '')",
        "alter table people add constraint c check (set_config('a.b', ssn, false) is not null)",
        "alter table people add x text default table_to_xml('people', true, true, '')::text",
        "create policy p on people using (set_config('a.b', ssn, false) is not null)",
        "create domain d as text check (pg_notify('x', value) is null)",
        "create table t (a int check (setval('s', a) > 0))",
        "create index i on people (pg_catalog.set_config('a.b', ssn, false))",
        "create rule r as on insert to orders do also select set_config('a.b', ssn, false) from people",
        "create trigger t before insert on people for each row when (set_config('a.b', new.ssn, false) is null) execute function f()",
        "create view v as select 1 from people where set_config('a.b', ssn, false) is null",
        "create schema s create view v as select pg_notify('x', ssn) from people",
        "update pg_settings set setting = 'x' where name = 'search_path'",
        "merge into pg_catalog.pg_settings using people on true when matched then update set setting = 'x'",
        "alter type t rename attribute a to b cascade",
    ] {
        assert!(reason(text).is_some(), "{text}");
    }
    for text in [
        "select set_config('search_path', $1, false), pg_notify('x', 'y')",
        "select setval('s', (select max(id) from people)), pg_advisory_lock(1)",
        "revoke execute on function query_to_xml(text, boolean, boolean, text) from public",
        "create table t (a int default nextval('s'))",
    ] {
        assert_eq!(reason(text), None, "{text}");
    }
}

/// What users made of operators and casts may call anything.
#[test]
fn operators_and_casts_of_users_are_not_trusted() {
    let operators = ["+", "~~", "=", "-"].map(str::to_owned).into();
    let world = World { catalog: common::catalog().with_operators(operators, [(23, 25)].into()), ..World::new() };
    let texts = [
        "select 1 + 1",
        "select - 1",
        "select 'a' like 'b'",
        "select 1 in (2)",
        "select case 1 when 2 then 3 end",
        "select 1 is distinct from 2",
        "select 1 = any (array[1])",
        "select 1::text",
    ];
    for text in texts {
        let analysis = world.read(text);
        assert_eq!(common::outputs(&analysis.statements[0].outputs), "?", "{text}");
        assert!(analysis.facts.reaches_unknown, "{text}");
    }
    assert!(world.read("select id from people where id + 1 > 2").facts.reaches_unknown);
    assert_eq!(common::outputs(&world.read("select 1 * 2").statements[0].outputs), "computed");
    for text in texts {
        assert_eq!(common::outputs(&World::new().read(text).statements[0].outputs), "computed", "{text}");
    }
}

/// A column definition list casts what the function gives.
#[test]
fn types_that_rows_are_read_as_may_be_users() {
    let read = |columns: &str| World::new().read(&format!("select 1 from generate_series(1, 2) as x({columns})"));
    assert!(!read("a int, b text").facts.reaches_unknown);
    assert!(read("a int, b dpp").facts.reaches_unknown);
}

/// What ALTER does to names and columns has a kind of its own, and the columns that it takes.
#[test]
fn alterations_are_told_apart() {
    let cases = [
        ("alter table people rename ssn to zz", "rename column", "ssn write"),
        ("alter table if exists only public.people * rename column ssn to zz", "rename column", "ssn write"),
        ("alter table people rename to zz", "rename", ""),
        ("alter table people set schema other", "set schema", ""),
        ("alter table people rename constraint a to b", "", ""),
        ("alter table people add column x text, alter name type text using \"ssn\" || name", "type", "ssn output"),
        ("alter table people alter column name set data type text using upper(ssn)", "type", "ssn output"),
        ("alter table people alter ssn type text using trim(ssn)", "type", ""),
        ("alter table people add x text generated always as (lower(ssn)) stored", "generated", "ssn output"),
        ("alter table people alter name set expression as (ssn)", "generated", "ssn output"),
        ("alter table people add constraint c exclude using gist (ssn with =)", "", ""),
        ("alter table people inherit orders", "inherit", ""),
        ("alter table events attach partition people default", "attach", ""),
        ("alter table people add column note text, drop column name", "", ""),
    ];
    for (text, kind, column) in cases {
        let facts = World::new().read(text).facts.clone();
        let kinds: Vec<String> = [format!("alter table {kind}"), "alter table".to_owned()].into();
        assert_eq!(facts.kinds, kinds[usize::from(kind.is_empty())..], "{text}");
        let uses = facts.columns.iter().map(|c| format!("{} {:?}", c.name.column, c.usage).to_lowercase());
        let uses: Vec<String> = uses.map(|text| text.replace("usage(", "").replace(')', "")).collect();
        assert_eq!(uses.join(", "), column, "{text}");
        assert_eq!(facts.unanalysable, None, "{text}");
    }
    let renamed = World::new().read("alter schema other rename to x").facts.clone();
    assert_eq!(renamed.kinds, ["alter schema rename", "alter schema"]);
    assert_eq!(renamed.reachable_columns.len(), 2);
    let prepared = World::new().read("commit prepared 'x'");
    assert!(prepared.statements[0].catalog_changed && prepared.statements[0].settings_may_change);
}

/// A few words that stand for very much: refused where that is too much, and never slow.
#[test]
fn what_words_stand_for_is_bounded() {
    let stars = format!("select *{} from people a{}", ", *".repeat(10_000), ", people".repeat(10_000));
    let joins = format!("select * from people a{}", " join people using (id)".repeat(8000));
    let natural = format!("select 1 from people{}", " natural join people".repeat(12_000));
    let named = format!("select id{} from people a{}", ", id".repeat(10_000), ", people".repeat(10_000));
    let ordered = format!("select 1{} order by 1{}", ", 2".repeat(10_000), ", 2".repeat(10_000));
    let wide = format!("select 1{}", ", 1".repeat(1600));
    let unions = format!("with w as ({wide}) select * from w{}", " union all select * from w".repeat(7000));
    let items = format!("with w as ({wide}) select 1 from w{}", ", w".repeat(20_000));
    let executed = format!("prepare p as {wide};{}", "execute p;".repeat(14_000));
    let fetched = format!("declare c cursor for {wide};{}", "fetch from c;".repeat(11_000));
    let copied = "copy (select * from people) to stdout;".repeat(5000);
    for (text, is_refused) in [
        (stars, true),
        (joins, true),
        (natural, true),
        (named, true),
        (ordered, true),
        (unions, true),
        (items, true),
        (executed, true),
        (fetched, true),
        (copied, false),
        (wide, false),
    ] {
        let started = Instant::now();
        let facts = World::new().read(&text).facts.clone();
        let (took, start) = (started.elapsed(), &text[..40]);
        assert!(took < Duration::from_secs(4), "{start} took {took:?}");
        assert_eq!(facts.unanalysable.is_some(), is_refused, "{start}: {:?}", facts.unanalysable);
    }
    assert!(reason(&format!("select 1{}", ", 1".repeat(1664))).is_some(), "the server takes 1664 outputs");
}
