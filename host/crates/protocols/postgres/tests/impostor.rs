//! Servers that do not do as they should: each lie ends the attempt, with the right reason.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::{fs, future::Future, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use sluicegate_net::{MaybeTls, ServerTls, TlsError, TlsFiles};
use sluicegate_postgres::upstream::{DialError, StartupParams, Upstream, dial};
use support::admit::permit;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Dials a server that does what `script` says with its one connection.
async fn against<F, T>(more: &str, script: impl FnOnce(TcpStream) -> F) -> (Result<Upstream, DialError>, JoinHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!(
        "address = \"{}\"\ndatabase = \"d\"\nusername = \"u\"\npassword = {{ env = \"HOME\" }}\n{more}",
        listener.local_addr().unwrap()
    );
    let routes = support::routes(&text);
    let (permit, _gated) = permit("alice", "psql").await;
    let dialling = tokio::spawn(async move {
        dial(permit, &routes, &StartupParams::default(), false).await.map(|(_, upstream, _)| upstream)
    });
    let (stream, _) = listener.accept().await.unwrap();
    let serving = tokio::spawn(script(stream));
    (dialling.await.unwrap(), serving)
}

/// A server that answers each message it hears with the next of these.
async fn answering(more: &str, answers: Vec<Vec<u8>>) -> DialError {
    let (ended, _serving) = against(more, |mut stream| async move {
        for answer in answers {
            heard(&mut stream).await;
            stream.write_all(&answer).await.unwrap();
        }
        heard(&mut stream).await
    })
    .await;
    ended.err().unwrap()
}

async fn heard(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).await.unwrap_or(0);
    bytes.truncate(count);
    bytes
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn authentication(kind: u32, body: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes()[..], body].concat())
}

fn offer(mechanisms: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = mechanisms.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
    authentication(10, &[&list[..], b"\0"].concat())
}

/// The challenge that answers the client's first SCRAM message.
fn challenge(first: &[u8], iterations: u32) -> Vec<u8> {
    let text = String::from_utf8_lossy(first);
    let nonce = text.rsplit("r=").next().unwrap();
    authentication(11, format!("r={nonce}more,s=c2FsdA==,i={iterations}").as_bytes())
}

const REQUIRE: &str = "sslmode = \"require\"";

#[tokio::test]
async fn tls_is_not_talked_away() {
    let refused = answering(REQUIRE, vec![b"N".to_vec()]).await;
    assert!(matches!(refused, DialError::TlsRefused));

    let injected = [b"S".to_vec(), authentication(0, b""), message(b'Z', b"I")].concat();
    let refused = answering(REQUIRE, vec![injected]).await;
    assert!(matches!(refused, DialError::Tls(TlsError::Handshake(_))), "{refused:?}");

    let refused = answering(REQUIRE, vec![message(b'E', b"SFATAL\0C28000\0Mbelieve me\0\0")]).await;
    assert!(matches!(refused, DialError::Protocol(_)));
}

#[tokio::test]
async fn other_ways_to_log_in_are_refused() {
    for (kind, name) in [(7, "GSSAPI"), (9, "SSPI"), (2, "Kerberos V5"), (6, "SCM credential")] {
        let refused = answering("", vec![authentication(kind, b"")]).await;
        assert!(matches!(refused, DialError::Method(method) if method == name), "{refused}");
    }
    let refused = answering("", vec![offer(&["SCRAM-SHA-512", "OAUTHBEARER"])]).await;
    assert!(matches!(refused, DialError::Method(_)));
    let again = answering("", vec![authentication(3, b""), authentication(3, b"")]).await;
    assert!(matches!(again, DialError::Protocol(_)));
}

