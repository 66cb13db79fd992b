//! How a person comes to a token: they log in at their issuer, in a browser or with a code on another device, and it gives
//! an ID token that is for the gateway. A public client (RFC 8252): there is no secret on people's machines.
//!
//! * [`browser`] is the authorization code with PKCE (RFC 7636), [`device`] the device authorization grant (RFC 8628).
//! * [`error`] says why a login came to nothing.

mod browser;
mod device;
mod error;

use std::{pin::Pin, str::FromStr};

use openidconnect::{
    AsyncHttpClient, AuthUrl, ClientId, DeviceAuthorizationUrl, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IssuerUrl, Nonce, OAuth2TokenResponse, RefreshToken, RevocationUrl, Scope, TokenResponse, TokenUrl,
    core::{CoreClient, CoreIdToken, CoreJsonWebKeySet, CoreTokenResponse},
};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use self::{browser::BrowserLogin, device::DeviceLogin, error::LoginError};
use crate::oidc::{
    issuer::is_trusted,
    keys::{FetchError, Http, discovery, is_led_to},
    token::{TokenError, verifier},
};

/// An issuer at which people log in.
pub struct Provider {
    wire: Wire,
    issuer: IssuerUrl,
    client: Client,
    keys: CoreJsonWebKeySet,
    scopes: Vec<Scope>,
    device: Option<DeviceAuthorizationUrl>,
    revocation: Option<RevocationUrl>,
    names_itself: bool,
}

type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet, EndpointNotSet>;

/// How the issuer is asked.
struct Wire {
    http: Http,
    issuer: Url,
}

/// What an issuer gave.
#[derive(Debug)]
pub struct Granted {
    /// The ID token.
    pub id_token: SecretString,
    /// What gets the next one; none where the issuer gives none.
    pub refresh_token: Option<SecretString>,
    /// When the ID token ends, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// The issuer's own name for whom it is.
    pub subject: String,
}

/// What is needed of a discovery document (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2; RFC 9207,
/// section 3).
#[derive(Deserialize)]
struct Described {
    issuer: String,
    authorization_endpoint: AuthUrl,
    token_endpoint: TokenUrl,
    jwks_uri: Url,
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
    revocation_endpoint: Option<RevocationUrl>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Provider {
    /// Asks the issuer how to log in there. `client_id` is who asks, and whom tokens are for. Takes 5 seconds for each of two
    /// answers at most. Cancel-safe.
    pub async fn discover(issuer: &str, client_id: &str) -> Result<Self, LoginError> {
        let place = || LoginError::Issuer(issuer.to_owned());
        let url = IssuerUrl::new(issuer.to_owned()).map_err(|_| place())?;
        if !is_trusted(url.url()) {
            return Err(place());
        }
        let http = Http::new().map_err(LoginError::Client)?;
        let unreachable =
            |source: FetchError| LoginError::Unreachable { issuer: issuer.to_owned(), source: source.into() };
        let described: Described =
            http.get(url.url(), discovery(issuer).map_err(unreachable)?).await.map_err(unreachable)?;
        if described.issuer != issuer {
            return Err(unreachable(FetchError::OtherIssuer));
        }
        if !is_led_to(url.url(), described.authorization_endpoint.url()) {
            return Err(unreachable(FetchError::Place));
        }
        let keys: CoreJsonWebKeySet = http.get(url.url(), described.jwks_uri).await.map_err(unreachable)?;
        let client = CoreClient::new(ClientId::new(client_id.to_owned()), url.clone(), keys.clone())
            .set_auth_uri(described.authorization_endpoint)
            .set_token_uri(described.token_endpoint);
        Ok(Self {
            wire: Wire { http, issuer: url.url().clone() },
            issuer: url,
            client,
            keys,
            scopes: Vec::new(),
            device: described.device_authorization_endpoint,
            revocation: described.revocation_endpoint,
            names_itself: described.authorization_response_iss_parameter_supported,
        })
    }

    /// What a login asks for beside `openid`, which the library adds itself.
    pub fn asking_for(self, scopes: Vec<String>) -> Self {
        let scopes = scopes.into_iter().filter(|scope| scope != "openid").map(Scope::new).collect();
        Self { scopes, ..self }
    }

    /// Gets the next token (OpenID Connect Core 1.0, section 12), which has to be of the same `subject`. The refresh token
    /// that comes with it replaces the one that was sent, which may be of no more use. Not cancel-safe for that reason.
    pub async fn refresh(&self, refresh_token: &SecretString, subject: &str) -> Result<Granted, LoginError> {
        let sent = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let answer = self.client.exchange_refresh_token(&sent).request_async(&self.wire).await?;
        let mut granted = self.granted(&answer, |_| Ok(()))?;
        if granted.subject != subject {
            return Err(LoginError::SomebodyElse);
        }
        granted.refresh_token.get_or_insert_with(|| refresh_token.clone());
        Ok(granted)
    }

    /// Has the issuer forget a refresh token (RFC 7009); says whether it has a place for that.
    pub async fn revoke(&self, refresh_token: &SecretString) -> Result<bool, LoginError> {
        let Some(place) = &self.revocation else { return Ok(false) };
        // openidconnect revokes by https alone, and an issuer on this machine may do without.
        let mut form = Url::parse("http://form/").map_err(|_| LoginError::Answer)?;
        form.query_pairs_mut()
            .append_pair("token", refresh_token.expose_secret())
            .append_pair("token_type_hint", "refresh_token")
            .append_pair("client_id", self.client.client_id());
        let mut request = HttpRequest::new(form.query().unwrap_or_default().as_bytes().to_vec());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = place.as_str().parse().map_err(|_| LoginError::Answer)?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let answer = self.wire.http.send(&self.wire.issuer, request).await;
        let answer = answer.map_err(|error| LoginError::Ask(error.into()))?;
        if answer.status() == StatusCode::OK { Ok(true) } else { Err(LoginError::Answer) }
    }

    /// Verifies what the issuer gave.
    fn granted(
        &self,
        answer: &CoreTokenResponse,
        nonce: impl FnOnce(Option<&Nonce>) -> Result<(), String>,
    ) -> Result<Granted, LoginError> {
        let token = answer.id_token().ok_or(LoginError::NoToken)?.to_string();
        let parsed = CoreIdToken::from_str(&token).map_err(|_| LoginError::Token(TokenError::Malformed.into()))?;
        let verifier = verifier(self.client.client_id().clone(), self.issuer.clone(), self.keys.clone());
        let claims = parsed.claims(&verifier, nonce).map_err(|error| match error {
            openidconnect::ClaimsVerificationError::InvalidNonce(_) => LoginError::Nonce,
            error => LoginError::Token(TokenError::from(error).into()),
        })?;
        Ok(Granted {
            expires_at: claims.expiration().timestamp(),
            subject: claims.subject().to_string(),
            id_token: SecretString::from(token),
            refresh_token: answer.refresh_token().map(|token| SecretString::from(token.secret().clone())),
        })
    }
}

/// The library's requests go where the issuer may lead, and their answers are bounded.
impl<'c> AsyncHttpClient<'c> for Wire {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.http.send(&self.issuer, request))
    }
}
