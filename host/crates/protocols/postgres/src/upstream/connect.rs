//! TCP and TLS to the target.

use std::{io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use sluicegate_net::{ClientTls, MaybeTls, tune};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
};

use super::DialError;
use crate::config::Target;

/// Connects to the first of the IP addresses behind the target's address that answers; each gets an equal
/// share of the time. Returns the address too, so that a cancel request finds the same server.
pub(super) async fn open(target: &Target) -> Result<(MaybeTls, SocketAddr), DialError> {
    let address = target.address();
    let found = lookup_host((address.host.as_str(), address.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|e| DialError::Resolve(address.clone(), e))?.collect();
    let share = target.connect_timeout() / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for peer in addresses {
        match connect(peer, share).await {
            Ok(stream) => return Ok((secure(target.tls(), &address.host, stream).await?, peer)),
            Err(error) => failure = error,
        }
    }
    Err(DialError::Connect(address.clone(), failure))
}

/// Connects to this very address, with the same protection.
pub(super) async fn open_at(target: &Target, peer: SocketAddr) -> Result<MaybeTls, DialError> {
    let stream = connect(peer, target.connect_timeout()).await;
    let stream = stream.map_err(|e| DialError::Connect(target.address().clone(), e))?;
    secure(target.tls(), &target.address().host, stream).await
}

pub(crate) async fn connect(peer: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let connecting = tokio::time::timeout(limit, TcpStream::connect(peer)).await;
    let stream = connecting.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))?;
    tune(&stream)?;
    Ok(stream)
}

/// Asks for TLS, where there has to be some. Exactly one byte is read before the handshake, so
/// that nothing said in plaintext can later pass for something said inside TLS (CVE-2021-23222), and
/// an error's text in place of an answer is not believed (CVE-2024-10977).
pub(crate) async fn secure(tls: Option<&ClientTls>, host: &str, mut stream: TcpStream) -> Result<MaybeTls, DialError> {
    let Some(tls) = tls else { return Ok(MaybeTls::Plain(stream)) };
    let mut request = BytesMut::with_capacity(8);
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => Ok(tls.connect(host, stream).await?),
        b'N' => Err(DialError::TlsRefused),
        _ => Err(DialError::Protocol("the request for TLS was answered with neither yes nor no")),
    }
}
