//! TLS towards clients, from the `[tls]` section.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, crypto::ring, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{MaybeTls, TlsError, binding};

/// How long a client may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The `[tls]` section: PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, followed by its intermediates.
    pub cert: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// TLS 1.2 and 1.3 towards clients. The files may be replaced while it serves.
pub struct ServerTls {
    files: TlsFiles,
    alpn: Vec<Vec<u8>>,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    cert_pem: Vec<u8>,
    acceptor: TlsAcceptor,
    end_point: Option<Vec<u8>>,
    expires: Option<SystemTime>,
}

impl ServerTls {
    /// Reads the files. `alpn` names the protocols to agree on with a client that speaks ALPN; one
    /// that offers only others is refused, one that offers none is served. Blocking.
    pub fn load(files: TlsFiles, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        warn_if_exposed(&files.key);
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|name| name.to_vec()).collect();
        let current = ArcSwap::from_pointee(Loaded::read(&files, &alpn)?);
        Ok(Self { files, alpn, current })
    }

    /// Reads the files again; new connections use what they hold now. Returns whether the
    /// certificate changed. On an error the old one stays in force. Blocking.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let loaded = Loaded::read(&self.files, &self.alpn)?;
        let changed = loaded.cert_pem != self.current.load().cert_pem;
        if changed {
            warn_if_exposed(&self.files.key);
            self.current.store(Arc::new(loaded));
            tracing::info!(cert = %self.files.cert.display(), "TLS certificate reloaded");
        }
        Ok(changed)
    }

    /// Performs the handshake as the server, within 10 seconds. Not cancel-safe: the stream is
    /// spent.
    pub async fn accept<S>(&self, stream: S) -> Result<MaybeTls<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.current.load().acceptor.clone();
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(tls)) => Ok(MaybeTls::Accepted(Box::new(tls))),
            Ok(Err(source)) => Err(TlsError::Handshake(source)),
            Err(_) => Err(TlsError::Timeout),
        }
    }

    /// The `tls-server-end-point` channel binding data of the certificate in force (RFC 5929,
    /// section 4); none where its signature names no hash.
    pub fn end_point(&self) -> Option<Vec<u8>> {
        self.current.load().end_point.clone()
    }

    /// When the certificate in force ceases to hold.
    pub fn expires(&self) -> Option<SystemTime> {
        self.current.load().expires
    }
}

impl Loaded {
    fn read(files: &TlsFiles, alpn: &[Vec<u8>]) -> Result<Self, TlsError> {
        let cert_pem = read(&files.cert)?;
        let key_pem = zeroize::Zeroizing::new(read(&files.key)?);
        let unusable = |path: &Path, why: String| TlsError::Pem { path: path.to_owned(), why };
        let chain = CertificateDer::pem_slice_iter(&cert_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| unusable(&files.cert, e.to_string()))?;
        let Some(leaf) = chain.first() else {
            return Err(unusable(&files.cert, "it holds no certificate".to_owned()));
        };
        let (end_point, expires) = (binding::server_end_point(leaf), expiry(leaf));
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|_| unusable(&files.key, "it holds no unencrypted private key".to_owned()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS12, &version::TLS13])
            .map_err(TlsError::Settings)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|source| TlsError::Pair { cert: files.cert.clone(), key: files.key.clone(), source })?;
        config.alpn_protocols = alpn.to_vec();
        Ok(Self { cert_pem, acceptor: TlsAcceptor::from(Arc::new(config)), end_point, expires })
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity.not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source: io::Error| TlsError::Read { path: path.to_owned(), source })
}

/// A group may read the key, as Debian's `ssl-cert` does; nobody else should.
fn warn_if_exposed(key: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = fs::metadata(key) else { return };
    if metadata.permissions().mode() & 0o037 != 0 {
        tracing::warn!(key = %key.display(), "other users of this machine can read or change the TLS key: run `chmod 600` on it");
    }
}
