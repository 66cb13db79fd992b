//! Who calls. The owner's socket has let in nobody but the gateway's owner, who may read everything;
//! from the network every request proves who sent it. To answer for an approval one needs a name, so
//! there credentials are needed on the socket too.

use std::{iter, net::SocketAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
    middleware::Next,
    response::Response,
};
use headers::{
    Authorization, Header,
    authorization::{Basic, Bearer},
};
use secrecy::SecretString;
use sluicegate_core::{Approval, Basis, Claim, Identity, Principal, Proven, Refusal};
use sluicegate_net::Slot;

use super::Api;
use crate::problem::Problem;

/// What callers speak, as the record of failed logins has it.
const PROTOCOL: &str = "api";

/// Where requests come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// The owner-only socket.
    Owner,
    /// A listener on the network.
    Network {
        /// Its address as configured, `host:port`.
        listen: String,
        /// Whether only this machine reaches it. Then requests for other hosts are refused: a web page
        /// could have a browser send them, once its name leads here (DNS rebinding).
        loopback: bool,
    },
}

/// The address of the other end of a network connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Who sent a request.
#[derive(Clone)]
pub(super) struct Caller {
    /// None for the owner, who needs no name to read.
    pub(super) identity: Option<Identity>,
    pub(super) proof: Proof,
    /// What the identity was proven by, as the gate knows it.
    pub(super) basis: Basis,
    /// The address they come from, or that they came by the socket.
    pub(super) client: String,
    pub(super) owner: bool,
    pub(super) admins: Arc<[Principal]>,
}

/// How a caller proved who they are.
#[derive(Clone)]
pub(super) enum Proof {
    /// By being let in at the owner's socket.
    Socket,
    /// By their secret.
    Secret,
    /// By this session token.
    Token(SecretString),
    /// By an issuer's token, shown as such.
    Issuer,
}

#[derive(Clone)]
pub(super) struct Checkpoint {
    api: Api,
    owner: bool,
}

impl Checkpoint {
    pub(super) fn new(api: Api, door: &Door) -> Self {
        Self { api, owner: *door == Door::Owner }
    }
}

/// Lets a request pass with its [`Caller`], or answers 401.
pub(super) async fn authenticate(
    State(checkpoint): State<Checkpoint>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Checkpoint { api, owner } = checkpoint;
    let peer = request.extensions().get().map(|Peer(address)| *address);
    let proven = prove(&api, request.headers(), peer).await?;
    let client = peer.map_or_else(|| "the owner's socket".to_owned(), |peer| peer.to_string());
    let (identity, basis, proof) = match proven {
        Some((Proven { identity, basis }, proof)) => (Some(identity), basis, proof),
        None if owner => (None, Default::default(), Proof::Socket),
        None => {
            return Err(Problem::unauthorized("say who you are: HTTP Basic with your secret, or Bearer with a token"));
        }
    };
    if let Some(slot) = request.extensions().get::<Slot>() {
        slot.admitted();
    }
    let caller = Caller { identity, proof, basis, client, owner, admins: api.admins() };
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Who the credentials say it is; none where there are none.
async fn prove(api: &Api, headers: &HeaderMap, peer: Option<SocketAddr>) -> Result<Option<(Proven, Proof)>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_request("there is more than one `authorization` header: send one"));
    }
    if let Ok(Authorization(basic)) = Authorization::<Basic>::decode(&mut iter::once(value)) {
        let (user, secret) = (basic.username().to_owned(), SecretString::from(basic.password()));
        let proven = identify(api, Some(user), secret, peer).await?;
        return Ok(Some((proven, Proof::Secret)));
    }
    let Ok(Authorization(bearer)) = Authorization::<Bearer>::decode(&mut iter::once(value)) else {
        let client = peer.map_or_else(|| "the owner's socket".to_owned(), |peer| peer.to_string());
        tracing::warn!(client, "credentials for the admin API are neither Basic nor Bearer");
        return Err(Problem::unauthorized("these credentials are not understood: use HTTP Basic or Bearer"));
    };
    let token = SecretString::from(bearer.token());
    match api.0.tokens.verify(&token) {
        Some(proven) => Ok(Some((proven, Proof::Token(token)))),
        None => Ok(Some((identify(api, None, token, peer).await?, Proof::Issuer))),
    }
}

/// Whose secret, or issuer's token, this is. Where that is nobody, the gate has recorded why.
async fn identify(
    api: &Api,
    user: Option<String>,
    secret: SecretString,
    client: Option<SocketAddr>,
) -> Result<Proven, Problem> {
    let with_token = user.is_none();
    let claim = Claim { protocol: PROTOCOL, user, secret, client };
    let refusal = match api.0.gate.identify(claim).await {
        Ok(proven) => return Ok(proven),
        Err(refusal) => refusal,
    };
    Err(match refusal {
        Refusal::Secret if with_token => Problem::unauthorized(
            "the token is not valid, or not any more: get another with your secret, or by `sluicegate login`",
        ),
        Refusal::Secret | Refusal::Ticket => Problem::unauthorized(refusal.to_string()),
        Refusal::Throttled(seconds) => Problem::too_many(refusal.to_string(), seconds),
        refusal => Problem::unavailable(refusal.to_string()),
    })
}

impl Caller {
    pub(super) fn is_admin(&self) -> bool {
        self.is_one_of(&self.admins)
    }

    pub(super) fn is_one_of(&self, principals: &[Principal]) -> bool {
        let covers = |identity: &Identity| principals.iter().any(|principal| principal.covers(identity));
        self.identity.as_ref().is_some_and(covers)
    }

    /// Whether they may read everything.
    pub(super) fn reads_all(&self) -> bool {
        self.owner || self.is_admin()
    }

    /// Refuses whoever may not read everything.
    pub(super) fn must_read_all(&self) -> Result<(), Problem> {
        let refused =
            || Problem::forbidden("only admins may see this; `[admin] admins` in the configuration lists them");
        self.reads_all().then_some(()).ok_or_else(refused)
    }

    /// Whether an approval exists as far as they are concerned.
    pub(super) fn may_see(&self, approval: &Approval) -> bool {
        let concerns =
            |identity: &Identity| approval.requester == identity.user || approval.may_answer(identity, &self.admins);
        self.reads_all() || self.identity.as_ref().is_some_and(concerns)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unknown = || Problem::internal("nobody has asked who calls; this is a bug in the gateway");
        parts.extensions.get::<Self>().cloned().ok_or_else(unknown)
    }
}