#[tokio::test]
async fn a_server_must_prove_that_it_knows_the_password() {
    let scram = || offer(&["SCRAM-SHA-256"]);
    let no_tls = answering("", vec![offer(&["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])]).await;
    assert!(matches!(no_tls, DialError::Impostor(_)));
    let no_challenge = answering("", vec![scram(), authentication(0, b"")]).await;
    assert!(matches!(no_challenge, DialError::Impostor(_)));

    for (last, iterations) in [
        (authentication(0, b""), 4096),
        (authentication(12, b"v=c2lnbmF0dXJl"), 4096),
        (authentication(12, b"v="), 4096),
        (authentication(0, b""), 4_000_000_000),
    ] {
        let (ended, _serving) = against("", |mut stream| async move {
            heard(&mut stream).await;
            stream.write_all(&offer(&["SCRAM-SHA-256"])).await.unwrap();
            let first = heard(&mut stream).await;
            stream.write_all(&challenge(&first, iterations)).await.unwrap();
            heard(&mut stream).await;
            let end = [last, authentication(0, b""), message(b'Z', b"I")].concat();
            stream.write_all(&end).await.unwrap();
            heard(&mut stream).await
        })
        .await;
        let refused = ended.err().unwrap();
        assert!(matches!(refused, DialError::Impostor(_) | DialError::Scram(_)), "{refused}");
        assert!(!format!("{refused:?}").contains(&std::env::var("HOME").unwrap()));
    }
}

#[tokio::test]
async fn the_exchange_says_how_it_is_bound() {
    let folder = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let files = TlsFiles { cert: folder.path().join("cert"), key: folder.path().join("key") };
    fs::write(&files.cert, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    let tls = Arc::new(ServerTls::load(files.clone(), &[]).unwrap());
    let verified = format!("sslmode = \"verify-full\"\nca = \"{}\"", files.cert.display());

    let both = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    for (more, mechanisms, header) in [
        (verified.as_str(), &both[..], "SCRAM-SHA-256-PLUS\0p=tls-server-end-point,,"),
        (REQUIRE, &both[..], "SCRAM-SHA-256-PLUS\0p=tls-server-end-point,,"),
        (verified.as_str(), &both[1..], "SCRAM-SHA-256\0y,,"),
        ("", &both[1..], "SCRAM-SHA-256\0n,,"),
    ] {
        let tls = (!more.is_empty()).then(|| Arc::clone(&tls));
        let offer = offer(mechanisms);
        let (_ended, serving) = against(more, |mut stream| async move {
            let mut stream = match tls {
                Some(tls) => {
                    heard(&mut stream).await;
                    stream.write_all(b"S").await.unwrap();
                    tls.accept(stream).await.unwrap()
                }
                None => MaybeTls::Plain(stream),
            };
            heard(&mut stream).await;
            stream.write_all(&offer).await.unwrap();
            heard(&mut stream).await
        })
        .await;
        let first = serving.await.unwrap();
        let text: String = first[5..].iter().filter(|byte| byte.is_ascii()).map(|byte| char::from(*byte)).collect();
        let (mechanism, said) = header.split_once('\0').unwrap();
        assert!(text.starts_with(&format!("{mechanism}\0")) && text.contains(said), "{text:?}");
    }
}

#[tokio::test]
async fn nothing_is_read_without_bound_or_end() {
    let huge = [b"R".to_vec(), 100_000_u32.to_be_bytes().to_vec()].concat();
    assert!(matches!(answering("", vec![huge]).await, DialError::TooLarge(100_000)));
    let settings = message(b'S', b"name\0value\0").repeat(600);
    let flood = answering("", vec![[authentication(0, b""), settings].concat()]).await;
    assert!(matches!(flood, DialError::Protocol(_)));
    let keyless = answering("", vec![[authentication(0, b""), message(b'Z', b"I")].concat()]).await;
    assert!(matches!(keyless, DialError::Protocol(_)));
    let garbage = answering("", vec![b"HTTP/1.1 400 Bad Request\r\n".to_vec()]).await;
    assert!(matches!(garbage, DialError::TooLarge(_)));

    let started = std::time::Instant::now();
    let (silent, _serving) = against("connect_timeout = 1", |mut stream| async move {
        stream.write_all(&authentication(3, b"")).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    assert!(matches!(silent, Err(DialError::Timeout(limit)) if limit == Duration::from_secs(1)));
    assert!(started.elapsed() < Duration::from_secs(5));
}
