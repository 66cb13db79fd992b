//! Whose a connection within this machine is: a loopback port is reached by every user of the machine, and the kernel
//! knows which of them opened the other end.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
};

/// Where Linux lists its TCP sockets (proc(5), `/proc/net/tcp`), and before an address there what it begins with: a client
/// may speak to 127.0.0.1 through an IPv6 socket (RFC 4291, section 2.5.5.2), as those in Java do.
const LISTS: [(&str, &str); 2] = [("/proc/net/tcp", ""), ("/proc/net/tcp6", "0000000000000000FFFF0000")];
/// How often the lists are read until it counts that a socket is not there: they change while they are read.
const LOOKS: u32 = 3;

/// Whether the other end of a loopback connection is a socket of this process's user; none where the system does not say.
/// Blocking: reads the kernel's lists of sockets. For connections to 127.0.0.1 alone.
pub fn is_own_peer(peer: SocketAddr, own: SocketAddr) -> Option<bool> {
    let (SocketAddr::V4(peer), SocketAddr::V4(own)) = (peer, own) else { return None };
    let user = rustix::process::geteuid().as_raw();
    for _ in 0..LOOKS {
        for (list, before) in LISTS {
            let ends = [peer, own].map(|end| format!("{before}{}:{:04X}", bits(*end.ip()), end.port()));
            match fs::read_to_string(list) {
                Ok(sockets) => {
                    if let Some(owner) = owner(&sockets, &ends) {
                        return Some(owner == user);
                    }
                }
                // Without IPv6 there is no list of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !before.is_empty() => {}
                Err(_) => return None,
            }
        }
    }
    Some(false)
}

/// An address as the kernel keeps it: with its bytes in the machine's order.
fn bits(address: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(address.octets()))
}

/// The user of the socket between these ends.
fn owner(sockets: &str, ends: &[String; 2]) -> Option<u32> {
    sockets.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_it = fields.next()? == ends[0] && fields.next()? == ends[1];
        // State, queues, timer and retransmissions stand before the user.
        is_it.then(|| fields.nth(4)?.parse().ok()).flatten()
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::{AddressFamily, SocketType, connect, socket};

    use super::*;

    #[test]
    fn ones_own_connection_is_ones_own_and_one_that_is_not_there_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let own = accepted.local_addr().unwrap();
        assert_eq!(is_own_peer(peer, own), Some(true));
        drop((client, accepted));
        assert_eq!(is_own_peer("127.0.0.1:1".parse().unwrap(), own), Some(false));
        assert_eq!(is_own_peer("[::1]:1".parse().unwrap(), own), None);
    }

    #[test]
    fn a_client_may_come_through_an_ipv6_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to: SocketAddr = format!("[::ffff:127.0.0.1]:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let client = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        connect(&client, &to).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        assert_eq!(is_own_peer(peer, accepted.local_addr().unwrap()), Some(true));
    }

    #[test]
    fn the_owner_is_read_from_the_line_of_both_ends() {
        let line = "   1: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0";
        let ends = ["0100007F:1F90".to_owned(), "0100007F:0050".to_owned()];
        assert_eq!(owner(line, &ends), Some(1000));
        let [one, other] = ends;
        assert_eq!(owner(line, &[other, one]), None);
    }
}
