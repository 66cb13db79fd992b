//! Where the collector is.

use std::{fmt, str::FromStr};

use http::Uri;

/// Where OTLP over HTTP has traces sent, below the collector's own address.
/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>
const TRACES: &str = "v1/traces";

/// The address of a collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// Why a text is no collector's address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// It is no URL of the two schemes.
    #[error("this is no URL that begins with http:// or https://")]
    NotHttp,
    /// It holds a name or a password, which the configuration may not.
    #[error("`otlp_endpoint` holds a user or a password")]
    Credentials,
}

impl EndpointError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotHttp => "write the address of a collector that takes OTLP over HTTP: `http://127.0.0.1:4318`",
            Self::Credentials => {
                "leave them out, and start the gateway with the collector's header in its environment: `OTEL_EXPORTER_OTLP_HEADERS=authorization=...`"
            }
        }
    }
}

impl Endpoint {
    /// Where traces are posted to.
    pub(crate) fn traces(&self) -> String {
        format!("{}/{TRACES}", self.0.trim_end_matches('/'))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
        if after_scheme.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            return Err(EndpointError::Credentials);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::NotHttp)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_address = is_http && uri.authority().is_some() && uri.query().is_none();
        if is_address { Ok(Self(text.to_owned())) } else { Err(EndpointError::NotHttp) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_address() {
        for text in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().traces(), "http://127.0.0.1:4318/v1/traces");
        }
        assert_eq!(
            "https://c.example.com/otlp".parse::<Endpoint>().unwrap().traces(),
            "https://c.example.com/otlp/v1/traces"
        );
        for text in ["", "127.0.0.1:4318", "grpc://c:4317", "http://", "http://c/?x=1"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::NotHttp), "{text}");
        }
        for text in ["http://a:b@c:1", "https://a@c", "http://a:b c@d/", "ftp://a:b@c", "a:b@c:1"] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::Credentials), "{text}");
        }
    }
}
