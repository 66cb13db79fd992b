//! The listener: hosts, limits, headers, TLS, and how it ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sluicegate_admin::{AdminClient, ClientError, Credentials, Door, router, serve_tcp};
use sluicegate_net::{Exposure, Limits, Listener, ServerTls, TlsFiles, stop_channel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Stage, basic, by_a_dba, secret};

#[tokio::test]
async fn a_name_that_was_led_here_is_not_answered_for() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let ask = async |host: &str, path: &str| {
        network.ask("GET", path, &[("host", host), ("authorization", &basic("ann"))], "").await.status
    };
    for host in ["localhost", "LocalHost:1", "127.0.0.1:7400", "[::1]", "[::1]:7400", "gate.internal:7400"] {
        assert_eq!(ask(host, "/api/v1/whoami").await, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.2", "127.0.0.1.evil.example:7400"] {
        assert_eq!(ask(host, "/api/v1/whoami").await, 421, "{host}");
    }
    assert_eq!(ask("localhost", "http://evil.example/api/v1/whoami").await, 421);
    for host in ["a b", "/", "localhost\u{7f}"] {
        assert_eq!(ask(host, "/api/v1/whoami").await, 400, "{host}");
    }
}

#[tokio::test]
async fn browsers_may_do_nothing_with_any_answer() {
    let stage = Stage::new();
    let network = stage.listen().await;
    for (path, authorization) in
        [("/api/v1/whoami", basic("ann")), ("/", basic("ann")), ("/api/v1/whoami", String::new())]
    {
        let headers = [("authorization", &*authorization), ("origin", "https://evil.example")];
        let reply = network.ask("GET", path, &headers, "").await;
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "referrer-policy: no-referrer",
        ] {
            assert!(reply.head.contains(header), "{header}: {reply:?}");
        }
        assert!(!reply.head.contains("access-control"), "{reply:?}");
    }
}

#[tokio::test]
async fn whoever_has_proven_who_they_are_makes_room_for_others_to_begin() {
    let stage = Stage::new();
    let limits = Limits { max_connections: 8, max_starting: 2, grace: Duration::from_secs(1) };
    let network = stage.listen_with(limits).await;
    let mut first = TcpStream::connect(network.address).await.unwrap();
    assert_eq!(say(&mut first, "").await, "HTTP/1.1 401", "who is not known keeps its place among those that begin");
    let mut second = TcpStream::connect(network.address).await.unwrap();
    let refused = second.write_all(b"GET / HTTP/1.1\r\n\r\n").await.and(second.read_u8().await);
    assert!(refused.is_err(), "one address has half of the places");
    assert_eq!(say(&mut first, &format!("authorization: {}\r\n", basic("ann"))).await, "HTTP/1.1 200");
    let mut third = TcpStream::connect(network.address).await.unwrap();
    assert_eq!(say(&mut third, "").await, "HTTP/1.1 401");
}

/// One request on a connection that stays open, and the status line's beginning.
async fn say(stream: &mut TcpStream, headers: &str) -> String {
    let request = format!("GET /api/v1/whoami HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read.min(12)]).into_owned()
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_nobody_linger() {
    let stage = Stage::new();
    let network = stage.listen().await;
    let held = stage.hold("alice", "orders", &[by_a_dba()]).await;
    let mut idle = TcpStream::connect(network.address).await.unwrap();
    assert_eq!(say(&mut idle, "").await, "HTTP/1.1 401");
    stage.ledger.slow_down(Duration::from_millis(500));
    let address = network.address;
    let (path, start) = (held.path(), Instant::now());
    let request = tokio::spawn(async move {
        let mut client = AdminClient::connect_to(&format!("http://{address}"), None).await.unwrap();
        client.authenticate(&Credentials::Secret { user: "bob".to_owned(), secret: secret("bob") }).unwrap();
        client.answer(path[18..].parse().unwrap(), true, "").await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    network.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    request.await.unwrap().unwrap();
    held.outcome().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_client_comes_by_tls_and_knows_whom_it_talks_to() {
    let stage = Stage::new();
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let files = TlsFiles { cert: dir.path().join("gate.pem"), key: dir.path().join("gate.key") };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let ca = files.cert.clone();
    let tls = Arc::new(ServerTls::load(files, &[b"http/1.1"]).unwrap());
    let limits = Limits { max_connections: 8, max_starting: 8, grace: Duration::from_secs(1) };
    let listener = Listener::bind("admin", "127.0.0.1:0", Exposure::Tls, limits).await.unwrap();
    let port = listener.local_addr().port();
    let (_stopper, stop) = stop_channel();
    let door = Door::Network { listen: format!("0.0.0.0:{port}"), loopback: false };
    tokio::spawn(serve_tcp(listener, Some(tls), router(stage.api.clone(), door), stop));

    let mut client = AdminClient::connect_to(&format!("https://localhost:{port}"), Some(&ca)).await.unwrap();
    assert!(matches!(client.whoami().await, Err(ClientError::Problem(problem)) if problem.status == 401));
    client.authenticate(&Credentials::Secret { user: "ann".to_owned(), secret: secret("ann") }).unwrap();
    assert_eq!(client.whoami().await.unwrap().user.as_deref(), Some("ann"));
    let token = client.create_token().await.unwrap().token;
    client.authenticate(&Credentials::Token(token)).unwrap();
    assert!(client.whoami().await.unwrap().admin);
    client.revoke_token().await.unwrap();
    assert!(matches!(client.whoami().await, Err(ClientError::Problem(problem)) if problem.status == 401));

    let other = AdminClient::connect_to(&format!("https://127.0.0.1:{port}"), Some(&ca)).await;
    assert!(matches!(other, Err(ClientError::Tls(_))), "the certificate names another host");
    let stranger = AdminClient::connect_to(&format!("https://localhost:{port}"), None).await;
    assert!(matches!(stranger, Err(ClientError::Tls(_))), "nobody vouches for it");
}
