//! TLS in both directions over an in-memory pipe, with real certificates.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use sluicegate_net::{ClientTls, MaybeTls, ServerTls, TlsError, TlsFiles, TlsMode};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWrite as _, AsyncWriteExt, DuplexStream, duplex};

/// An authority, a certificate of it for `db.example`, and the folder where their files are.
struct Pki {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let pki = Self { folder, issuer: Issuer::new(params, key) };
        pki.issue("db.example");
        pki
    }

    fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        self.write(&leaf, &key);
    }

    /// A certificate that is its own authority, as `openssl req -x509` makes them.
    fn issue_to_itself(&self, valid_until: i32) {
        let mut params = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(valid_until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.self_signed(&key).unwrap();
        self.write(&leaf, &key);
    }

    fn write(&self, leaf: &Certificate, key: &KeyPair) {
        fs::write(self.file("cert.pem"), leaf.pem()).unwrap();
        fs::write(self.file("key.pem"), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { cert: self.file("cert.pem"), key: self.file("key.pem") }
    }

    fn server(&self, alpn: &[&[u8]]) -> ServerTls {
        ServerTls::load(self.files(), alpn).unwrap()
    }
}

fn client(mode: TlsMode, ca: Option<&Path>, alpn: &[&[u8]]) -> ClientTls {
    ClientTls::load(mode, ca, alpn).unwrap().unwrap()
}

type Ends = (MaybeTls<DuplexStream>, MaybeTls<DuplexStream>);

async fn handshake(server: &ServerTls, client: &ClientTls, host: &str) -> Result<Ends, TlsError> {
    let (ours, theirs) = duplex(16 * 1024);
    let (accepted, connected) = tokio::join!(server.accept(ours), client.connect(host, theirs));
    let connected = connected?;
    Ok((accepted?, connected))
}

#[tokio::test]
async fn bytes_pass_and_both_ends_know_the_binding() {
    let pki = Pki::new();
    let server = pki.server(&[b"postgresql"]);
    let client = client(TlsMode::VerifyFull, Some(&pki.file("ca.pem")), &[b"postgresql"]);
    let (mut accepted, mut connected) = handshake(&server, &client, "db.example").await.unwrap();
    assert_eq!((accepted.alpn(), connected.alpn()), (Some(&b"postgresql"[..]), Some(&b"postgresql"[..])));
    assert!(accepted.is_encrypted() && connected.is_encrypted() && connected.is_write_vectored());
    assert_eq!(connected.server_end_point().unwrap(), server.end_point().unwrap());
    assert_eq!(accepted.server_end_point(), None);

    connected.write_all(b"hello").await.unwrap();
    connected.shutdown().await.unwrap();
    let mut heard = Vec::new();
    accepted.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"hello");
}

