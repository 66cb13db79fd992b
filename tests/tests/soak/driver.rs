//! tokio-postgres: values in binary, prepared statements, pipelines, portals, COPY both ways,
//! transactions, and queries that their client cancels.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use sluicegate_tests::{
    client::{Session, soon, sqlstate},
    seed::SSN_PART,
};
use tokio_postgres::NoTls;

use crate::{clients::active, stage::Stage};

/// A few connections, each of which does some of everything.
pub fn mixed(stage: &Stage<'_>, number: u64) {
    blocking(async {
        let Session { mut client, .. } = stage.alice.connect().await;
        let statement =
            client.prepare("SELECT id, name, ssn, notes FROM customers WHERE id = $1").await.expect("it parses");
        let ask = async |id: i32| client.query_one(&statement, &[&id]).await;
        let rows = soon(async { tokio::try_join!(ask(1), ask(2), ask(3)) }).await.expect("a pipeline of queries");
        for row in [rows.0, rows.1, rows.2] {
            let ssn: Option<&str> = row.get(2);
            assert!(ssn.is_none_or(|ssn| ssn == "[redacted]"), "{ssn:?}");
        }
        for format in ["text", "csv", "binary"] {
            let query = "SELECT ssn, total, placed FROM customers JOIN orders ON customers.id = customer_id";
            let sql = format!("COPY ({query}) TO STDOUT (FORMAT {format})");
            let stream = soon(client.copy_out(&sql)).await.expect("a copy");
            let data: Vec<Bytes> = soon(stream.try_collect()).await.expect("its rows");
            let data = String::from_utf8_lossy(&data.concat()).into_owned();
            assert!(data.contains("[redacted]") && !data.contains(SSN_PART), "{data}");
        }
        let sink = soon(client.copy_in("COPY imports FROM STDIN")).await.expect("a copy");
        let mut sink = std::pin::pin!(sink);
        for n in 0..50 {
            soon(sink.send(Bytes::from(format!("{n}\tround {number}\n")))).await.expect("a row");
        }
        assert_eq!(soon(sink.finish()).await.expect("its end"), 50);
        let transaction = soon(client.transaction()).await.expect("a transaction");
        let portal = soon(transaction.bind("SELECT n, repeat('z', 50) FROM generate_series(1, 1000) n", &[]))
            .await
            .expect("a portal");
        for _ in 0..4 {
            assert_eq!(soon(transaction.query_portal(&portal, 250)).await.expect("rows").len(), 250);
        }
        let error = soon(transaction.execute("UPDATE orders SET total = 0", &[])).await.expect_err("no WHERE");
        assert_eq!(sqlstate(&error), "42501");
        soon(transaction.rollback()).await.expect("a rollback");
        let trimmed = "DELETE FROM imports WHERE note <> $1";
        soon(client.execute(trimmed, &[&format!("round {number}")])).await.expect("the policy holds other deletions");
    });
}

/// A query that its own client cancels, and goes on.
pub fn cancelled(stage: &Stage<'_>, number: u64) {
    blocking(async {
        let Session { client, .. } = stage.alice.connect().await;
        let token = client.cancel_token();
        let mark = format!("cancelled {number}");
        let sql = format!("SELECT pg_sleep(100), '{mark}'");
        let sleeping = client.simple_query(&sql);
        let cancelling = async {
            while tokio::task::block_in_place(|| active(stage, &mark)) == 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            token.cancel_query(NoTls).await.expect("a cancel request is taken");
        };
        let (slept, ()) = soon(async { tokio::join!(sleeping, cancelling) }).await;
        assert_eq!(sqlstate(&slept.expect_err("it was cancelled")), "57014");
        // The driver does not wait until the server has closed the request's connection, and the server signals
        // twice: the second signal may come after the error.
        let next = soon(client.simple_query("SELECT 1")).await;
        if next.as_ref().is_err_and(|error| sqlstate(error) == "57014") {
            soon(client.simple_query("SELECT 1")).await.expect("the session goes on");
        } else {
            next.expect("the session goes on");
        }
    });
}

fn blocking(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(work);
}
