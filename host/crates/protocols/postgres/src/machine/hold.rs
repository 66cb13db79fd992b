//! A command that people have to agree to. Its message is kept as the client sent it, and nothing of it
//! is forwarded. Once everything that was sent before is answered, the approval is asked for; when that
//! is answered, the very same message is decided again.

use sluicegate_core::{Approval, Denial, DenialKind, sql::Classes};
use tokio::time::Instant;

use super::{Machine, MachineError, Outbox, Status, expect::Expect, notices, settings};
use crate::{codec::frame::Frame, config::HoldInTransaction, deny};

/// What PostgreSQL says of a statement that its client cancels.
const CANCELLED: &str = "canceling statement due to user request";
/// And of one that takes longer than `statement_timeout`.
const TIMED_OUT: &str = "canceling statement due to statement timeout";
/// What is recorded of one that the server skips or would not run.
const SKIPPED: &str = "what came before it failed";
/// Where locks are not to wait for people.
const NOT_IN_TRANSACTION: &str =
    "it needs an approval, and commands are not held inside a transaction here; end the transaction first";
/// What is said to a client that does not wait for the answer.
const OVERRUN: &str =
    "it needs an approval, and more than 1 MiB was sent behind it; wait for its answer before sending so much";

/// The wait of one command.
pub struct Holding {
    stage: Stage,
    /// When nothing but itself kept it from running, which is when the server would have begun it.
    since: Option<Instant>,
    /// It does nothing but end or steer the transaction, so it may run where that has failed.
    steers_transaction: bool,
    /// The approval, where it has one more answer that the client is to be told of.
    news: Option<Box<Approval>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What was sent before it is to be answered first.
    Settling,
    /// The server is asked for how long the client lets a command take.
    Asking,
    /// People are asked.
    Waiting,
    /// It is decided again.
    Deciding,
}

impl Holding {
    /// A command that was just found to need an approval.
    pub fn new(classes: Option<Classes>) -> Self {
        let steers_transaction = classes == Some(Classes::TRANSACTION);
        Self { stage: Stage::Deciding, since: None, steers_transaction, news: None }
    }
}

impl Machine {
    /// Whether people are asked about the command that is kept.
    pub fn is_on_hold(&self) -> bool {
        self.holding.as_ref().is_some_and(|holding| holding.stage == Stage::Waiting)
    }

    /// Whether a command is kept that people have to agree to, asked or not.
    pub fn is_suspended(&self) -> bool {
        self.holding.is_some()
    }

    /// Waits until the command on hold is to be decided again, or its client is to be told how it
    /// stands; then call [`Machine::decide_held`]. Cancel-safe.
    pub async fn hold_over(&mut self) {
        let since = self.holding.as_ref().filter(|holding| holding.stage == Stage::Waiting).and_then(|h| h.since);
        let Some(since) = since else { return std::future::pending().await };
        let deadline = self.settings.statement_timeout.and_then(|limit| since.checked_add(limit));
        let why = tokio::select! {
            news = self.gate.hold_progress() => {
                if let Some(holding) = &mut self.holding {
                    holding.news = news.map(Box::new);
                }
                return;
            }
            () = self.interrupt.asked() => CANCELLED,
            () = until(deadline) => TIMED_OUT,
        };
        self.gate.end_hold(cancelled(why));
    }

    /// Decides the command again, from the client's very bytes, or tells how it stands. Not cancel-safe.
    pub async fn decide_held(&mut self, out: &mut Outbox) -> Result<(), MachineError> {
        if let Some(approval) = self.holding.as_mut().and_then(|holding| holding.news.take()) {
            out.client.push(notices::progress(&approval));
            return Ok(());
        }
        if self.interrupt.close() {
            self.gate.end_hold(cancelled(CANCELLED));
        }
        let Some(frame) = self.deferred.take() else { return self.let_go(SKIPPED).await };
        if let Some(holding) = &mut self.holding {
            holding.stage = Stage::Deciding;
        }
        // What it means may have changed past the gateway too.
        self.shared.catalogs.invalidate();
        self.client(frame, out).await?;
        if let Some(approval) = self.gate.take_granted() {
            out.client.push(notices::granted(&approval));
        }
        if self.deferred.is_none() {
            // Where the server skips it, nobody was asked again.
            self.let_go(SKIPPED).await?;
        }
        Ok(())
    }

