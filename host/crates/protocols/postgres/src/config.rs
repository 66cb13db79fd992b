//! What a `[[target]]` of protocol `postgres` says, and the target made ready to dial. The keys that
//! every protocol's targets share (`name`, `protocol`, `allow`, `policy`) are the host's to read.

use std::{fmt, net::IpAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use sluicegate_core::secret::{LeaseSource, SecretSource};
use sluicegate_credentials::Credentials;
use sluicegate_net::{ClientTls, SessionLimits, TlsError, TlsMode};

/// What PostgreSQL's TLS calls its protocol in ALPN, from version 17 on.
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
pub const ALPN: &[u8] = b"postgresql";

const DEFAULT_CONNECT_TIMEOUT: u64 = 10;
const MAX_CONNECT_TIMEOUT: u64 = 300;
const MAX_ADDRESSES: usize = 8;
const REUSE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// The target as configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct TargetConfig {
    /// Where it listens: one address, or several that are tried in order.
    pub address: Addresses,
    /// The database to open.
    pub database: String,
    /// As whom to log in.
    pub login: Login,
    /// How the connection is protected. Default: `verify-full`, and `disable` for a loopback
    /// address.
    pub sslmode: Option<TlsMode>,
    /// PEM file of the authorities (or the very certificate) to trust. Default: the system's.
    pub ca: Option<PathBuf>,
    /// Seconds from the first packet until the server is ready for a query, 1 to 300.
    pub connect_timeout: u64,
    /// How long the connection of a session that has ended waits for the next session of the same identity.
    /// Default: it ends with its session.
    pub reuse: Option<Duration>,
    /// Whether commands that need an approval are held inside a transaction. Default: `allow`.
    pub hold_in_transaction: HoldInTransaction,
}

/// As whom the gateway logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// As one role for all sessions.
    Role {
        /// The role.
        username: String,
        /// Its password, where the server asks for one. Read anew for each connection.
        password: Option<SecretSource>,
    },
    /// As a role that is lent for each connection.
    Lent(LeaseSource),
}

/// The target as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: Addresses,
    database: String,
    username: Option<String>,
    password: Option<SecretSource>,
    credentials: Option<LeaseSource>,
    sslmode: Option<TlsMode>,
    ca: Option<PathBuf>,
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    connect_timeout: u64,
    #[serde(default, deserialize_with = "reuse")]
    reuse: Option<Duration>,
    #[serde(default)]
    hold_in_transaction: HoldInTransaction,
}

/// Keys that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nobody to log in as.
    #[error(
        "missing field `username`: name the role to log in as, or have one lent by `credentials = {{ vault = \"database/creds/NAME\" }}`"
    )]
    Nobody,
    /// Two ways to log in.
    #[error("a target logs in with `username` and `password`, or with `credentials`, and here are both; remove one")]
    Both,
    /// A lease belongs to one session.
    #[error(
        "`credentials` are lent to one session and end with it, so they do not go together with `reuse`; remove one"
    )]
    Reuse,
}

impl TryFrom<Written> for TargetConfig {
    type Error = ConfigError;

    fn try_from(written: Written) -> Result<Self, ConfigError> {
        let Written { address, database, sslmode, ca, connect_timeout, reuse, hold_in_transaction, .. } = written;
        let login = match (written.credentials, written.username, written.password) {
            (None, Some(username), password) => Login::Role { username, password },
            (None, None, _) => return Err(ConfigError::Nobody),
            (Some(_), None, None) if reuse.is_some() => return Err(ConfigError::Reuse),
            (Some(source), None, None) => Login::Lent(source),
            (Some(_), ..) => return Err(ConfigError::Both),
        };
        Ok(Self { address, database, login, sslmode, ca, connect_timeout, reuse, hold_in_transaction })
    }
}

/// What happens to a command that needs an approval while a transaction is open, and so keeps locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldInTransaction {
    /// It is held, and the client is told that the locks are held too.
    #[default]
    Allow,
    /// It is refused.
    Deny,
}

