//! How a session ends: what is still said to either side, and what must not go on without it.

use std::{io, time::Duration};

use sluicegate_core::access::{Lost, Standing};
use sluicegate_credentials::VaultLease;
use sluicegate_net::{Lifetime, Over};

use super::Session;
use crate::{codec::message, error::SessionError};

/// Why a session ends whose client went without a goodbye.
pub(super) const GONE: &str = "the client closed the connection";
/// So long a client may take to read what is still to be said to it at the end.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The same where the gateway is about to stop, and how long cancelling what runs may take before: together
/// less than what [`Stop::overdue`] leaves.
const HASTY_WORDS: Duration = Duration::from_secs(1);
const HASTY_CANCEL: Duration = Duration::from_millis(500);

/// What bounds a session from outside.
pub(super) struct Bounds<'a> {
    pub lifetime: Lifetime,
    pub standing: Standing,
    /// What was lent for it at the target.
    pub lease: Option<&'a VaultLease>,
}

/// Which bound a session met.
pub(super) enum Bound {
    /// It has been idle, or has lasted, for as long as it may.
    Over(Over),
    /// Whoever it is may not use the target any more.
    Lost(Lost),
    /// The role that was lent for it is about to be taken back.
    LeaseOver,
}

impl Bounds<'_> {
    /// Which is met now, if one is.
    pub fn met(&self) -> Option<Bound> {
        if let Some(lost) = self.standing.lost() {
            return Some(Bound::Lost(lost.clone()));
        }
        if self.lease.is_some_and(VaultLease::is_over) {
            return Some(Bound::LeaseOver);
        }
        self.lifetime.is_over().map(Bound::Over)
    }

    /// Waits until one is. Cancel-safe.
    pub async fn until_met(&mut self) -> Bound {
        let Self { lifetime, standing, lease } = self;
        tokio::select! {
            lost = standing.until_lost() => Bound::Lost(lost),
            () = lease_over(*lease) => Bound::LeaseOver,
            over = lifetime.over() => Bound::Over(over),
        }
    }
}

/// Waits until what was lent for the session is about to be taken back; for ever where nothing was.
async fn lease_over(lease: Option<&VaultLease>) {
    match lease {
        Some(lease) => lease.over().await,
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    /// The client went without a goodbye. Once everything that it sent has been sent on, so is a
    /// goodbye. What it was reading need not go on at the target; what it was writing ends as it would
    /// without a gateway. A command that waits for people will not run, nor what was sent after it. Returns whether
    /// something was on its way to the client, which made no room for what comes after it.
    pub(super) async fn leave(&mut self) -> Result<bool, SessionError> {
        let dropped = !std::mem::take(&mut self.out.client).is_empty();
        if self.leaving.is_some() {
            Box::pin(self.cancel_reading(1)).await;
            return Ok(dropped);
        }
        if self.machine.is_suspended() {
            Box::pin(self.machine.abandon_held(GONE)).await?;
        } else if self.machine.is_deferring() || !self.client.starved {
            return Ok(dropped);
        }
        if self.client.decoder.is_inside() {
            // The target would take a goodbye for more of the message that the client did not finish.
            self.server.end();
        } else {
            self.out.own(message::message(b'X', |_| {}));
        }
        self.leaving = Some(GONE.into());
        Ok(dropped)
    }

    /// Stops what the target only reads for a client that has gone, once all that it is to hear is sent.
    /// Says whether it did; `most` is how often it may have been done then.
    pub(super) async fn cancel_reading(&mut self, most: u8) -> bool {
        let only_reads = self.machine.runs_a_read() && !self.machine.runs_a_write();
        let sent = !self.server.has_work(self.out.queues().1);
        if !only_reads || !sent || self.cancels >= most {
            return false;
        }
        self.cancels += 1;
        if let Err(error) = self.cancel.cancel().await {
            tracing::warn!(%error, "an abandoned query could not be cancelled at the target");
        }
        true
    }

    /// A bound is met. What runs is cancelled; while it is idle nothing does.
    pub(super) async fn end_at(&mut self, bound: Bound) -> SessionError {
        if let Bound::Over(Over::Idle(after)) = bound {
            return SessionError::Idle { after, in_transaction: self.machine.is_in_transaction() };
        }
        self.cut_short().await;
        let on_hold = self.machine.is_on_hold();
        match bound {
            Bound::Over(Over::Idle(after) | Over::Longest(after)) => SessionError::Longest { after, on_hold },
            Bound::Lost(lost) => SessionError::Lost { lost, on_hold },
            Bound::LeaseOver => SessionError::LeaseOver { on_hold },
        }
    }

    /// The session ends while something may still run. That is cancelled, or its locks would outlive the
    /// session.
    pub(super) async fn cut_short(&mut self) {
        if self.machine.waits_for_client() || self.machine.is_on_hold() {
            return;
        }
        if !matches!(tokio::time::timeout(HASTY_CANCEL, self.cancel.cancel()).await, Ok(Ok(()))) {
            tracing::warn!("what a session that ends was doing could not be cancelled at the target");
        }
    }

    /// The target closed its connection: the client gets what it said last.
    pub(super) async fn target_closed(&mut self) -> Result<String, SessionError> {
        if !self.machine.heard_fatal() {
            return Err(SessionError::TargetClosed);
        }
        self.rest_to_client(LAST_WORDS).await.map_err(SessionError::Client)?;
        Ok("the target ended the session".into())
    }

    /// Has the client read what was said before the error, so that it can be told of it: in the middle of
    /// a message it would not understand.
    pub(super) async fn conclude(&mut self, error: SessionError) -> SessionError {
        let stops = matches!(error, SessionError::Stopping | SessionError::StoppingOnHold);
        let limit = if stops { HASTY_WORDS } else { LAST_WORDS };
        let inside = self.server.decoder.is_inside() && self.machine.passes_rest();
        let whole = !self.gone && !inside && self.rest_to_client(limit).await.is_ok();
        if whole { error } else { SessionError::Untold(Box::new(error)) }
    }

    async fn rest_to_client(&mut self, limit: Duration) -> io::Result<()> {
        let rest = async {
            while self.client.has_work(&self.out.client) {
                self.client.write(&mut self.out.client).await?;
            }
            Ok(())
        };
        tokio::time::timeout(limit, rest).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
