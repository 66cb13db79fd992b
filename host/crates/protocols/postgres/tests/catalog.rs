//! The catalog of a real PostgreSQL: what it holds, and when it is read anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::sync::Arc;

use sluicegate_core::Resolution;
use sluicegate_credentials::Credentials;
use sluicegate_postgres::{catalog::CatalogCache, config::Target};
use sluicegate_sql::catalog::{Catalog, Relation, RelationKind};
use support::server::Server;

fn cache(server: &Server, user: &str) -> CatalogCache {
    let text = format!("address = \"localhost:{}\"\ndatabase = \"postgres\"\nusername = \"{user}\"", server.port);
    CatalogCache::new(Arc::new(
        Target::prepare(&toml::from_str(&text).unwrap(), &Credentials::new()).unwrap().remove(0),
    ))
}

fn server() -> Server {
    let server = Server::start("host all all localhost trust");
    server.sql("create role reader login");
    server
}

fn column<'a>(relation: &'a Relation, name: &str) -> &'a sluicegate_sql::CatalogColumn {
    relation.column(name).unwrap_or_else(|| panic!("{} has no column {name}", relation.name))
}

/// Where `schema.relation.column` comes from, as text.
fn origin(catalog: &Catalog, relation: &str, name: &str) -> (Resolution, String) {
    let relation = catalog.find("public", relation).unwrap();
    let (resolution, path) = catalog.resolve(relation.oid, column(relation, name).attnum);
    let path: Vec<String> = path.iter().map(|c| format!("{}.{}", c.relation.name, c.column)).collect();
    (resolution, path.join(" "))
}

#[tokio::test]
async fn relations_columns_types_and_functions() {
    let server = server();
    server.sql(
        "create schema hr; create table hr.people (id int, gone text, ssn text, \"Odd Name\" numeric); \
         alter table hr.people drop column gone; create sequence counter; create index by_ssn on hr.people (ssn); \
         create type mood as enum ('good'); create function now_too() returns int language sql as 'select 1'; \
         create extension pgcrypto",
    );
    let catalog = cache(&server, "reader").get().await.unwrap();
    let people = catalog.find("hr", "people").unwrap();
    let columns: Vec<(i16, &str)> = people.columns.iter().map(|c| (c.attnum, &*c.name)).collect();
    assert_eq!(columns, [(1, "id"), (3, "ssn"), (4, "Odd Name")]);
    assert_eq!(&*catalog.type_name(column(people, "Odd Name").type_oid).unwrap(), "numeric");
    assert_eq!(catalog.find("public", "counter").unwrap().kind, RelationKind::Sequence);
    assert!(catalog.find("hr", "by_ssn").unwrap().columns.is_empty());
    assert_eq!(catalog.find("pg_catalog", "pg_tables").unwrap().kind, RelationKind::Table);
    assert!(catalog.find("information_schema", "columns").is_some());
    let samples = catalog.find("pg_catalog", "pg_stats").unwrap();
    assert_eq!(catalog.resolve(samples.oid, 1).0, Resolution::Unresolved);
    let toast: u32 = server.sql("select reltoastrelid from pg_class where relname = 'people'").parse().unwrap();
    assert_eq!(catalog.relation(toast).unwrap().reads, [people.oid]);
    assert_eq!(catalog.resolve(toast, 3).0, Resolution::Unresolved);
    assert!(catalog.find("public", "people").is_none());
}

