//! A login with a code that is typed in a browser somewhere else (RFC 8628), for machines without one.

use openidconnect::core::CoreDeviceAuthorizationResponse;

use super::{Granted, LoginError, Provider};

/// A login that waits for somebody to type a code.
pub struct DeviceLogin<'p> {
    provider: &'p Provider,
    answer: CoreDeviceAuthorizationResponse,
}

impl Provider {
    /// Asks for a code. Cancel-safe.
    pub async fn device(&self) -> Result<DeviceLogin<'_>, LoginError> {
        let place = self.device.clone().ok_or(LoginError::NoDevice)?;
        let client = self.client.clone().set_device_authorization_url(place);
        let request = client.exchange_device_code().add_scopes(self.scopes.iter().cloned());
        let answer: CoreDeviceAuthorizationResponse = request.request_async(&self.wire).await?;
        Ok(DeviceLogin { provider: self, answer })
    }
}

impl DeviceLogin<'_> {
    /// Where the code is typed.
    pub fn place(&self) -> &str {
        self.answer.verification_uri()
    }

    /// The code.
    pub fn code(&self) -> &str {
        self.answer.user_code().secret()
    }

    /// Where it need not be typed; not all issuers have that.
    pub fn place_with_code(&self) -> Option<&str> {
        self.answer.verification_uri_complete().map(|place| place.secret().as_str())
    }

    /// Waits until somebody has typed it, or until it expires, which the issuer says. Cancel-safe.
    pub async fn finish(self) -> Result<Granted, LoginError> {
        let Self { provider, answer } = self;
        let request = provider.client.exchange_device_access_token(&answer);
        let granted = request.request_async(&provider.wire, tokio::time::sleep, None).await?;
        // A nonce goes with a redirect; here the code itself has bound the token to this login.
        provider.granted(&granted, |_| Ok(()))
    }
}
