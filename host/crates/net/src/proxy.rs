//! The PROXY protocol, version 2: what a load balancer says ahead of a client's first byte about where
//! that client comes from. <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, section 2.2.
//!
//! Whoever may say it decides what stands in the record, so it is believed from configured networks
//! alone, and there it is required. What it may carry besides addresses is read over. Version 1, a line
//! of text, is recognised to be refused by its name.

use std::{
    io,
    net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
};

/// How every header begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How one of version 1 begins.
const VERSION_1: &[u8] = b"PROXY ";
/// The signature, the version with the command, the family with the transport, and the length of the rest.
const HEAD_BYTES: usize = 16;
/// The most bytes that may follow. Addresses have 36; a client's certificate, named in an extension, has more.
const MAX_REST: u16 = 4096;
/// How long a header may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One network, such as `10.0.0.0/8` or `2001:db8::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// The text is no network.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not a network: write an address, or an address with its prefix's length, such as `10.0.0.0/8`", .0.escape_debug())]
pub struct NetworkError(String);

/// The proxies that say for whom they connect. By default there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// Why a connection's beginning is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A configured proxy sent none.
    #[error("it comes from a configured proxy, but does not begin with a PROXY protocol header")]
    Missing,
    /// It is one of version 1.
    #[error("its PROXY protocol header is of version 1; have the proxy send version 2 (HAProxy: `send-proxy-v2`)")]
    Version1,
    /// Somebody else sent one.
    #[error("it begins with a PROXY protocol header, but does not come from a configured proxy")]
    Elsewhere,
    /// It is of a version that this is not.
    #[error("its PROXY protocol header is neither of version 2 nor a command that version 2 has")]
    Unknown,
    /// It names no client.
    #[error("its PROXY protocol header names no client that came by TCP over IPv4 or IPv6")]
    Nameless,
    /// It ends before its addresses do.
    #[error("its PROXY protocol header is too short for its addresses")]
    Short,
    /// It is longer than is read.
    #[error("its PROXY protocol header is longer than {} bytes", HEAD_BYTES + usize::from(MAX_REST))]
    Long,
    /// It did not come.
    #[error("its PROXY protocol header did not arrive within {} seconds", TIMEOUT.as_secs())]
    Timeout,
    /// The connection broke.
    #[error("the connection broke before its PROXY protocol header was whole")]
    Broke(#[source] io::Error),
}

impl Proxies {
    /// Those of these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether this is one of them.
    pub(crate) fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|Network(network)| network.contains(&address))
    }

    /// Whether there are any.
    pub(crate) fn exist(&self) -> bool {
        !self.0.is_empty()
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let single = |text: &str| -> Result<IpNet, AddrParseError> { Ok(text.parse::<IpAddr>()?.into()) };
        let network = text.parse::<IpNet>().or_else(|_| single(text));
        network.map(Self).map_err(|_| NetworkError(text.to_owned()))
    }
}

/// Reads the header that a proxy sends, and not a byte more. Returns the client; none where the proxy
/// speaks for itself, as it does to see whether the gateway lives.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    receive_within(TIMEOUT, stream).await
}

/// Refuses a header from somebody who is no proxy. Whoever says nothing for a while is the protocol's to
/// wait for. It is for the log alone: a protocol takes such a header for garbage.
pub(crate) async fn refuse_header(stream: &TcpStream) -> Result<(), ProxyError> {
    let mut first = [0; SIGNATURE.len()];
    let Ok(peeked) = tokio::time::timeout(TIMEOUT, stream.peek(&mut first)).await else { return Ok(()) };
    let count = peeked.map_err(ProxyError::Broke)?;
    let begins = first.get(..count).unwrap_or_default();
    if begins == SIGNATURE || begins.starts_with(VERSION_1) { Err(ProxyError::Elsewhere) } else { Ok(()) }
}

