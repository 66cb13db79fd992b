//! What can go wrong at the network's edge.

use std::{io, net::SocketAddr, path::PathBuf};

use rustls::{CertificateError, OtherError};

use crate::TlsMode;

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or the key's file cannot be read.
    #[error("the file `{path}` cannot be read; check its path and permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not the PEM that it should be.
    #[error("the file `{path}` is not usable PEM: {why}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The certificate and the key do not work together.
    #[error("the certificate `{cert}` cannot be used with the key `{key}`; they must belong together")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// A certificate authority was named, but the mode verifies nothing.
    #[error("`ca` is set, but sslmode `{0}` verifies nothing; set sslmode to verify-full or verify-ca, or remove `ca`")]
    UselessCa(TlsMode),
    /// The system has no trusted certificates.
    #[error("this system has no trusted certificates; set `ca` to the file of the authority to trust")]
    NoRoots,
    /// The TLS library refuses the settings.
    #[error("the TLS settings are not usable")]
    Settings(#[source] rustls::Error),
    /// The host is neither a DNS name nor an IP address.
    #[error("`{0}` is neither a DNS name nor an IP address, so no certificate can prove it")]
    Name(String),
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The handshake took too long.
    #[error("the TLS handshake did not finish in time")]
    Timeout,
}

impl TlsError {
    /// Whether the other end showed the certificate of an authority as its own, as those who sign their own
    /// certificate with OpenSSL's defaults do (RFC 5280, section 4.2.1.9).
    pub fn is_authority(&self) -> bool {
        let Self::Handshake(error) = self else { return false };
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        // rustls keeps the reason as an error of its certificate library.
        matches!(cause, Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))))
            if why.to_string() == "CaUsedAsEndEntity")
    }
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be resolved.
    #[error("the address `{address}` cannot be resolved; write `ip:port`")]
    Resolve {
        /// The address as configured.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Without TLS only loopback addresses are served.
    #[error(
        "`{0}` is not a loopback address and there is no [tls] section; add `cert` and `key` there, or set `allow_plaintext = true` if something else encrypts the way"
    )]
    Plaintext(SocketAddr),
    /// The system refuses the address.
    #[error("cannot listen on `{address}`; {}", next_step(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What to do about an address that the system refuses.
fn next_step(refused: &io::Error) -> &'static str {
    match refused.kind() {
        io::ErrorKind::AddrInUse => "stop the program that listens there, or choose another port",
        io::ErrorKind::AddrNotAvailable => "choose an address that this machine has",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 on, or allow this one to the gateway's user",
        _ => "choose another address",
    }
}
