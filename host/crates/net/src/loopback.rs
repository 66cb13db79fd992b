//! What never leaves this machine, and so may do without TLS.

use std::net::IpAddr;

/// Whether an address is a loopback address, also where it is an IPv4 one written as IPv6 (RFC 4291, section
/// 2.5.5.2).
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether a host, as a URL or a `host:port` has it, is a loopback address or `localhost` (RFC 6761, section
/// 6.3). An IPv6 address may stand in brackets.
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().map_or_else(|_| host.eq_ignore_ascii_case("localhost"), is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine_alone_are_loopback() {
        for host in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", "[::ffff:7f00:1]", "LocalHost"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["", "[", "10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "127.0.0.1.example.com", "localhost.com"]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