#[tokio::test]
async fn views_show_where_their_columns_come_from() {
    let server = server();
    server.sql(
        "create table people (id int primary key, name text, ssn text, boss int); \
         create view plain as select ssn as s, id, upper(name) as loud, 1 as one from people; \
         create view over as select s as again, p.name from plain join people p using (id); \
         create view joined as select id, a.name, b.ssn from people a full join people b using (id); \
         create view united as select ssn from people union all select name from people; \
         create view nested as with c as (select ssn as x, name from people) \
             select x, (select max(y.s) from plain y) as m from c order by name; \
         create view whole as select people from people; \
         create view \":resorigtbl\" as select name as \":resorigtbl\", ssn as \":relid (x\" from people; \
         create materialized view kept as select ssn as k from over join people on again = ssn; \
         create view calls as select now() as n, f from (select query_to_xml('table people', true, true, '') as f) q; \
         create function own() returns text language sql as 'select max(ssn) from people'; \
         create view mine as select own() as o; \
         create view spied as select most_common_vals::text from pg_stats; \
         create view catalogs as select relname from pg_class",
    );
    server.sql("revoke all on schema public from public; revoke all on people from public");
    let catalog = cache(&server, "reader").get().await.unwrap();
    let stored = |path: &str| (Resolution::Stored, path.to_owned());
    let unresolved = |path: &str| (Resolution::Unresolved, path.to_owned());

    assert_eq!(origin(&catalog, "people", "ssn"), stored("people.ssn"));
    assert_eq!(origin(&catalog, "plain", "s"), stored("plain.s people.ssn"));
    assert_eq!(origin(&catalog, "plain", "loud"), unresolved("plain.loud"));
    assert_eq!(origin(&catalog, "plain", "one"), unresolved("plain.one"));
    assert_eq!(origin(&catalog, "over", "again"), stored("over.again plain.s people.ssn"));
    assert_eq!(origin(&catalog, "joined", "id"), unresolved("joined.id"));
    assert_eq!(origin(&catalog, "joined", "ssn"), stored("joined.ssn people.ssn"));
    assert_eq!(origin(&catalog, "united", "ssn"), unresolved("united.ssn"));
    assert_eq!(origin(&catalog, "nested", "x"), stored("nested.x people.ssn"));
    assert_eq!(origin(&catalog, "nested", "m"), unresolved("nested.m"));
    assert_eq!(origin(&catalog, "whole", "people"), unresolved("whole.people"));
    assert_eq!(origin(&catalog, ":resorigtbl", ":resorigtbl"), stored(":resorigtbl.:resorigtbl people.name"));
    assert_eq!(origin(&catalog, ":resorigtbl", ":relid (x"), stored(":resorigtbl.:relid (x people.ssn"));
    assert_eq!(origin(&catalog, "kept", "k"), stored("kept.k people.ssn"));

    let reads = |name: &str| catalog.find("public", name).unwrap().reads.clone();
    let people = catalog.find("public", "people").unwrap().oid;
    let plain = catalog.find("public", "plain").unwrap().oid;
    assert_eq!(reads("plain"), [people]);
    assert_eq!(reads("over"), [people, plain]);
    assert_eq!(reads("nested"), [people, plain]);
    assert_eq!(reads("calls"), [0]);
    assert_eq!(reads("mine"), [0]);
    assert_eq!(reads("catalogs"), [catalog.find("pg_catalog", "pg_class").unwrap().oid]);
    assert!(catalog.reach(catalog.find("public", "spied").unwrap().oid).contains(&0));
}

/// The same question asked of the server: what does it say where the columns of a view's query come from?
#[tokio::test]
async fn origins_are_those_of_the_server() {
    let server = server();
    server.sql(
        "create table a (id int, x text, y text); create table b (id int, x text, z text); \
         create view v1 as select a.id, coalesce(a.x, b.x) as x, z, a.ctid as c from a left join b on a.id = b.id; \
         create view v2 as select distinct on (y) x || '' as e, a.* from a order by y, id; \
         create view v3 as select t.z, t.u from (select z, id + 1 as u from b limit 3) t, lateral (select t.u as w) l; \
         create view v4 as select row_number() over (partition by x) as r, x from a group by id, x; \
         create view v5 as select * from v1 natural join v3; \
         create view v6 as select case when z is null then '(}' else z end as \"a{b\\ c\", z as \"(\" from b; \
         create recursive view v7 (n, m) as select id, x from a union all select n + 1, m from v7 where n < 3",
    );
    let catalog = cache(&server, "reader").get().await.unwrap();
    for view in ["v1", "v2", "v3", "v4", "v5", "v6", "v7"] {
        let definition = server.sql(&format!("select pg_get_viewdef('{view}'::regclass)"));
        let asked = support::server::describe(&server, &definition).await;
        let relation = catalog.find("public", view).unwrap();
        let read: Vec<(u32, i16)> = relation.columns.iter().map(|c| c.source.unwrap_or((0, 0))).collect();
        assert_eq!(read, asked, "{view}");
    }
}

#[tokio::test]
async fn partitions_and_heirs_are_children() {
    let server = server();
    server.sql(
        "create table events (at int, ssn text) partition by range (at); \
         create table early partition of events for values from (0) to (10) partition by list (ssn); \
         create table first partition of early default; create index on events (ssn); \
         create table base (ssn text); create table heir (more int) inherits (base)",
    );
    let catalog = cache(&server, "reader").get().await.unwrap();
    assert_eq!(catalog.find("public", "events").unwrap().kind, RelationKind::Partitioned);
    let (resolution, path) = origin(&catalog, "events", "ssn");
    assert_eq!((resolution, path.as_str()), (Resolution::Stored, "events.ssn early.ssn first.ssn"));
    assert_eq!(origin(&catalog, "base", "ssn").1, "base.ssn heir.ssn");
}

