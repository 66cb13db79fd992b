//! What becomes of a catalog while its target has no connection to check it over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use sluicegate_credentials::Credentials;
use sluicegate_postgres::{catalog::CatalogCache, config::Target};
use support::server::Server;

/// Longer than a catalog is used unchecked, and than a failure is everybody's answer.
const UNCHECKED: Duration = Duration::from_millis(10_100);
const FAILURE: Duration = Duration::from_millis(1_100);

fn no_connections(server: &Server) {
    server.sql(
        "alter role reader connection limit 0; \
         select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'reader'",
    );
}

#[tokio::test]
async fn a_full_server_is_bridged_unless_the_catalog_was_changed() {
    let server = Server::start("host all all localhost trust");
    server.sql("create role reader login");
    let text = format!("address = \"localhost:{}\"\ndatabase = \"postgres\"\nusername = \"reader\"", server.port);
    let cache = CatalogCache::new(Arc::new(
        Target::prepare(&toml::from_str(&text).unwrap(), &Credentials::new()).unwrap().remove(0),
    ));

    no_connections(&server);
    assert!(cache.get().await.is_err(), "nothing is known yet");
    server.sql("alter role reader connection limit -1");
    tokio::time::sleep(FAILURE).await;
    let known = cache.get().await.unwrap();

    no_connections(&server);
    tokio::time::sleep(UNCHECKED).await;
    let bridged = [cache.get().await.unwrap(), cache.get().await.unwrap()];
    assert!(bridged.iter().all(|catalog| Arc::ptr_eq(catalog, &known)));
    cache.invalidate();
    assert!(cache.get().await.is_err(), "what a session may have changed is not used on");

    server.sql("alter role reader connection limit -1; create table fresh (id int)");
    tokio::time::sleep(FAILURE).await;
    assert!(cache.get().await.unwrap().find("public", "fresh").is_some());
}
