//! What the record keeps of results that pass the gateway, from a real server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::sync::atomic::Ordering;

use futures_util::TryStreamExt;
use sluicegate_core::record::Output;
use support::{gateway::Gateway, server::Server};

async fn start(sql: &str) -> (Server, Gateway) {
    let server = Server::start("host all all localhost trust");
    server.sql(sql);
    let gateway = Gateway::start(&server, "").await;
    (server, gateway)
}

fn output(columns: &[&str], rows: &[&[Option<&str>]], cut: bool) -> Output {
    let text = |value: &Option<&str>| value.map(str::to_owned);
    Output {
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows.iter().map(|row| row.iter().map(text).collect()).collect(),
        cut,
    }
}

#[tokio::test]
async fn results_are_kept_as_text_whatever_their_format() {
    let (_server, gateway) = start("create table t (id int, at date, name text, raw bytea)").await;
    let client = gateway.connect().await.client;
    client
        .batch_execute("insert into t values (7, '2024-02-29', null, '\\x00ff'), (8, null, 'zoë', null)")
        .await
        .unwrap();
    let text = output(
        &["id", "at", "name", "raw"],
        &[&[Some("7"), Some("2024-02-29"), None, Some("\\x00ff")], &[Some("8"), None, Some("zoë"), None]],
        false,
    );
    client.simple_query("select * from t /* text */ order by 1; select 'two' as two").await.unwrap();
    let two = output(&["two"], &[&[Some("two")]], false);
    assert_eq!(gateway.outcome("/* text */").await.output, [text.clone(), two]);
    client.query("select * from t /* binary */ order by 1", &[]).await.unwrap();
    let mut binary = text;
    binary.rows[0][3] = Some("(2 bytes)".to_owned());
    assert_eq!(gateway.outcome("/* binary */").await.output, [binary]);
    let copied = client.copy_out("copy t to stdout /* copy */").await.unwrap();
    copied.try_collect::<Vec<_>>().await.unwrap();
    let lines = output(&[], &[&[Some("7\t2024-02-29\t\\N\t\\\\x00ff")], &[Some("8\t\\N\tzoë\t\\N")]], false);
    assert_eq!(gateway.outcome("/* copy */").await.output, [lines]);
    client.batch_execute("update t set id = id /* nothing */").await.unwrap();
    assert_eq!(gateway.outcome("/* nothing */").await.output, []);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let (_server, gateway) = start("select").await;
    let client = gateway.connect().await.client;
    client.simple_query("select repeat('é', 3000) as long /* long */").await.unwrap();
    let long = output(&["long"], &[&[Some("é".repeat(512).as_str())]], true);
    assert_eq!(gateway.outcome("/* long */").await.output, [long]);
    for text in ["select n, null from generate_series(1, 100000) n", "select repeat('x', 20000000), 1"] {
        client.simple_query(&format!("{text} /* many */; select 1")).await.unwrap();
        let outcome = gateway.outcome("/* many */").await;
        assert!(outcome.rows > 1 && outcome.output[0].cut);
        let kept = outcome.output.iter().flat_map(|output| &output.rows).flatten();
        assert!(kept.map(|value| value.as_deref().unwrap_or_default().len() + 1).sum::<usize>() <= 8192);
    }
    let exact = "select repeat('x', 1016) /* exact */ from generate_series(1, 8)";
    client.simple_query(exact).await.unwrap();
    let outcome = gateway.outcome("/* exact */").await;
    assert_eq!((outcome.output[0].rows.len(), outcome.output[0].cut), (8, false));
}

#[tokio::test]
async fn masked_values_are_kept_masked_and_spared_ones_are_not() {
    let (_server, gateway) = start("create table t (masked_a text, spared_b text, c text)").await;
    let client = gateway.connect().await.client;
    client.batch_execute("insert into t values ('one', 'two', 'three')").await.unwrap();
    gateway.double.may_mask.store(true, Ordering::SeqCst);
    let seen = client.query_one("select * from t", &[]).await.unwrap();
    assert_eq!((seen.get::<_, &str>(0), seen.get::<_, &str>(1)), ("[redacted]", "two"));
    let columns = ["masked_a", "spared_b", "c"];
    let hidden = [Some("[redacted]"), Some("[redacted]"), Some("three")];
    assert_eq!(gateway.outcome("select").await.output, [output(&columns, &[&hidden], false)]);
    // A literal, a parameter, or what was said earlier, may be what the mask hides from others.
    client.simple_query("select c, 'secret' || c as d from t").await.unwrap();
    let kept = output(&["c", "d"], &[&[Some("three"), Some("[redacted]")]], false);
    assert_eq!(gateway.outcome("select c").await.output, [kept]);
    client.query("select $1::text as said", &[&"secret"]).await.unwrap();
    assert_eq!(gateway.outcome("as said").await.output, [output(&["said"], &[&[Some("[redacted]")]], false)]);
    client.simple_query("select count(*) as many from t").await.unwrap();
    assert_eq!(gateway.outcome("as many").await.output, [output(&["many"], &[&[Some("1")]], false)]);
    client.query("select count(*) as fitting from t where c <> $1", &[&"secret"]).await.unwrap();
    assert_eq!(gateway.outcome("as fitting").await.output, [output(&["fitting"], &[&[Some("1")]], false)]);
    client.batch_execute("set application_name = 'secret'").await.unwrap();
    client.simple_query("show application_name").await.unwrap();
    assert_eq!(gateway.outcome("show").await.output[0].rows, [[Some("[redacted]".to_owned())]]);
    // A COPY that shows a column by an exception is not kept at all.
    let copied = client.copy_out("copy t to stdout").await.unwrap();
    copied.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(gateway.outcome("copy t").await.output, [output(&[], &[], true)]);
    let copied = client.copy_out("copy t (masked_a, c) to stdout").await.unwrap();
    copied.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(gateway.outcome("copy t (").await.output, [output(&[], &[&[Some("[redacted]\tthree")]], false)]);
}

#[tokio::test]
async fn portals_that_are_read_in_parts_are_one_result() {
    let (_server, gateway) = start("select").await;
    let mut client = gateway.connect().await.client;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("select n from generate_series(1, 5) n", &[]).await.unwrap();
    while !transaction.query_portal(&portal, 2).await.unwrap().is_empty() {}
    transaction.commit().await.unwrap();
    let rows: [&[_]; 5] = [&[Some("1")], &[Some("2")], &[Some("3")], &[Some("4")], &[Some("5")]];
    assert_eq!(gateway.outcome("select n").await.output, [output(&["n"], &rows, false)]);
}