async fn receive_within(
    limit: Duration,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, ProxyError> {
    tokio::time::timeout(limit, read(stream)).await.unwrap_or(Err(ProxyError::Timeout))
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    let mut head = [0; HEAD_BYTES];
    let mut filled = 0;
    while let Some(room) = head.get_mut(filled..).filter(|room| !room.is_empty()) {
        filled += match stream.read(room).await.map_err(ProxyError::Broke)? {
            0 => return Err(ProxyError::Broke(io::ErrorKind::UnexpectedEof.into())),
            count => count,
        };
        // Who waits for an answer to a few bytes of something else would wait in vain.
        could_begin(head.get(..filled).unwrap_or_default())?;
    }
    let Header { source, length } = Header::parse(&head)?;
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await.map_err(ProxyError::Broke)?;
    source.read(&rest)
}

/// Whether these bytes may be how a header of version 2 begins.
fn could_begin(bytes: &[u8]) -> Result<(), ProxyError> {
    let begins_like = |whole: &[u8]| bytes.iter().zip(whole).all(|(byte, expected)| byte == expected);
    if begins_like(SIGNATURE) {
        Ok(())
    } else if begins_like(VERSION_1) && bytes.len() >= VERSION_1.len() {
        Err(ProxyError::Version1)
    } else if begins_like(VERSION_1) {
        Ok(())
    } else {
        Err(ProxyError::Missing)
    }
}

/// What the head of a header says of its rest.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    source: Source,
    length: u16,
}

/// Where the client stands in the rest.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// Nowhere: the proxy speaks for itself.
    Own,
    Tcp4,
    Tcp6,
}

impl Header {
    fn parse(head: &[u8; HEAD_BYTES]) -> Result<Self, ProxyError> {
        let [signature @ .., command, family, high, low] = head;
        if signature != SIGNATURE {
            return Err(ProxyError::Missing);
        }
        let source = match (command, family) {
            (0x20, _) => Source::Own,
            (0x21, 0x11) => Source::Tcp4,
            (0x21, 0x21) => Source::Tcp6,
            (0x21, _) => return Err(ProxyError::Nameless),
            _ => return Err(ProxyError::Unknown),
        };
        let length = u16::from_be_bytes([*high, *low]);
        if length > MAX_REST { Err(ProxyError::Long) } else { Ok(Self { source, length }) }
    }
}

impl Source {
    /// The client, of whom the rest says first the two addresses and then the two ports.
    fn read(&self, rest: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
        let client = match self {
            Self::Own => return Ok(None),
            Self::Tcp4 => rest.first_chunk().map(|[a, b, c, d, _, _, _, _, high, low, _, _]| {
                (Ipv4Addr::from([*a, *b, *c, *d]).into(), u16::from_be_bytes([*high, *low]))
            }),
            Self::Tcp6 => rest.split_first_chunk().and_then(|(address, rest)| {
                let [high, low, _, _] = rest.get(16..)?.first_chunk()?;
                Some((IpAddr::from(Ipv6Addr::from(*address)), u16::from_be_bytes([*high, *low])))
            }),
        };
        client.map(|client| Some(SocketAddr::from(client))).ok_or(ProxyError::Short)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A header with these bytes after the signature.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    const TCP4: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0xd4, 0x31, 0x3c, 0x5a];