    /// More was sent behind the command than is kept for it, and less would hide that its client goes away:
    /// it will not run.
    pub fn overrun(&mut self) {
        self.gate.end_hold(Denial::of(DenialKind::Gate, OVERRUN));
    }

    /// The client is gone: neither the command nor what was sent after it will run. Not cancel-safe.
    pub async fn abandon_held(&mut self, why: &str) -> Result<(), MachineError> {
        self.deferred = None;
        self.let_go(why).await
    }

    /// Keeps a command that people have to agree to.
    pub(super) async fn suspend(&mut self, frame: Frame, out: &mut Outbox) -> Result<(), MachineError> {
        self.deferred = Some(frame);
        let settled = self.waiting.is_empty();
        let Some(holding) = &mut self.holding else { return Ok(()) };
        if !settled {
            holding.stage = Stage::Settling;
            self.flush(out);
            return Ok(());
        }
        holding.stage = Stage::Asking;
        holding.since.get_or_insert_with(Instant::now);
        // The server runs nothing now, so what the client cancels is this.
        self.interrupt.open();
        if self.status == Status::Failed {
            return self.ask_people(out).await;
        }
        self.settings.statement_timeout = None;
        // As long as nothing ran in it, an open batch need not keep the locks of what it prepared.
        let ends_batch = self.status == Status::Idle && !self.has_run_in_batch();
        self.open &= !ends_batch;
        self.expect(Expect::ask(settings::TIMEOUT_QUESTIONS));
        out.own(self.settings.questions(settings::TIMEOUT_QUESTIONS, !self.open));
        if !self.open {
            self.expect(Expect::Sync { own: true });
        }
        Ok(())
    }

    /// Goes on with the wait after the server has answered something.
    pub(super) async fn resume_held(&mut self, out: &mut Outbox) -> Result<(), MachineError> {
        let Some(holding) = &self.holding else { return Ok(()) };
        let settled = self.waiting.is_empty();
        match holding.stage {
            Stage::Settling if !settled => self.flush(out),
            Stage::Asking if settled && !self.skipping => self.ask_people(out).await?,
            // What came before may have changed what the command means, or have failed.
            Stage::Settling | Stage::Deciding => self.decide_held(out).await?,
            Stage::Asking if settled => self.decide_held(out).await?,
            Stage::Asking | Stage::Waiting => {}
        }
        Ok(())
    }

    async fn ask_people(&mut self, out: &mut Outbox) -> Result<(), MachineError> {
        let Some(holding) = &mut self.holding else { return Ok(()) };
        holding.stage = Stage::Waiting;
        if self.status == Status::Failed && !holding.steers_transaction {
            return self.refuse_in_failed(out).await;
        }
        let in_transaction = self.status != Status::Idle || self.has_run_in_batch();
        if in_transaction && self.shared.hold_in_transaction == HoldInTransaction::Deny {
            self.gate.end_hold(Denial::of(DenialKind::Gate, NOT_IN_TRANSACTION));
        } else if let Some(approval) = self.gate.hold(in_transaction).await {
            out.client.push(notices::waiting(&approval, self.gate.replaced()));
        }
        Ok(())
    }

    /// In a transaction that has failed the command would not run anyway: the client reads what the
    /// server would say.
    async fn refuse_in_failed(&mut self, out: &mut Outbox) -> Result<(), MachineError> {
        let frame = self.deferred.take();
        self.let_go(SKIPPED).await?;
        match frame {
            Some(Frame::Whole { tag: b'B', .. }) => {
                self.open = true;
                self.deny_extended(deny::aborted(), deny::bind(), out);
            }
            Some(_) => {
                self.expect(Expect::Denied { error: Some(deny::aborted()), query: true });
                out.own(deny::query());
            }
            None => {}
        }
        Ok(())
    }

    /// Forgets the wait. A command that the gate still knows as suspended ends so.
    async fn let_go(&mut self, why: &str) -> Result<(), MachineError> {
        self.holding = None;
        self.interrupt.close();
        Ok(self.gate.give_up(cancelled(why)).await?)
    }

    /// Whether the server has an implicit transaction open in which something ran or is about to: one
    /// that a Sync would end.
    fn has_run_in_batch(&self) -> bool {
        self.open && (self.ran || self.objects.has_portals())
    }
}

fn cancelled(why: &str) -> Denial {
    Denial::of(DenialKind::Cancelled, why)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
