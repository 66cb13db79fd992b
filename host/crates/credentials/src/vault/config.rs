//! What `[vault]` says.

use std::path::{Path, PathBuf};

use reqwest::Url;
use sluicegate_core::secret::SecretSource;
use sluicegate_net::is_loopback_host;

/// Where Vault is, and how the gateway proves to it who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultConfig {
    /// Where it listens.
    pub address: VaultAddress,
    /// PEM file of the authorities to trust. None for the system's.
    pub ca: Option<PathBuf>,
    /// The namespace that its paths are in.
    pub namespace: Option<String>,
    /// The token: not one that is in Vault. Read anew for each request.
    pub token: SecretSource,
}

impl VaultConfig {
    /// Makes paths independent of the working folder.
    pub fn resolve(&mut self, base: &Path) {
        self.token.resolve(base);
        if let Some(ca) = &mut self.ca {
            *ca = base.join(&ca);
        }
    }
}

/// A URL to which a token may be sent: `https://`, or `http://` to this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultAddress(Url);

/// Not such a URL. Quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultAddressError {
    /// Not a URL.
    #[error("Vault's `address` is not a URL: write `https://vault.example.com:8200`")]
    Url,
    /// Tokens would be sent in the clear.
    #[error("Vault's `address` must be https://; http:// is for a Vault on this machine")]
    Plaintext,
    /// Something that belongs elsewhere.
    #[error("Vault's `address` holds more than a host, a port and a path; a token belongs in `token`")]
    More,
}

impl VaultAddress {
    /// The URL of a path of the API.
    pub(super) fn api<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        // An http URL has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(parts);
        }
        url
    }

    /// Whether it is on this machine, without TLS.
    pub(super) fn is_plaintext(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl std::str::FromStr for VaultAddress {
    type Err = VaultAddressError;

    fn from_str(text: &str) -> Result<Self, VaultAddressError> {
        let url: Url = text.parse().map_err(|_| VaultAddressError::Url)?;
        let host = url.host_str().ok_or(VaultAddressError::Url)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback_host(host) => {}
            "http" => return Err(VaultAddressError::Plaintext),
            _ => return Err(VaultAddressError::Url),
        }
        let more = !url.username().is_empty() || url.password().is_some();
        if more || url.query().is_some() || url.fragment().is_some() {
            return Err(VaultAddressError::More);
        }
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_where_nobody_listens_are_addresses() {
        for good in
            ["https://vault.example.com:8200", "http://127.0.0.1:8200", "http://[::1]:8200/", "http://localhost"]
        {
            assert!(good.parse::<VaultAddress>().is_ok(), "{good}");
        }
        for (wrong, why) in [
            ("vault.example.com:8200", VaultAddressError::Url),
            ("ftp://127.0.0.1", VaultAddressError::Url),
            ("", VaultAddressError::Url),
            ("http://vault.example.com:8200", VaultAddressError::Plaintext),
            ("https://gate:hunter2@vault.example.com", VaultAddressError::More),
            ("https://vault.example.com/?token=hunter2", VaultAddressError::More),
        ] {
            assert_eq!(wrong.parse::<VaultAddress>(), Err(why), "{wrong}");
            assert!(!why.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_path_cannot_leave_the_api() {
        let address: VaultAddress = "https://vault.example.com/proxy/".parse().unwrap();
        let url = address.api(["secret", "data", "a b?c#d%2F"]);
        assert_eq!(url.as_str(), "https://vault.example.com/proxy/v1/secret/data/a%20b%3Fc%23d%252F");
    }
}
