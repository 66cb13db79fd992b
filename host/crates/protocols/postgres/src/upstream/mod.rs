//! The way to the target: dialling, TLS, authentication as the target's own role, and cancelling.
//! Nobody reaches a target without a [`SessionPermit`]; the one exception is the gateway's own
//! catalog connection ([`crate::catalog`]), which never carries a byte from a client.

mod auth;
mod cancel;
mod connect;
mod error;
mod startup;
mod wire;

use std::{borrow::Borrow, sync::Arc};

use bytes::BytesMut;
use secrecy::SecretString;
use sluicegate_core::SessionPermit;
use sluicegate_net::MaybeTls;

pub use cancel::CancelToken;
pub use error::DialError;
pub use startup::StartupParams;
pub(crate) use wire::refused;

use crate::config::Target;

/// A connection to the target that is ready for its first query.
pub struct Upstream {
    /// The connection.
    pub stream: MaybeTls,
    /// The settings that the server reported, in its order.
    pub parameters: Vec<(String, String)>,
    /// What the server has sent since it became ready.
    pub read_ahead: BytesMut,
    /// Cancels what this connection is doing.
    pub cancel: CancelToken,
}

/// Connects to the target for the session that the permit was given to, and logs in: at the first of its
/// places (see [`Target::prepare`]) where a server serves now. Returns which one that is, too. It takes no
/// longer than the target's `connect_timeout`. Cancel-safe: a dropped attempt closes its connection.
pub async fn dial<'a, P: Borrow<Arc<Target>>>(
    permit: SessionPermit,
    places: &'a [P],
    startup: &StartupParams,
) -> Result<(&'a P, Upstream), DialError> {
    let mut failures = Vec::new();
    for place in places {
        let target = place.borrow();
        let message = startup::for_session(target.config(), permit.session(), startup)?;
        match log_in(target, &message).await {
            Ok(upstream) => return Ok((place, upstream)),
            Err(error) if error.is_outage() => failures.push((target.address().clone(), error)),
            // What is wrong with the target itself would be hidden by trying on.
            Err(error) => return Err(error),
        }
    }
    Err(DialError::of_all(failures))
}

/// The gateway's own connection, for its catalog alone. It goes where the sessions are that need it.
pub(crate) async fn dial_for_catalog(target: &Arc<Target>) -> Result<Upstream, DialError> {
    let message = startup::for_catalog(target.config())?;
    log_in(target, &message).await
}

async fn log_in(target: &Arc<Target>, startup: &[u8]) -> Result<Upstream, DialError> {
    let limit = target.connect_timeout();
    let attempt = async {
        let password = password(target).await?;
        let (stream, peer) = connect::open(target).await?;
        let mut wire = wire::Wire::new(stream);
        wire.send(startup).await?;
        auth::authenticate(&mut wire, target, peer, password.as_ref()).await?;
        let ready = startup::until_ready(&mut wire).await?;
        let (stream, read_ahead) = wire.into_parts();
        let cancel = CancelToken::new(Arc::clone(target), peer, ready.key);
        Ok(Upstream { stream, parameters: ready.parameters, read_ahead, cancel })
    };
    tokio::time::timeout(limit, attempt).await.unwrap_or(Err(DialError::Timeout(limit)))
}

async fn password(target: &Target) -> Result<Option<SecretString>, DialError> {
    let Some(source) = target.config().password.clone() else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || source.read()).await;
    match read {
        Ok(secret) => Ok(Some(secret?)),
        Err(_) => Err(DialError::Protocol("reading the password was interrupted")),
    }
}