impl TargetConfig {
    /// The mode in force.
    pub fn tls_mode(&self) -> TlsMode {
        let default =
            if self.address.iter().all(Address::is_loopback) { TlsMode::Disable } else { TlsMode::VerifyFull };
        self.sslmode.unwrap_or(default)
    }
}

/// A target at one of its addresses, whose trusted certificates have been read. Shared by its sessions.
pub struct Target {
    config: TargetConfig,
    address: Address,
    tls: Option<ClientTls>,
    credentials: Arc<Credentials>,
    limits: SessionLimits,
}

impl Target {
    /// Reads what dialling needs but its secrets, which `credentials` gives when it is dialled, and returns the
    /// target at each of its addresses, in their order: one or more. Blocking.
    pub fn prepare(config: &TargetConfig, credentials: &Arc<Credentials>) -> Result<Vec<Self>, TlsError> {
        let tls = ClientTls::load(config.tls_mode(), config.ca.as_deref(), &[ALPN])?;
        let at = |address: &Address| Self {
            config: config.clone(),
            address: address.clone(),
            tls: tls.clone(),
            credentials: Arc::clone(credentials),
            limits: SessionLimits::default(),
        };
        Ok(config.address.iter().map(at).collect())
    }

    /// The same, with bounds for its sessions.
    pub fn within(self, limits: SessionLimits) -> Self {
        Self { limits, ..self }
    }

    /// Whether it is configured as the other one, and at the same address.
    pub fn is_same(&self, other: &Self) -> bool {
        self.config == other.config && self.address == other.address
    }

    /// Where it is dialled.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// As configured.
    pub fn config(&self) -> &TargetConfig {
        &self.config
    }

    pub(crate) fn limits(&self) -> SessionLimits {
        self.limits
    }

    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// How long dialling this address may take: an equal share of the whole.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.config.connect_timeout) / self.config.address.count()
    }
}

/// The addresses of one target, in the order in which they are tried: 1 to 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(Vec<Address>);

impl Addresses {
    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }

    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

/// Reads one address or a list of them.
struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Addresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"db.example.com:5432\", or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Addresses, E> {
        Ok(Addresses(vec![text.parse().map_err(E::custom)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
        let mut addresses = Vec::new();
        while let Some(address) = list.next_element::<Address>()? {
            if addresses.contains(&address) {
                return Err(A::Error::custom(format!("`{address}` is named twice; keep one of them")));
            }
            addresses.push(address);
        }
        if !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
            let count = addresses.len();
            return Err(A::Error::custom(format!("a target has 1 to {MAX_ADDRESSES} addresses, and here are {count}")));
        }
        Ok(Addresses(addresses))
    }
}

/// `host:port`, where host is a name, an IPv4 address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Whether it stays on this machine by its name: a loopback address or `localhost` (RFC 6761).
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// The text is not an address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an address: write `host:port`, for example `db.example.com:5432` or `[::1]:5432`")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = match bracketed {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', '[', ']', ' ', '\0']),
        };
        if !valid || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: bracketed.unwrap_or(host).to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

fn default_timeout() -> u64 {
    DEFAULT_CONNECT_TIMEOUT
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        seconds @ 1..=MAX_CONNECT_TIMEOUT => Ok(seconds),
        other => Err(D::Error::custom(format!(
            "`connect_timeout` is {other}, but must be 1 to {MAX_CONNECT_TIMEOUT} seconds"
        ))),
    }
}

