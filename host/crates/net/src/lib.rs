//! The network's edge, for every protocol: listeners with their limits, the PROXY protocol, how long sessions
//! last, TLS towards clients and towards targets, channel binding data, and the stream that is either plain
//! or encrypted. What is said on the stream is the protocols' business.

mod binding;
mod client_tls;
mod error;
mod lifetime;
mod listener;
mod loopback;
mod owner;
mod proxy;
mod refused;
mod server_tls;
mod slot;
mod stop;
mod stream;
mod verify;

pub use client_tls::{ClientTls, TlsMode};
pub use error::{BindError, TlsError};
pub use lifetime::{Lifetime, Over, SessionLimits};
pub use listener::{Exposure, Limits, Listener, tune};
pub use loopback::{is_loopback, is_loopback_host};
pub use owner::is_own_peer;
pub use proxy::{Network, NetworkError, Proxies, ProxyError};
pub use server_tls::{ServerTls, TlsFiles};
pub use slot::Slot;
pub use stop::{Stop, Stopper, stop_channel};
pub use stream::MaybeTls;