    fn tcp6() -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        [address("2001:db8::9").as_slice(), &address("2001:db8::1"), &TCP4[8..]].concat()
    }

    /// What is made of these bytes, and of those after them.
    async fn received(bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(bytes).await.unwrap();
        theirs.write_all(b"hello").await.unwrap();
        drop(theirs);
        let result = receive(&mut ours).await;
        let mut after = Vec::new();
        ours.read_to_end(&mut after).await.unwrap();
        (result, after)
    }

    async fn refused(bytes: &[u8]) -> ProxyError {
        received(bytes).await.0.unwrap_err()
    }

    #[tokio::test]
    async fn the_client_is_read_and_nothing_of_what_it_says() {
        let extended = [TCP4.as_slice(), &[0x04, 0, 3, 1, 2, 3]].concat();
        for (bytes, client) in [
            (header(0x21, 0x11, &TCP4), Some("203.0.113.9:54321")),
            (header(0x21, 0x11, &extended), Some("203.0.113.9:54321")),
            (header(0x21, 0x21, &tcp6()), Some("[2001:db8::9]:54321")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x11, &TCP4), None),
        ] {
            let (result, after) = received(&bytes).await;
            assert_eq!(result.unwrap(), client.map(|client| client.parse().unwrap()), "{bytes:x?}");
            assert_eq!(after, b"hello");
        }
    }

    #[tokio::test]
    async fn what_names_no_client_is_refused() {
        assert!(matches!(refused(b"PROXY TCP4 203.0.113.9 192.0.2.1 5 6\r\n").await, ProxyError::Version1));
        assert!(matches!(refused(b"\0\0\0\x08\x04\xd2\x16\x2f").await, ProxyError::Missing));
        assert!(matches!(refused(b"PRO").await, ProxyError::Missing));
        let mut other = header(0x21, 0x11, &TCP4);
        other[11] = b'\r';
        assert!(matches!(refused(&other).await, ProxyError::Missing));
        for command in [0x11, 0x22, 0x31, 0x00, 0x01] {
            assert!(matches!(refused(&header(command, 0x11, &TCP4)).await, ProxyError::Unknown), "{command:x}");
        }
        // Unspecified, by UDP, from a Unix socket.
        for family in [0x00, 0x12, 0x22, 0x31, 0x32, 0x41] {
            assert!(matches!(refused(&header(0x21, family, &tcp6())).await, ProxyError::Nameless), "{family:x}");
        }
        for (family, rest) in [(0x11, &TCP4[..11]), (0x11, &[]), (0x21, &tcp6()[..35]), (0x21, &TCP4)] {
            assert!(matches!(refused(&header(0x21, family, rest)).await, ProxyError::Short), "{family:x}");
        }
    }

    #[tokio::test]
    async fn length_is_bounded_before_it_is_read() {
        let most = [TCP4.as_slice(), &[0; MAX_REST as usize - TCP4.len()]].concat();
        assert!(received(&header(0x21, 0x11, &most)).await.0.unwrap().is_some());
        let more = [most.as_slice(), &[0]].concat();
        assert!(matches!(refused(&header(0x21, 0x11, &more)).await, ProxyError::Long));
        assert!(matches!(refused(&header(0x20, 0x00, &more)).await, ProxyError::Long));
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        for part in [&b""[..], &SIGNATURE[..7], &header(0x21, 0x11, &TCP4)[..20]] {
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(part).await.unwrap();
            let waited = receive_within(Duration::from_millis(50), &mut ours).await;
            assert!(matches!(waited, Err(ProxyError::Timeout)));
            drop(theirs);
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(part).await.unwrap();
            drop(theirs);
            assert!(matches!(receive(&mut ours).await, Err(ProxyError::Broke(_))));
        }
    }

    #[tokio::test]
    async fn a_client_that_waits_for_an_answer_is_refused_at_once() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let begun = Instant::now();
        theirs.write_all(&[0, 0, 0, 8]).await.unwrap();
        assert!(matches!(receive(&mut ours).await, Err(ProxyError::Missing)));
        assert!(begun.elapsed() < TIMEOUT);
    }

    #[test]
    fn networks_are_addresses_with_or_without_a_prefix() {
        let proxies = |texts: &[&str]| Proxies::new(texts.iter().map(|text| text.parse().unwrap()).collect());
        let some = proxies(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]);
        for (address, included) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(some.include(address.parse().unwrap()), included, "{address}");
        }
        assert!(some.exist() && !Proxies::default().exist());
        for wrong in ["", "10.0.0.0/33", "10.0.0", "lb.internal", "10.0.0.1:80", "::/129"] {
            assert!(wrong.parse::<Network>().unwrap_err().to_string().contains("is not a network"), "{wrong}");
        }
    }
}
