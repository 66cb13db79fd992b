//! Network addresses in binary: `network_send` in `src/backend/utils/adt/network.c`, and `mac.c`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Kind, push};

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6` of `src/include/utils/inet.h`.
const IPV4: u8 = 2;
const IPV6: u8 = 3;

/// Appends an `inet` or a `cidr`.
pub(crate) fn render_inet(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (&[family, bits, is_cidr, length], address) = value.split_first_chunk::<4>()?;
    let width = match (family, length) {
        (IPV4, 4) => {
            push(out, Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?));
            32
        }
        (IPV6, 16) => {
            push(out, Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?));
            128
        }
        _ => return None,
    };
    if bits > width {
        return None;
    }
    if bits < width || is_cidr == 1 {
        push(out, format_args!("/{bits}"));
    }
    Some(())
}

/// Appends a `macaddr` or a `macaddr8`.
pub(crate) fn render_mac(value: &[u8], kind: Kind, out: &mut Vec<u8>) -> Option<()> {
    let length = if kind == Kind::MacAddr { 6 } else { 8 };
    if value.len() != length {
        return None;
    }
    for (index, byte) in value.iter().enumerate() {
        push(out, format_args!("{}{byte:02x}", if index == 0 { "" } else { ":" }));
    }
    Some(())
}
