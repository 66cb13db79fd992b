//! Whoever asks the gateway itself and no target: the same logins as a session's, the same words in the record where
//! one fails.

use std::net::SocketAddr;

use secrecy::SecretString;
use sluicegate_metrics::Refused as Reason;
use uuid::Uuid;

use super::{Gate, Refusal, SessionId};
use crate::{
    identity::Proven,
    logins::Login,
    record::{self, Refused},
};

/// What a caller shows.
#[derive(Debug)]
pub struct Claim {
    /// What they speak.
    pub protocol: &'static str,
    /// The name they claim; none where they show a token, which has their name.
    pub user: Option<String>,
    /// Their secret or token.
    pub secret: SecretString,
    /// Their address; none where they are on this machine and have been let in as the gateway's owner.
    pub client: Option<SocketAddr>,
}

/// Why a login came to nothing.
pub(super) struct Failed {
    /// What the client is told.
    pub refusal: Refusal,
    /// How it is counted.
    pub counted: Reason,
    /// The true reason, for the record; none where it needs no mention.
    pub reason: Option<String>,
}

/// Who it is, or why nobody.
pub(super) fn outcome(login: Login) -> Result<Proven, Failed> {
    match login {
        Login::Verified(proven) => Ok(proven),
        Login::Wrong { unheard, why, told } => {
            let reason = told.then(|| wrong(unheard, why.as_deref()));
            Err(Failed { refusal: Refusal::Secret, counted: Reason::Secret, reason })
        }
        // The others of a burst are told with the next one that is looked at.
        Login::Throttled { seconds, first } => {
            let reason = || format!("too many wrong secrets: refused unheard, as are others for {seconds} s");
            let reason = first.then(reason);
            Err(Failed { refusal: Refusal::Throttled(seconds), counted: Reason::Throttled, reason })
        }
        Login::Busy { told } => {
            let reason = told.then(|| "too many other secrets were being verified".to_owned());
            Err(Failed { refusal: Refusal::Busy, counted: Reason::Busy, reason })
        }
    }
}

/// Why a wrong secret was refused, with the burst that it ends.
fn wrong(unheard: u64, why: Option<&str>) -> String {
    let why = why.unwrap_or("unknown user or wrong secret");
    match unheard {
        0 => why.to_owned(),
        count => format!("{why}; {count} tries before it were refused and are not told of one by one"),
    }
}

impl Gate {
    /// Who a caller is. A refusal is recorded with its true reason, as that of a session is.
    pub async fn identify(&self, claim: Claim) -> Result<Proven, Refusal> {
        let Claim { protocol, user, secret, client } = claim;
        let logins = &self.parts.logins;
        let login = match (&user, client) {
            (Some(user), Some(client)) => logins.verify(user, secret, client.ip()).await,
            (Some(user), None) => logins.verify_for_owner(user, secret).await,
            (None, client) => logins.verify_token(secret, client.map(|client| client.ip())).await,
        };
        let Failed { refusal, counted, reason } = match outcome(login) {
            Ok(proven) if proven.basis.ticket.is_none() => return Ok(proven),
            Ok(_) => {
                let reason = Some("a ticket opens its target, and was shown to the gateway itself".to_owned());
                Failed { refusal: Refusal::Ticket, counted: Reason::Secret, reason }
            }
            Err(failed) => failed,
        };
        self.metrics.not_let_in(None, protocol, counted);
        if let Some(reason) = reason {
            let id = SessionId(Uuid::now_v7());
            let user = record::cut(&user.unwrap_or_default(), 128).0;
            let client = client.map_or_else(|| "the owner's socket".to_owned(), |client| client.to_string());
            tracing::warn!(session = %id, protocol, user, client, reason, "a login to the gateway itself failed");
            let (protocol, target, opinions) = (protocol.to_owned(), String::new(), Vec::new());
            self.record_refusal(id, Refused { user, target, protocol, client, reason, opinions }).await;
        }
        Err(refusal)
    }
}
