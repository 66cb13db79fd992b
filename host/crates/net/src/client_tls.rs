//! TLS towards targets, in the modes that libpq's `sslmode` made familiar.
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use std::{fmt, fs, path::Path, sync::Arc};

use rustls::{ClientConfig, crypto::ring, version};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{
    MaybeTls, TlsError,
    verify::{Check, Trust, Verifier},
};

/// How a target is reached. There is no mode that falls back to plaintext by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// In plaintext.
    Disable,
    /// Encrypted, but the other end could be anybody.
    Require,
    /// The certificate must come from a trusted authority.
    VerifyCa,
    /// The certificate must come from a trusted authority and name the host.
    VerifyFull,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

/// Settings of encrypted connections to one target. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    mode: TlsMode,
}

impl ClientTls {
    /// Reads the trusted certificates: those of the PEM file `ca`, or the system's. `None` where
    /// the mode is `disable`. Blocking.
    pub fn load(mode: TlsMode, ca: Option<&Path>, alpn: &[&[u8]]) -> Result<Option<Self>, TlsError> {
        let check = match mode {
            TlsMode::Disable | TlsMode::Require if ca.is_some() => return Err(TlsError::UselessCa(mode)),
            TlsMode::Disable => return Ok(None),
            TlsMode::Require => Check::Nothing,
            TlsMode::VerifyCa => Check::Chain,
            TlsMode::VerifyFull => Check::ChainAndName,
        };
        let trust = match (check, ca) {
            (Check::Nothing, _) => Trust::nobody(),
            (_, Some(path)) => trust_in(path)?,
            (_, None) => trust_in_system()?,
        };
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier { check, trust, provider: Arc::clone(&provider) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS12, &version::TLS13])
            .map_err(TlsError::Settings)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Some(Self { connector: TlsConnector::from(Arc::new(config)), mode }))
    }

    /// Whether the other end's certificate is checked.
    pub fn verifies(&self) -> bool {
        matches!(self.mode, TlsMode::VerifyCa | TlsMode::VerifyFull)
    }

    /// Performs the handshake as a client that wants to reach `host`, a DNS name or an IP address.
    /// The caller bounds its time. Not cancel-safe: the stream is spent.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<MaybeTls<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        let tls = self.connector.connect(name, stream).await.map_err(TlsError::Handshake)?;
        Ok(MaybeTls::Connected(Box::new(tls)))
    }
}

fn trust_in(path: &Path) -> Result<Trust, TlsError> {
    let pem = fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    let unusable = |why: String| TlsError::Pem { path: path.to_owned(), why };
    let mut trust = Trust::nobody();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        trust.roots.add(certificate.clone()).map_err(|e| unusable(e.to_string()))?;
        trust.pinned.push(certificate);
    }
    if trust.pinned.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(trust)
}

fn trust_in_system() -> Result<Trust, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut trust = Trust::nobody();
    let (added, _ignored) = trust.roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(TlsError::NoRoots);
    }
    Ok(trust)
}
