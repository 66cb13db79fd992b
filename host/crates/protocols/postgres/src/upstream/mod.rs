//! The way to the target: dialling, TLS, authentication as the target's own role, and cancelling.
//! Nobody reaches a target without a [`SessionPermit`], also where a connection is used again; the one
//! exception is the gateway's own catalog connection ([`crate::catalog`]), which never carries a byte from a
//! client.

mod auth;
mod cancel;
pub(crate) mod connect;
mod error;
mod handover;
mod idle;
mod login;
mod startup;
pub(crate) mod wire;

use std::{borrow::Borrow, sync::Arc};

use bytes::BytesMut;
use sluicegate_core::{Session, SessionPermit};
use sluicegate_credentials::VaultLease;
use sluicegate_net::MaybeTls;

pub use self::{
    cancel::CancelToken,
    error::DialError,
    handover::{Reading, names_session},
    idle::Lease,
    startup::{Parameters, StartupParams},
};
use self::{
    idle::{Idle, Owner},
    login::Login,
};
pub(crate) use wire::refused;

use crate::config::Target;

/// A connection to the target that is ready for its first query.
pub struct Upstream {
    /// The connection.
    pub stream: MaybeTls,
    /// The settings that the server reported.
    pub parameters: Parameters,
    /// What the server has sent since it became ready.
    pub read_ahead: BytesMut,
    /// Cancels what this connection is doing.
    pub cancel: CancelToken,
    /// What was lent for it, where its role was.
    pub lease: Option<VaultLease>,
}

/// One of the addresses of a target, and what is kept there of earlier sessions.
pub struct Route {
    target: Arc<Target>,
    /// None where each session has a connection of its own.
    idle: Option<Arc<Idle>>,
}

impl Route {
    /// With nothing kept yet.
    pub fn new(target: Arc<Target>) -> Self {
        let idle = target.config().reuse.map(Idle::new);
        Self { target, idle }
    }

    /// Where it leads.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Ends what is kept, and keeps nothing from now on.
    pub fn close(&self) {
        if let Some(idle) = &self.idle {
            idle.close();
        }
    }
}

/// Connects to the target for the session that the permit was given to, and logs in: by the first of its
/// routes at whose end a server serves now. Returns which one that is, too. With `reuse` the connection may
/// be one that an earlier session of the same identity left; then there is a [`Lease`], by which it can be
/// given back. It takes no longer than the target's `connect_timeout` and some seconds, and 20 seconds more where its
/// secret has to be asked for. Cancel-safe: a dropped attempt closes its connection.
pub async fn dial<'a, R: Borrow<Route>>(
    permit: SessionPermit,
    routes: &'a [R],
    startup: &StartupParams,
    reuse: bool,
) -> Result<(&'a R, Upstream, Option<Lease>), DialError> {
    let (mut failures, mut login) = (Vec::new(), None);
    for way in routes {
        let Route { target, idle }: &Route = way.borrow();
        let dialled = match idle.as_ref().filter(|_| reuse) {
            Some(idle) => {
                let lent = lend(target, idle, permit.session(), startup, &mut login).await;
                lent.map(|(up, lease)| (up, Some(lease)))
            }
            None => {
                let login = known(&mut login, target).await?;
                let message = startup::for_session(target.config(), &login.username, permit.session(), startup)?;
                log_in(target, &message, login).await.map(|upstream| (upstream, None))
            }
        };
        match dialled {
            Ok((mut upstream, lease)) => {
                upstream.lease = login.and_then(|login| login.lease);
                return Ok((way, upstream, lease));
            }
            Err(error) if error.is_outage() => failures.push((target.address().clone(), error)),
            // What is wrong with the target itself would be hidden by trying on.
            Err(error) => return Err(error),
        }
    }
    Err(DialError::of_all(failures))
}

/// A connection that can serve several sessions: one that waits for this identity, or a new one.
async fn lend(
    target: &Arc<Target>,
    idle: &Arc<Idle>,
    session: &Session,
    startup: &StartupParams,
    login: &mut Option<Login>,
) -> Result<(Upstream, Lease), DialError> {
    let owner = Owner::new(session, startup);
    if let Some((lease, mut upstream)) = idle.take(&owner) {
        let introduced = tokio::time::timeout(idle::HANDOVER, handover::introduce(&mut upstream, session)).await;
        match introduced {
            Ok(Ok(reading)) if reading == *lease.reading() => return Ok((upstream, lease)),
            // What broke this one has likely broken the others, and what it is by default is no more.
            _ => idle.clear(),
        }
    }
    let login = known(login, target).await?;
    let message = startup::for_sessions(target.config(), &login.username, session, startup)?;
    let mut upstream = log_in(target, &message, login).await?;
    let introduced = tokio::time::timeout(idle::HANDOVER, handover::introduce(&mut upstream, session)).await;
    let reading = introduced.unwrap_or(Err(DialError::Timeout(idle::HANDOVER)))?;
    Ok((upstream, Lease::new(idle, owner, reading)))
}

/// The gateway's own connection, for its catalog alone. It goes where the sessions are that need it. Where roles
/// are lent, it has one of its own.
pub(crate) async fn dial_for_catalog(target: &Arc<Target>) -> Result<Upstream, DialError> {
    let login = Login::of(target).await?;
    let message = startup::for_catalog(target.config(), &login.username)?;
    let mut upstream = log_in(target, &message, &login).await?;
    upstream.lease = login.lease;
    Ok(upstream)
}

/// As whom to log in, asked for once and only where a new connection is needed: at no two addresses is it another.
async fn known<'a>(login: &'a mut Option<Login>, target: &Target) -> Result<&'a Login, DialError> {
    match login {
        Some(login) => Ok(login),
        None => Ok(login.insert(Login::of(target).await?)),
    }
}

async fn log_in(target: &Arc<Target>, startup: &[u8], login: &Login) -> Result<Upstream, DialError> {
    let limit = target.connect_timeout();
    let attempt = async {
        let (mut stream, peer) = connect::open(target).await?;
        let mut wire = wire::Wire::new(&mut stream, BytesMut::new());
        wire.send(startup).await?;
        auth::authenticate(&mut wire, target, peer, login).await?;
        let ready = startup::until_ready(&mut wire).await?;
        let read_ahead = wire.into_rest();
        let cancel = CancelToken::new(Arc::clone(target), peer, ready.key);
        Ok(Upstream { stream, parameters: ready.parameters, read_ahead, cancel, lease: None })
    };
    let ended = tokio::time::timeout(limit, attempt).await.unwrap_or(Err(DialError::Timeout(limit)));
    if ended.as_ref().is_err_and(DialError::is_wrong_login) {
        login::refused(target);
    }
    ended
}