fn reuse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let wrong = |text: &str| D::Error::custom(format!("`reuse` is `{text}`, but must be 1s to 10min, such as `30s`"));
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(time) if REUSE.contains(&time) => Ok(Some(time)),
        _ => Err(wrong(&text.escape_debug().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(more: &str) -> Result<TargetConfig, toml::de::Error> {
        toml::from_str(&format!("database = \"orders\"\nusername = \"app\"\n{more}"))
    }

    #[test]
    fn the_default_mode_depends_on_the_address() {
        let remote = target("address = \"db.example.com:5432\"").unwrap();
        assert_eq!((remote.tls_mode(), remote.connect_timeout), (TlsMode::VerifyFull, 10));
        for address in ["127.0.0.1:5432", "[::1]:5432", "localhost:5432", "[::ffff:127.0.0.1]:1"] {
            let local = target(&format!("address = \"{address}\"")).unwrap();
            assert_eq!(local.tls_mode(), TlsMode::Disable, "{address}");
            assert_eq!(local.address.iter().map(Address::to_string).collect::<Vec<_>>(), [address]);
        }
        let chosen = target("address = \"10.0.0.1:5432\"\nsslmode = \"require\"").unwrap();
        assert_eq!(chosen.tls_mode(), TlsMode::Require);
    }

    #[test]
    fn several_addresses_keep_their_order_and_share_the_time() {
        let several = target("address = [\"127.0.0.1:2\", \"localhost:1\", \"[::1]:3\"]\nconnect_timeout = 9").unwrap();
        assert_eq!(several.tls_mode(), TlsMode::Disable);
        let places = Target::prepare(&several, &Credentials::new()).unwrap();
        let addresses: Vec<_> = places.iter().map(|place| place.address().to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:2", "localhost:1", "[::1]:3"]);
        assert!(places.iter().all(|place| place.connect_timeout() == Duration::from_secs(3)));
        let one_remote = target("address = [\"127.0.0.1:2\", \"10.0.0.1:1\"]").unwrap();
        assert_eq!(one_remote.tls_mode(), TlsMode::VerifyFull);
        let nine: Vec<_> = (1..10).map(|port| format!("\"db:{port}\"")).collect();
        for wrong in ["", "\"db\"", "\"db:1\", \"db:1\"", "5432", &nine.join(", ")] {
            assert!(target(&format!("address = [{wrong}]")).is_err(), "{wrong}");
        }
        let number = target("address = 5432").unwrap_err().to_string();
        assert!(number.contains("an address such as \"db.example.com:5432\", or a list of them"), "{number}");
    }

    #[test]
    fn a_role_or_a_lease_and_not_both() {
        let target = |login: &str| {
            let text = format!("address = \"db:1\"\ndatabase = \"orders\"\n{login}");
            toml::from_str::<TargetConfig>(&text).map(|config| config.login).map_err(|error| error.message().to_owned())
        };
        let lent = "credentials = { vault = \"database/creds/orders\" }";
        let Login::Lent(source) = target(lent).unwrap() else { panic!("a lease") };
        assert_eq!(source.vault.to_string(), "database/creds/orders");
        let Login::Role { username, password: Some(SecretSource::Exec(_)) } =
            target("username = \"app\"\npassword = { exec = [\"helper\"] }").unwrap()
        else {
            panic!("a role")
        };
        assert_eq!(username, "app");
        for (wrong, error) in [
            ("", ConfigError::Nobody),
            ("password = { env = \"X\" }", ConfigError::Nobody),
            (&format!("username = \"app\"\n{lent}"), ConfigError::Both),
            (&format!("password = {{ env = \"X\" }}\n{lent}"), ConfigError::Both),
            (&format!("reuse = \"30s\"\n{lent}"), ConfigError::Reuse),
        ] {
            assert_eq!(target(wrong).unwrap_err(), error.to_string(), "{wrong}");
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for wrong in ["db.example.com", "db:port", ":5432", "db:0", "::1:5432", "[db]:5432", "postgres://db:5432"] {
            assert!(target(&format!("address = \"{wrong}\"")).is_err(), "{wrong}");
        }
        assert!(target("address = \"db:1\"\nsslmode = \"prefer\"").is_err());
        assert!(target("address = \"db:1\"\nconnect_timeout = 0").is_err());
        for wrong in ["500ms", "11min", "soon", "30"] {
            let error = target(&format!("address = \"db:1\"\nreuse = \"{wrong}\"")).unwrap_err().to_string();
            assert!(error.contains("`reuse`") && error.contains(wrong), "{error}");
        }
        let reused = target("address = \"db:1\"\nreuse = \"30s\"").unwrap();
        assert_eq!(reused.reuse, Some(Duration::from_secs(30)));
        assert!(target("address = \"db:1\"\npasword = { env = \"X\" }").is_err());
    }
}
