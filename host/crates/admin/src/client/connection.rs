//! How the client reaches a gateway: through the socket of its data folder, or by its URL. A
//! connection that the gateway closed meanwhile is opened again.

use std::{
    io,
    path::{Path, PathBuf},
};

use http_body_util::Full;
use hyper::{
    Request, Uri,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use sluicegate_net::{ClientTls, TlsError, TlsMode, is_loopback_host};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::{ClientError, in_time};
use crate::socket;

/// One gateway, and the connection to it while there is one.
pub(super) struct Connection {
    way: Way,
    sender: Option<SendRequest<Full<Bytes>>>,
}

enum Way {
    Socket(PathBuf),
    Network { host: String, port: u16, tls: Option<ClientTls> },
}

impl Connection {
    pub(super) fn to_data_dir(data_dir: &Path) -> Self {
        Self { way: Way::Socket(data_dir.to_owned()), sender: None }
    }

    /// `https://host[:port]`, or `http://` on this machine.
    pub(super) fn to_url(url: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let refused = || ClientError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(refused)?;
        if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/")) {
            return Err(refused());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, default_port) = match uri.scheme_str() {
            Some("https") => (ClientTls::load(TlsMode::VerifyFull, ca, &[b"http/1.1"]).map_err(ClientError::Tls)?, 443),
            Some("http") if is_loopback_host(&host) => (None, 80),
            _ => return Err(refused()),
        };
        // In plaintext the name must not lead to a port that somebody else has opened on another loopback address.
        let host = if tls.is_none() && host.eq_ignore_ascii_case("localhost") { "127.0.0.1".to_owned() } else { host };
        let port = authority.port_u16().unwrap_or(default_port);
        Ok(Self { way: Way::Network { host, port, tls }, sender: None })
    }

    /// The `host` header.
    pub(super) fn host(&self) -> String {
        match &self.way {
            Way::Socket(_) => "localhost".to_owned(),
            Way::Network { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Way::Network { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// The host's name, and whether it is spoken to in TLS.
    pub(super) fn place(&self) -> Option<(&str, bool)> {
        match &self.way {
            Way::Socket(_) => None,
            Way::Network { host, tls, .. } => Some((host, tls.is_some())),
        }
    }

    /// Makes sure that there is a connection.
    pub(super) async fn open(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, ClientError> {
        if let Some(sender) = &mut self.sender {
            // The answer before was read to its end, but its connection may not have noticed yet.
            if sender.ready().await.is_err() {
                self.sender = None;
            }
        }
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.way.connect().await?,
        };
        Ok(self.sender.insert(sender))
    }

    /// Sends a request. Once the answer's body was read to its end, another can be sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, ClientError> {
        let sender = self.open().await?;
        let sent = sender.send_request(request).await;
        sent.map_err(|error| self.way.broken(error))
    }
}

impl Way {
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        match self {
            Self::Socket(data_dir) => {
                let path = socket::path(data_dir);
                match in_time(UnixStream::connect(&path)).await? {
                    Ok(stream) => speak(stream).await,
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
                    {
                        Err(ClientError::NotRunning(data_dir.clone()))
                    }
                    Err(source) => Err(ClientError::Socket { path, source }),
                }
            }
            Self::Network { host, port, tls } => {
                let unreachable = |source| ClientError::Unreachable { host: host.clone(), port: *port, source };
                let stream = in_time(TcpStream::connect((host.as_str(), *port))).await?.map_err(unreachable)?;
                match tls {
                    None => speak(stream).await,
                    Some(tls) => speak(in_time(tls.connect(host, stream)).await?.map_err(insecure)?).await,
                }
            }
        }
    }

    /// What to do about a connection that broke.
    fn broken(&self, source: hyper::Error) -> ClientError {
        match self {
            Self::Socket(_) => ClientError::Connection(source),
            Self::Network { host, port, tls } => {
                let next = match tls {
                    None => "it may speak TLS: try `https://`",
                    Some(_) => "see its log",
                };
                ClientError::Broken { at: format!("{host}:{port}"), next, source }
            }
        }
    }
}

/// What to do about a handshake that failed.
fn insecure(error: TlsError) -> ClientError {
    if error.is_authority() { ClientError::Authority(error) } else { ClientError::Tls(error) }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        in_time(http1::handshake(TokioIo::new(stream))).await?.map_err(ClientError::Connection)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the gateway broke");
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_nowhere_in_plaintext() {
        let host = |url: &str| Connection::to_url(url, None).ok().map(|connection| connection.host());
        assert_eq!(host("http://127.0.0.1:7400").as_deref(), Some("127.0.0.1:7400"));
        assert_eq!(host("http://[::1]:7400/").as_deref(), Some("[::1]:7400"));
        assert_eq!(host("http://localhost").as_deref(), Some("127.0.0.1:80"), "nobody else's `::1`");
        for url in [
            "http://gate.example.com:7400",
            "http://127.0.0.1.example.com",
            "http://alice:sesame@127.0.0.1:7400",
            "http://127.0.0.1:7400/api",
            "127.0.0.1:7400",
            "",
        ] {
            assert_eq!(host(url), None, "{url}");
        }
    }
}
