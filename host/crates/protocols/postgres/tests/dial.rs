//! Dialling a real PostgreSQL: every way to log in, TLS, and what the target learns of the person.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::{io::Write as _, time::Duration};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::{backend::Message, frontend};
use sluicegate_net::MaybeTls;
use sluicegate_postgres::upstream::{DialError, Route, StartupParams, Upstream, dial};
use support::{admit::permit, server::Server};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A role for each way to log in, and rules that leave no other way.
fn server() -> Server {
    let server = Server::start(
        "host all trusted localhost trust\n\
         host all md5er localhost md5\n\
         hostnossl all scrammer localhost scram-sha-256\n\
         hostssl all scrammer localhost scram-sha-256\n\
         hostssl all tlsonly localhost scram-sha-256\n\
         host all clear localhost password",
    );
    server.sql(
        "set password_encryption = 'md5'; create role md5er login password 'hunter2'; \
         set password_encryption = 'scram-sha-256'; create role scrammer login password 'hunter2'; \
         create role tlsonly login password 'hunter2'; create role clear login password 'hunter2'; \
         create role trusted login",
    );
    server
}

type Expected = fn(&DialError) -> bool;

struct Attempt {
    routes: Vec<Route>,
    _password: NamedTempFile,
}

fn attempt(server: &Server, user: &str, more: &str) -> Attempt {
    let mut password = NamedTempFile::new().unwrap();
    writeln!(password, "hunter2").unwrap();
    let path = password.path().display().to_string();
    let mut text = format!("database = \"postgres\"\nusername = \"{user}\"\n{more}\n");
    if !more.contains("address") {
        text += &format!("address = \"localhost:{}\"\n", server.port);
    }
    if !more.contains("password") {
        text += &format!("password = {{ file = \"{path}\" }}\n");
    }
    Attempt { routes: support::routes(&text), _password: password }
}

async fn dialled(attempt: &Attempt, settings: &[(&str, &str)]) -> Result<Upstream, DialError> {
    let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let (permit, _gated) = permit("alice", "psql").await;
    dial(permit, &attempt.routes, &StartupParams { settings }, false).await.map(|(_, upstream, _)| upstream)
}

/// The first column of the first row.
async fn ask(stream: &mut MaybeTls, sql: &str) -> Result<String, String> {
    let mut buffer = BytesMut::new();
    frontend::query(sql, &mut buffer).unwrap();
    stream.write_all(&buffer).await.unwrap();
    buffer.clear();
    let mut answer = Ok(String::new());
    loop {
        match Message::parse(&mut buffer).unwrap() {
            Some(Message::DataRow(row)) => answer = Ok(String::from_utf8_lossy(&row.buffer()[4..]).into_owned()),
            Some(Message::ErrorResponse(error)) => {
                let code = error.fields().find(|f| Ok(f.type_() == b'C')).unwrap().unwrap();
                answer = Err(String::from_utf8_lossy(code.value_bytes()).into_owned());
            }
            Some(Message::ReadyForQuery(_)) => return answer,
            Some(_) => {}
            None => assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "the server closed"),
        }
    }
}

#[tokio::test]
async fn every_way_to_log_in() {
    let server = server();
    for user in ["trusted", "md5er", "scrammer", "clear"] {
        let mut up = dialled(&attempt(&server, user, ""), &[]).await.unwrap_or_else(|e| panic!("{user}: {e}"));
        assert!(!up.stream.is_encrypted() && up.read_ahead.is_empty());
        assert_eq!(ask(&mut up.stream, "select current_user").await.unwrap(), user);
    }
}

/// A target that vanished without a word is found by the system, as clients are.
#[tokio::test]
async fn connections_to_targets_are_kept_alive() {
    use rustix::net::sockopt;
    let server = server();
    let up = dialled(&attempt(&server, "trusted", ""), &[]).await.unwrap();
    let socket = up.stream.get_ref();
    let seconds = Duration::from_secs;
    assert_eq!((sockopt::socket_keepalive(socket), sockopt::tcp_nodelay(socket)), (Ok(true), Ok(true)));
    let probes = (sockopt::tcp_keepidle(socket), sockopt::tcp_keepintvl(socket), sockopt::tcp_keepcnt(socket));
    assert_eq!(probes, (Ok(seconds(60)), Ok(seconds(15)), Ok(4)));
}

