//! TLS towards clients and towards the target.

use sluicegate_tests::{
    Endpoint, Gateway,
    client::soon,
    programs::outside_address,
    tls::{Authority, handshake},
    wire::{Wire, code, tags_of},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::NoTls;

use crate::database;

/// A gateway with a certificate of its own authority, which comes back as PEM.
fn encrypted() -> (Gateway, String) {
    let authority = Authority::new();
    let gateway = Gateway::before(&database()).tls(authority.issue("127.0.0.1")).start();
    (gateway, authority.pem().to_owned())
}

/// Alice, with the authority in a file as libpq wants it.
fn verifying(gateway: &Gateway, authority: &str) -> Endpoint {
    let file = gateway.folder().join("ca.crt");
    std::fs::write(&file, authority).unwrap();
    Endpoint { sslmode: "verify-full", authority: Some(file.display().to_string()), ..gateway.alice() }
}

#[test]
fn psql_verifies_the_gateways_certificate() {
    let (gateway, authority) = encrypted();
    let alice = verifying(&gateway, &authority);
    let shown = alice.psql_with(&["-A", "-t"], "\\conninfo\nSELECT 1").ok();
    assert!(shown.contains("TLS") && shown.trim().ends_with('1'), "{shown}");
    let stranger = verifying(&gateway, Authority::new().pem());
    let error = stranger.psql("SELECT 1").failed();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_may_start_at_once_as_newer_clients_do() {
    let (gateway, authority) = encrypted();
    let stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    let stream = handshake(stream, &authority, &["postgresql"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"postgresql"[..]));
    let (client, connection) = soon(gateway.alice().config().connect_raw(stream, NoTls)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(soon(client.query_one("SELECT 41 + 1", &[])).await.unwrap().get::<_, i32>(0), 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_starts_at_once_must_name_the_protocol() {
    let (gateway, authority) = encrypted();
    for alpn in [&["h2"][..], &[]] {
        let stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        let Ok(stream) = handshake(stream, &authority, alpn).await else { continue };
        assert!(soon(gateway.alice().config().connect_raw(stream, NoTls)).await.is_err(), "{alpn:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_sent_ahead_of_the_handshake_end_the_connection() {
    // CVE-2021-23214: what came before the handshake must not count as if it had come inside.
    let (gateway, _) = encrypted();
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    let request = [&8u32.to_be_bytes()[..], &code::SSL.to_be_bytes()].concat();
    stream.write_all(&[request, b"injected before TLS".to_vec()].concat()).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    // An `S`, and then nothing but a TLS alert (type 21) about bytes that are no handshake.
    assert!(rest.first() == Some(&b'S') && rest.get(1).is_none_or(|record| *record == 21), "{rest:?}");
}

#[test]
fn without_tls_only_loopback_is_served() {
    let database = database();
    let said = Gateway::before(&database).listen("0.0.0.0").refused();
    assert!(said.contains("tls"), "{said}");
}

#[test]
fn off_loopback_a_password_is_asked_for_in_the_clear_only_where_that_is_configured() {
    let Some(outside) = outside_address() else {
        println!("this machine has no address but loopback, so there is nobody outside to refuse");
        return;
    };
    let database = database();
    let authority = Authority::new();
    let gateway = Gateway::before(&database).tls(authority.issue("127.0.0.1")).listen("0.0.0.0").start();
    let mut wire = Wire::connect_to(outside, gateway.port());
    wire.start_up(&gateway.alice(), code::V3_0, &[]);
    assert_eq!(tags_of(&wire.read_until("ER")), "E");
    assert!(wire.is_closed_by_server());
    assert_eq!(verifying(&gateway, authority.pem()).psql("SELECT 1").ok().trim(), "1");

    let gateway = Gateway::before(&database).listen("0.0.0.0").top("allow_plaintext = true").start();
    let mut wire = Wire::connect_to(outside, gateway.port());
    wire.start_up(&gateway.alice(), code::V3_0, &[]);
    assert_eq!(tags_of(&wire.read_until("ER")), "R");
}

#[test]
fn the_targets_certificate_is_verified_in_full() {
    let database = database();
    let lines = format!("sslmode = \"verify-full\"\nca = \"{}\"", database.authority().display());
    let gateway = Gateway::before(&database).target_lines(&lines).start();
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(gateway.alice().psql(encrypted).ok().trim(), "t");

    let other = gateway_with_ca(Authority::new().pem(), "");
    let error = other.alice().psql("SELECT 1").failed();
    assert!(!error.contains("127.0.0.1:"), "the target's address is nobody's business: {error}");

    let wrong_name =
        Gateway::before(&database).target_lines(&lines).address(&format!("localhost:{}", database.port())).start();
    wrong_name.alice().psql("SELECT 1").failed();
}

fn gateway_with_ca(pem: &str, more: &str) -> Gateway {
    let file = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
    std::fs::write(&file, pem).unwrap();
    let lines = format!("sslmode = \"verify-full\"\nca = \"{}\"\n{more}", file.display());
    let gateway = Gateway::before(&database()).target_lines(&lines).start();
    std::fs::rename(&file, gateway.folder().join("other.crt")).or_else(|_| std::fs::remove_file(&file)).unwrap();
    gateway
}

#[test]
fn encryption_towards_the_target_can_be_required_without_verifying() {
    let database = database();
    for (mode, encrypted) in [("require", "t"), ("disable", "f")] {
        let gateway = Gateway::before(&database).target_lines(&format!("sslmode = \"{mode}\"")).start();
        let shown = gateway.alice().psql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").ok();
        assert_eq!(shown.trim(), encrypted, "{mode}");
    }
}
