//! A byte stream that is plain or inside TLS, at either end.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use crate::binding;

/// Plain, or inside TLS.
#[derive(Debug)]
pub enum MaybeTls<S = TcpStream> {
    /// Not encrypted.
    Plain(S),
    /// The gateway is the TLS server.
    Accepted(Box<server::TlsStream<S>>),
    /// The gateway is the TLS client.
    Connected(Box<client::TlsStream<S>>),
}

impl<S> MaybeTls<S> {
    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            Self::Accepted(tls) => tls.get_ref().0,
            Self::Connected(tls) => tls.get_ref().0,
        }
    }

    /// The protocol that ALPN settled on, if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Accepted(tls) => tls.get_ref().1.alpn_protocol(),
            Self::Connected(tls) => tls.get_ref().1.alpn_protocol(),
        }
    }

    /// The `tls-server-end-point` channel binding data (RFC 5929, section 4) of the server that
    /// this stream connected to. None where it is not encrypted, where the gateway is the server
    /// ([`crate::ServerTls::end_point`] knows then), or where the certificate's signature names no
    /// hash.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Connected(tls) => binding::server_end_point(tls.get_ref().1.peer_certificates()?.first()?),
            Self::Plain(_) | Self::Accepted(_) => None,
        }
    }
}

/// Calls the same method on whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            MaybeTls::Plain($stream) => $call,
            MaybeTls::Accepted($stream) => $call,
            MaybeTls::Connected($stream) => $call,
        }
    };
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Accepted(tls) => tls.is_write_vectored(),
            Self::Connected(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}
