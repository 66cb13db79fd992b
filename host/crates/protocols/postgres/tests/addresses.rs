//! A target with several addresses: which one a session reaches, what counts as out of service, and what is
//! said where none serves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use sluicegate_postgres::upstream::{DialError, StartupParams, dial};
use support::{admit::permit, gateway::Gateway, server::Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_postgres::NoTls;

/// What a server says that does not serve yet.
const STARTING_UP: &[u8] = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";

/// A listener that answers every start-up message so, or not at all.
async fn answers(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _count = stream.read(&mut [0; 1024]).await;
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
                let _may_be_gone = stream.write_all(answer).await;
            });
        }
    });
    address
}

fn error(fields: &[u8]) -> &'static [u8] {
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    [&b"E"[..], &length, fields].concat().leak()
}

fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn at(server: &Server) -> String {
    format!("localhost:{}", server.port)
}

fn server() -> Server {
    Server::start("host all postgres localhost trust\nhost all app localhost scram-sha-256")
}

fn addresses(list: &[&str]) -> String {
    format!("address = {list:?}\ndatabase = \"postgres\"\nconnect_timeout = 4\nsslmode = \"disable\"\n")
}

/// Which of them a session reaches.
async fn reached(config: &str) -> Result<String, DialError> {
    let (permit, _gated) = permit("alice", "psql").await;
    let routes = support::routes(config);
    let (route, ..) = dial(permit, &routes, &StartupParams::default(), true).await?;
    Ok(route.target().address().to_string())
}

#[tokio::test]
async fn the_first_address_that_serves_is_taken() {
    let (one, other) = (server(), server());
    let starting = answers(error(STARTING_UP)).await;
    let silent = answers(b"").await;
    let (one, other, gone) = (at(&one), at(&other), nobody());
    for more in ["username = \"postgres\"", "username = \"postgres\"\nreuse = \"1min\""] {
        for (list, expected) in [
            (&[&*one, &*other][..], &one),
            (&[&*other, &*one][..], &other),
            (&[&*gone, &*other][..], &other),
            (&["nowhere.invalid:5432", &*other][..], &other),
            (&[&*starting, &*other, &*one][..], &other),
            (&[&*silent, &*other][..], &other),
        ] {
            let started = Instant::now();
            let found = reached(&(addresses(list) + more)).await;
            assert_eq!(found.unwrap(), **expected, "{list:?}");
            assert!(started.elapsed() < Duration::from_secs(4), "{list:?} took {:?}", started.elapsed());
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_role_is_not_passed_over() {
    let (one, other) = (server(), server());
    other.sql("create role app login superuser password 'right'");
    one.sql("create role app login password 'another'");
    let password = "username = \"app\"\npassword = { env = \"HOME\" }";
    let refused = reached(&(addresses(&[&at(&one), &at(&other)]) + password)).await.unwrap_err();
    assert!(matches!(&refused, DialError::Refused { code, .. } if code == "28P01"), "{refused:?}");
    let garbage = answers(b"HTTP/1.1 400 Bad Request\r\n").await;
    let garbled = reached(&(addresses(&[&garbage, &at(&one)]) + "username = \"postgres\"")).await.unwrap_err();
    assert!(matches!(garbled, DialError::TooLarge(_) | DialError::Protocol(_)), "{garbled:?}");
}

#[tokio::test]
async fn where_none_serves_the_log_names_all_and_the_client_reads_none() {
    let (gone, starting) = (nobody(), answers(error(STARTING_UP)).await);
    let failed = reached(&(addresses(&[&starting, &gone]) + "username = \"postgres\"")).await.unwrap_err();
    let log = failed.to_string();
    for part in [&*gone, &*starting, "57P03", "Connection refused"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let told = (failed.sqlstate(), failed.client_message());
    assert_eq!(told, ("57P03", "the target is starting up or shutting down; try again later"));
    let unreachable = reached(&(addresses(&[&gone, &nobody()]) + "username = \"postgres\"")).await.unwrap_err();
    let told = (unreachable.sqlstate(), unreachable.client_message());
    assert_eq!(told, ("08001", "the target cannot be reached at the moment; try again later"));
}

/// The first server is gone in the middle of the day: new sessions go to the second one, are decided by its
/// own catalog, and what they ask people for names it.
#[tokio::test]
async fn sessions_move_to_the_next_server_with_all_that_belongs_to_it() {
    let (one, other) = (server(), server());
    one.sql("create table t (a int)");
    other.sql("create table t (b int)");
    let list = format!("address = [\"{}\", \"{}\"]", at(&one), at(&other));
    let gateway = Gateway::before(&list, "").await;
    // Columns are placed in relations by the catalog.
    let placed = |column: &str| {
        let asked = gateway.double.asked.lock().unwrap().clone().unwrap();
        asked.sql.as_ref().unwrap().columns.iter().any(|c| *c.name.column == *column && *c.name.relation.name == *"t")
    };
    gateway.connect().await.client.simple_query("select a from t").await.unwrap();
    assert!(placed("a"));
    let name_of_other = at(&other);
    drop(one);
    let caller = gateway.connect().await;
    caller.client.simple_query("select b from t").await.unwrap();
    assert!(placed("b"));
    let held = tokio::spawn(async move { caller.client.simple_query("delete from t /* hold */").await });
    let asked = gateway.pending().await.context;
    assert!(asked.contains(&name_of_other), "{asked}");
    gateway.answer(true).await;
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_target_that_stalls_or_babbles_is_a_clear_error_within_its_time() {
    for (answer, code, words) in [
        (&b""[..], "08001", "cannot be reached"),
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "08P01", "did not answer as a PostgreSQL server does"),
        (&b"E"[..], "08001", "cannot be reached"),
        (error(STARTING_UP), "57P03", "starting up"),
    ] {
        let address = answers(answer).await;
        let gateway = Gateway::before(&format!("address = \"{address}\""), "connect_timeout = 1").await;
        let started = Instant::now();
        let text = format!("host=127.0.0.1 port={} user=alice password=x dbname=orders", gateway.port);
        let error = tokio_postgres::connect(&text, NoTls).await.err().unwrap();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), code, "{error:?}");
        assert!(error.message().contains(words) && !error.message().contains(&address), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}