#[tokio::test]
async fn the_target_learns_who_it_is() {
    let server = server();
    let mut up = dialled(&attempt(&server, "scrammer", ""), &[("TimeZone", "Asia/Tokyo")]).await.unwrap();
    let named = up.parameters.iter().find(|(name, _)| name == "application_name").unwrap();
    assert_eq!(named.1, "psql (alice via sluicegate)");
    let user = "select current_setting('sluicegate.user')";
    assert_eq!(ask(&mut up.stream, user).await.unwrap(), "alice");
    assert_eq!(ask(&mut up.stream, "show sluicegate.session").await.unwrap().len(), 36);
    assert_eq!(ask(&mut up.stream, "show timezone").await.unwrap(), "Asia/Tokyo");
    ask(&mut up.stream, "discard all").await.unwrap();
    assert_eq!(ask(&mut up.stream, user).await.unwrap(), "alice");
}

#[tokio::test]
async fn scram_is_bound_to_verified_tls() {
    let server = server();
    let verified = format!("sslmode = \"verify-full\"\nca = \"{}\"", server.ca().display());
    let mut up = dialled(&attempt(&server, "tlsonly", &verified), &[]).await.unwrap();
    assert!(up.stream.is_encrypted() && up.stream.server_end_point().is_some());
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(ask(&mut up.stream, sql).await.unwrap(), "t");
}

#[tokio::test]
async fn what_must_fail_fails_and_says_little_to_the_client() {
    let server = server();
    let ca = server.ca().display().to_string();
    let by_address = format!("address = \"127.0.0.1:{}\"\nsslmode = \"verify-full\"\nca = \"{ca}\"", server.port);
    let cases: [(&str, &str, Expected); 5] = [
        (
            "scrammer",
            "password = { env = \"HOME\" }",
            |e| matches!(e, DialError::Refused { code, .. } if code == "28P01"),
        ),
        ("scrammer", "password = { env = \"SLUICEGATE_NOT_SET\" }", |e| matches!(e, DialError::Secret(_))),
        ("nobody", "", |e| matches!(e, DialError::Refused { code, .. } if code == "28000")),
        ("trusted", "sslmode = \"verify-full\"", |e| matches!(e, DialError::Tls(_))),
        ("trusted", &by_address, |e| matches!(e, DialError::Tls(_))),
    ];
    for (user, more, expected) in cases {
        let error = dialled(&attempt(&server, user, more), &[]).await.err().unwrap();
        assert!(expected(&error), "{user} {more}: {error:?}");
        let told = error.client_message();
        assert!(!told.contains("localhost") && !told.contains(user), "{told}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
    let verify_ca = by_address.replace("verify-full", "verify-ca");
    assert!(dialled(&attempt(&server, "trusted", &verify_ca.replace("127.0.0.1", "localhost")), &[]).await.is_ok());
}

#[tokio::test]
async fn start_up_parameters_are_kept_in_their_place() {
    let server = server();
    let target = attempt(&server, "trusted", "");
    for name in ["user", "Application_Name", "sluicegate.user", "replication", "options"] {
        let error = dialled(&target, &[(name, "x")]).await.err().unwrap();
        assert!(matches!(error, DialError::Parameter(_)), "{name}: {error}");
    }
    let error = dialled(&target, &[("TimeZone", "Mars/Olympus")]).await.err().unwrap();
    assert_eq!(error.sqlstate(), "22023");
}

#[tokio::test]
async fn cancel_reaches_the_connection() {
    let server = server();
    let verified = format!("sslmode = \"verify-full\"\nca = \"{}\"", server.ca().display());
    for more in ["", verified.as_str()] {
        let mut up = dialled(&attempt(&server, "trusted", more), &[]).await.unwrap();
        let cancel = up.cancel.clone();
        let cancelled = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel.cancel().await
        });
        assert_eq!(ask(&mut up.stream, "select pg_sleep(20)").await.unwrap_err(), "57014");
        cancelled.await.unwrap().unwrap();
    }
}
