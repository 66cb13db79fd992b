//! Why a login came to nothing, in words for whoever logs in. What an issuer answers holds tokens, so that no answer is quoted
//! but its error's code and description.

use openidconnect::{ErrorResponse, RequestTokenError, StandardErrorResponse};

use crate::oidc::{keys::FetchError, token::TokenError};

/// Why a login came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// It is no issuer.
    #[error("`{0}` is no issuer at which to log in: it is an https:// URL, or http:// on this machine")]
    Issuer(String),
    /// No HTTP client.
    #[error("nothing can be asked by HTTPS; check that this machine has trusted certificates")]
    Client(#[source] reqwest::Error),
    /// The issuer does not answer, or with something else.
    #[error("the issuer `{issuer}` cannot be asked how to log in there; try again later")]
    Unreachable {
        /// Its URL.
        issuer: String,
        /// How it failed.
        #[source]
        source: Unreachable,
    },
    /// The issuer cannot be asked for a token.
    #[error("the issuer cannot be asked for a token; try again later")]
    Ask(#[source] Unreachable),
    /// The issuer says no.
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// A refresh token, or a code, is of no use any more.
    #[error("the login has ended; log in again with `sluicegate login`")]
    Ended,
    /// Something else came back.
    #[error(
        "the issuer's answer is not understood; check that `audience` in the gateway's configuration is a client of it"
    )]
    Answer,
    /// There is no ID token.
    #[error("the issuer gave no ID token; log in again with `sluicegate login`, and see that `scopes` has `openid`")]
    NoToken,
    /// The ID token proves nothing.
    #[error(
        "the issuer's ID token is refused: {0}; check this machine's clock, and `audience` in the gateway's configuration"
    )]
    Token(TokenFault),
    /// The ID token was not made for this login.
    #[error("the ID token was made for another login, so somebody may have put it here; nothing is kept")]
    Nonce,
    /// The browser came back from somewhere else.
    #[error("the browser brought another issuer's answer; nothing is kept")]
    OtherIssuer,
    /// A refreshed token is for somebody else.
    #[error("the issuer gave a token for somebody else; log in again with `sluicegate login`")]
    SomebodyElse,
    /// No port of this machine.
    #[error("the browser cannot come back here: no local port can be opened; use `--device`")]
    Port(#[source] std::io::Error),
    /// The person took too long, or never came back.
    #[error("nobody logged in within {0} minutes; try again")]
    Late(u64),
    /// There is no such way to log in.
    #[error("the issuer has no login by device code; leave out `--device`")]
    NoDevice,
}

/// How an issuer failed, for the log of whoever looks into it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unreachable(#[from] FetchError);

/// What is wrong with an ID token.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TokenFault(#[from] TokenError);

impl<T> From<RequestTokenError<FetchError, StandardErrorResponse<T>>> for LoginError
where
    StandardErrorResponse<T>: ErrorResponse + 'static,
    T: openidconnect::ErrorResponseType + std::fmt::Display + 'static,
{
    fn from(error: RequestTokenError<FetchError, StandardErrorResponse<T>>) -> Self {
        match error {
            RequestTokenError::Request(source) => Self::Ask(source.into()),
            RequestTokenError::ServerResponse(refused) => {
                refusal(&refused.error().to_string(), refused.error_description())
            }
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => Self::Answer,
        }
    }
}

/// What an error's code comes to (RFC 6749, section 5.2; RFC 8628, section 3.5).
pub(super) fn refusal(code: &str, description: Option<&String>) -> LoginError {
    if code == "invalid_grant" {
        return LoginError::Ended;
    }
    let words = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    match description {
        Some(description) => LoginError::Refused(format!("{} ({})", words(description), words(code))),
        None => LoginError::Refused(words(code)),
    }
}