#[tokio::test]
async fn each_mode_checks_what_it_promises() {
    let pki = Pki::new();
    let stranger = Pki::new();
    let server = pki.server(&[]);
    let (ca, other) = (pki.file("ca.pem"), stranger.file("ca.pem"));
    let cases = [
        (TlsMode::VerifyFull, Some(&ca), "db.example", true),
        (TlsMode::VerifyFull, Some(&ca), "elsewhere.example", false),
        (TlsMode::VerifyFull, Some(&ca), "127.0.0.1", false),
        (TlsMode::VerifyFull, Some(&other), "db.example", false),
        (TlsMode::VerifyFull, None, "db.example", false),
        (TlsMode::VerifyCa, Some(&ca), "elsewhere.example", true),
        (TlsMode::VerifyCa, Some(&other), "db.example", false),
        (TlsMode::Require, None, "elsewhere.example", true),
    ];
    for (mode, ca, host, expected) in cases {
        let client = client(mode, ca.map(PathBuf::as_path), &[]);
        let ended = handshake(&server, &client, host).await;
        assert_eq!(ended.is_ok(), expected, "{mode} {host}");
        assert_eq!(client.verifies(), mode != TlsMode::Require);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_named_itself() {
    let pki = Pki::new();
    pki.issue_to_itself(2100);
    let client = client(TlsMode::VerifyFull, Some(&pki.file("cert.pem")), &[]);
    assert!(handshake(&pki.server(&[]), &client, "db.example").await.is_ok());
    assert!(handshake(&pki.server(&[]), &client, "elsewhere.example").await.is_err());

    let by_authority = self::client(TlsMode::VerifyFull, Some(&pki.file("ca.pem")), &[]);
    assert!(handshake(&pki.server(&[]), &by_authority, "db.example").await.is_err());

    pki.issue_to_itself(2001);
    let client = self::client(TlsMode::VerifyCa, Some(&pki.file("cert.pem")), &[]);
    assert!(handshake(&pki.server(&[]), &client, "db.example").await.is_err(), "expired");
}

#[tokio::test]
async fn alpn_must_agree_where_both_speak_it() {
    let pki = Pki::new();
    let server = pki.server(&[b"postgresql"]);
    let silent = client(TlsMode::Require, None, &[]);
    assert_eq!(handshake(&server, &silent, "db.example").await.unwrap().0.alpn(), None);
    let other = client(TlsMode::Require, None, &[b"h2"]);
    assert!(handshake(&server, &other, "db.example").await.is_err());
}

#[tokio::test]
async fn a_reload_takes_new_files_and_keeps_the_old_when_they_are_bad() {
    let pki = Pki::new();
    let server = pki.server(&[]);
    let first = server.end_point();
    assert!(!server.reload().unwrap());

    pki.issue("new.example");
    assert!(server.reload().unwrap());
    assert_ne!(server.end_point(), first);
    let client = client(TlsMode::VerifyFull, Some(&pki.file("ca.pem")), &[]);
    assert!(handshake(&server, &client, "new.example").await.is_ok());

    fs::write(pki.file("cert.pem"), "rubbish").unwrap();
    assert!(matches!(server.reload(), Err(TlsError::Pem { .. })));
    assert!(handshake(&server, &client, "new.example").await.is_ok());
}

#[tokio::test]
async fn a_handshake_that_stalls_or_is_none_ends() {
    let server = Pki::new().server(&[]);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 300], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]] {
        let (ours, mut theirs) = duplex(16 * 1024);
        theirs.write_all(garbage).await.unwrap();
        assert!(matches!(server.accept(ours).await, Err(TlsError::Handshake(_))), "{garbage:x?}");
    }
    // A record's head, and then silence.
    let (ours, mut theirs) = duplex(16 * 1024);
    theirs.write_all(&[0x16, 3, 1, 0x40, 0]).await.unwrap();
    assert!(matches!(server.accept(ours).await, Err(TlsError::Timeout)));
}

#[test]
fn the_end_of_the_certificate_s_time_is_known() {
    let pki = Pki::new();
    pki.issue_to_itself(2100);
    let expires = pki.server(&[]).expires().unwrap();
    let years = expires.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 31_557_600;
    assert_eq!(1970 + years, 2099, "the last moment of 2099");
}

#[test]
fn bad_files_are_named_and_keys_never_shown() {
    let pki = Pki::new();
    let load = |files| ServerTls::load(files, &[]).err().unwrap();
    let missing = load(TlsFiles { cert: pki.file("none.pem"), ..pki.files() });
    assert!(missing.to_string().contains("none.pem") && matches!(missing, TlsError::Read { .. }));

    let swapped = load(TlsFiles { cert: pki.file("cert.pem"), key: pki.file("ca.pem") });
    assert!(swapped.to_string().contains("ca.pem") && swapped.to_string().contains("private key"));

    let key = KeyPair::generate().unwrap().serialize_pem();
    fs::write(pki.file("key.pem"), &key).unwrap();
    let pair = load(pki.files());
    assert!(matches!(pair, TlsError::Pair { .. }));
    assert!(!format!("{pair:?}").contains(key.lines().nth(1).unwrap()));
}

#[test]
fn an_authority_that_would_not_be_used_is_refused() {
    let pki = Pki::new();
    for mode in [TlsMode::Disable, TlsMode::Require] {
        let refused = ClientTls::load(mode, Some(&pki.file("ca.pem")), &[]).err().unwrap();
        assert!(matches!(refused, TlsError::UselessCa(_)));
    }
    assert!(ClientTls::load(TlsMode::Disable, None, &[]).unwrap().is_none());
    assert!(matches!(ClientTls::load(TlsMode::VerifyFull, Some(&pki.file("key.pem")), &[]), Err(TlsError::Pem { .. })));
}