#[tokio::test]
async fn changes_are_seen_after_invalidate_and_only_changes_make_a_generation() {
    let server = server();
    server.sql("create table people (ssn text); create view v as select ssn as a, ssn as b from people");
    let cache = cache(&server, "reader");
    let first = cache.get().await.unwrap();
    let all = futures(8, &cache).await;
    assert!(all.iter().all(|catalog| Arc::ptr_eq(catalog, &first)));

    cache.invalidate();
    assert!(Arc::ptr_eq(&cache.get().await.unwrap(), &first), "nothing changed");

    server.sql("alter table people rename ssn to number");
    assert!(Arc::ptr_eq(&cache.get().await.unwrap(), &first), "it is asked only every ten seconds");
    cache.invalidate();
    let second = cache.get().await.unwrap();
    assert_ne!(second.generation(), first.generation());
    assert_eq!(origin(&second, "v", "a").1, "v.a people.number");

    let changes = [
        "create or replace view v as select 1::text as a, number as b from people",
        "create function f() returns int language sql as 'select 1'",
        "create schema s",
        "alter schema s rename to t",
        "create type mood as enum ('good')",
        "alter table people add more int",
        "alter table people drop more",
        "create table heir (number text); alter table heir inherit people",
        "create operator public.### (rightarg = int, function = abs)",
        "create cast (mood as int) with inout",
    ];
    for change in changes {
        let before = cache.get().await.unwrap().generation();
        server.sql(change);
        cache.invalidate();
        assert_ne!(cache.get().await.unwrap().generation(), before, "{change}");
    }
    let last = cache.get().await.unwrap();
    assert_eq!(origin(&last, "v", "a"), (Resolution::Unresolved, "v.a".to_owned()));
}

async fn futures(count: usize, cache: &CatalogCache) -> Vec<Arc<Catalog>> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let cache = cache.clone();
        tasks.spawn(async move { cache.get().await.unwrap() });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn one_load_serves_all_who_wait_and_a_lost_connection_is_replaced() {
    let server = server();
    let cache = cache(&server, "reader");
    let all = futures(8, &cache).await;
    assert!(all.iter().all(|catalog| catalog.generation() == all[0].generation()));
    let connections = "select count(*) from pg_stat_activity where application_name = 'sluicegate catalog'";
    assert_eq!(server.sql(connections), "1");

    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sluicegate catalog'");
    cache.invalidate();
    assert_eq!(cache.get().await.unwrap().generation(), all[0].generation());
}

#[tokio::test]
async fn temporary_tables_of_others_are_known() {
    let server = server();
    let mut psql = server.psql();
    psql.args(["-c", "create temp table scratch (ssn text)", "-c", "select pg_sleep(20)"]);
    let mut session = psql.spawn().unwrap();
    let schema = "select nspname from pg_class c join pg_namespace n on n.oid = relnamespace where relname = 'scratch'";
    let mut found = String::new();
    for _ in 0..100 {
        found = server.sql(schema);
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let catalog = cache(&server, "reader").get().await.unwrap();
    session.kill().unwrap();
    session.wait().unwrap();
    assert!(catalog.find(&found, "scratch").is_some(), "{found}");
}

#[tokio::test]
async fn a_lock_on_a_table_does_not_hold_up_the_catalog() {
    let server = server();
    server.sql("create table people (ssn text); create view v as select ssn from people");
    let mut psql = server.psql();
    let mut session = psql.args(["-c", "begin; lock table people, v; select pg_sleep(20)"]).spawn().unwrap();
    let locks = "select count(*) from pg_locks where mode = 'AccessExclusiveLock'";
    while server.sql(locks) == "0" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let loading = cache(&server, "reader");
    let loaded = tokio::time::timeout(std::time::Duration::from_secs(10), loading.get()).await;
    session.kill().unwrap();
    session.wait().unwrap();
    assert_eq!(origin(&loaded.unwrap().unwrap(), "v", "ssn").1, "v.ssn people.ssn");
}

#[tokio::test]
async fn a_target_that_is_gone_is_an_error() {
    let server = server();
    let cache = cache(&server, "nobody");
    let error = cache.get().await.unwrap_err();
    assert_eq!(error.to_string(), "the target's catalog cannot be read");
    assert!(sluicegate_core::Chain(&error).to_string().contains("28000"));
}
