//! Logging in as the target's role: SCRAM-SHA-256 with and without channel binding, MD5, cleartext
//! where nobody can listen, and trust. Anything else is refused.
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::{
        backend::{AuthenticationSaslBody, Message},
        frontend,
    },
};
use secrecy::ExposeSecret;
use sluicegate_net::ClientTls;
use zeroize::Zeroize;

use super::{DialError, login::Login, wire::Wire};
use crate::config::Target;

/// Answers the server's request, whichever it is, until AuthenticationOk.
pub(super) async fn authenticate(
    wire: &mut Wire<'_>,
    target: &Target,
    peer: SocketAddr,
    login: &Login,
) -> Result<(), DialError> {
    let given = || login.password.as_ref().map(|p| p.expose_secret().as_bytes()).ok_or(DialError::NoPassword);
    match wire.next().await? {
        Message::AuthenticationOk => return Ok(()),
        Message::AuthenticationCleartextPassword => {
            let verified = wire.stream().is_encrypted() && target.tls().is_some_and(ClientTls::verifies);
            if !may_see_password(verified, peer.ip()) {
                return Err(DialError::Cleartext);
            }
            send_password(wire, given()?).await?;
        }
        Message::AuthenticationMd5Password(body) => {
            let user = login.username.as_bytes();
            send_password(wire, md5_hash(user, given()?, body.salt()).as_bytes()).await?;
        }
        Message::AuthenticationSasl(body) => scram(wire, &body, given()?).await?,
        other => return Err(unsupported(&other)),
    }
    match wire.next().await? {
        Message::AuthenticationOk => Ok(()),
        _ => Err(DialError::Protocol("a second request for authentication")),
    }
}

/// Whether the password itself may travel: to a server that has proven its name, or within this
/// machine.
fn may_see_password(verified_tls: bool, peer: IpAddr) -> bool {
    verified_tls || peer.to_canonical().is_loopback()
}

async fn send_password(wire: &mut Wire<'_>, password: &[u8]) -> Result<(), DialError> {
    let mut message = BytesMut::with_capacity(password.len() + 8);
    let built = frontend::password_message(password, &mut message);
    let sent = match built {
        Ok(()) => wire.send(&message).await,
        Err(_) => Err(DialError::Protocol("the password has a NUL byte in it")),
    };
    message.zeroize();
    sent
}

/// The whole SCRAM exchange, up to the check of the server's signature.
async fn scram(wire: &mut Wire<'_>, offer: &AuthenticationSaslBody, password: &[u8]) -> Result<(), DialError> {
    let (mechanism, binding) = choose(wire, offer)?;
    let mut scram = ScramSha256::new(password, binding);
    let malformed = |_| DialError::Protocol("the SCRAM exchange cannot be encoded");

    let mut message = BytesMut::new();
    frontend::sasl_initial_response(mechanism, scram.message(), &mut message).map_err(malformed)?;
    wire.send(&message).await?;
    let Message::AuthenticationSaslContinue(challenge) = wire.next().await? else {
        return Err(DialError::Impostor("it skipped the challenge"));
    };
    // Thousands of rounds of hashing, for which no other session is to wait.
    let challenge = challenge.data().to_vec();
    let answered = tokio::task::spawn_blocking(move || scram.update(&challenge).map(|()| scram)).await;
    let mut scram = answered.unwrap_or_else(|error| Err(error.into())).map_err(DialError::Scram)?;

    message.clear();
    frontend::sasl_response(scram.message(), &mut message).map_err(malformed)?;
    wire.send(&message).await?;
    let Message::AuthenticationSaslFinal(outcome) = wire.next().await? else {
        return Err(DialError::Impostor("it skipped its signature"));
    };
    scram.finish(outcome.data()).map_err(|_| DialError::Impostor("its signature is wrong"))
}

/// Binds the exchange to the TLS connection wherever both ends can. Where the server does not offer
/// it over TLS, the client's first message says that we could have, so that a server which did
/// offer it notices whoever removed the offer (RFC 5802, section 6).
fn choose(wire: &Wire<'_>, offer: &AuthenticationSaslBody) -> Result<(&'static str, ChannelBinding), DialError> {
    let (mut plain, mut plus) = (false, false);
    let mut mechanisms = offer.mechanisms();
    while let Some(name) = mechanisms.next().map_err(|_| DialError::Protocol("the SASL mechanisms do not parse"))? {
        plain |= name == SCRAM_SHA_256;
        plus |= name == SCRAM_SHA_256_PLUS;
    }
    if plus && !wire.stream().is_encrypted() {
        return Err(DialError::Impostor("it offers channel binding without TLS"));
    }
    match wire.stream().server_end_point() {
        Some(data) if plus => Ok((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(data))),
        Some(_) if plain => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None if plain => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
        _ => Err(DialError::Method("SASL without SCRAM-SHA-256")),
    }
}

fn unsupported(message: &Message) -> DialError {
    match message {
        Message::AuthenticationGss | Message::AuthenticationGssContinue(_) => DialError::Method("GSSAPI"),
        Message::AuthenticationSspi => DialError::Method("SSPI"),
        Message::AuthenticationKerberosV5 => DialError::Method("Kerberos V5"),
        Message::AuthenticationScmCredential => DialError::Method("SCM credential"),
        _ => DialError::Protocol("something else than a request for authentication"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleartext_goes_only_where_nobody_listens() {
        for (verified, peer, may) in [
            (true, "192.0.2.1", true),
            (false, "192.0.2.1", false),
            (false, "::ffff:192.0.2.1", false),
            (false, "127.0.0.1", true),
            (false, "::1", true),
        ] {
            assert_eq!(may_see_password(verified, peer.parse().unwrap()), may, "{verified} {peer}");
        }
    }
}
