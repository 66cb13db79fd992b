//! Where holds are announced to: a URL that is safe to post commands to.

use std::{fmt, str::FromStr};

use reqwest::Url;
use sluicegate_net::is_loopback_host;

/// A webhook's URL: `https://`, or `http://` on this machine, without a user or a password. Whoever knows it
/// may be able to post there too, so its `Debug` leaves out the path.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a text is no webhook's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It is no URL.
    #[error("the webhook's `url` is not a URL")]
    NoUrl,
    /// Nobody can be reached by it.
    #[error("the webhook's `url` names no host")]
    NoHost,
    /// Credentials would be sent along.
    #[error("the webhook's `url` holds a user or a password")]
    Credentials,
    /// What is announced could be read by others.
    #[error(
        "the webhook's `url` leaves this machine without TLS, and commands that are held would be readable on the way"
    )]
    Plaintext,
    /// It is for another protocol than HTTP.
    #[error("the webhook's `url` is neither `https://` nor `http://`")]
    Scheme,
}

impl WebhookUrl {
    /// The whole of it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let url = Url::parse(text).map_err(|_| WebhookUrlError::NoUrl)?;
        let host = url.host_str().ok_or(WebhookUrlError::NoHost)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookUrlError::Credentials);
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback_host(host) => Ok(Self(url)),
            "http" => Err(WebhookUrlError::Plaintext),
            _ => Err(WebhookUrlError::Scheme),
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebhookUrl").field(&self.0.origin().ascii_serialization()).finish()
    }
}

impl WebhookUrlError {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::NoUrl | Self::NoHost | Self::Scheme => {
                "write, for example, `url = \"https://chat.example.com/hooks/approvals\"`"
            }
            Self::Credentials => {
                "remove it: each request is signed with `secret`, by which the receiver knows the gateway"
            }
            Self::Plaintext => "use `https://`; `http://` is for 127.0.0.1, ::1 and localhost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_would_not_protect_is_refused() {
        for url in ["https://hooks.example.com/x", "http://127.0.0.1:1/x", "http://[::1]:1/", "http://localhost/"] {
            assert_eq!(url.parse::<WebhookUrl>().unwrap().as_str(), url);
        }
        for (url, why) in [
            ("", WebhookUrlError::NoUrl),
            ("hooks", WebhookUrlError::NoUrl),
            ("mailto:dba@example.com", WebhookUrlError::NoHost),
            ("https://gate:sesame@hooks.example.com/", WebhookUrlError::Credentials),
            ("http://hooks.example.com/x", WebhookUrlError::Plaintext),
            ("http://127.0.0.1.example.com/", WebhookUrlError::Plaintext),
            ("ftp://127.0.0.1/", WebhookUrlError::Scheme),
        ] {
            assert_eq!(url.parse::<WebhookUrl>(), Err(why), "{url}");
        }
    }

    #[test]
    fn debug_does_not_show_the_path() {
        let shown = format!("{:?}", "https://hooks.example.com/T0PS3CRET".parse::<WebhookUrl>());
        assert!(shown.contains("hooks.example.com") && !shown.contains("T0PS3CRET"), "{shown}");
    }
}
