//! Moves the bytes of one session: what either side sends goes through the machine, and what the
//! machine says goes to either side. Neither side can make the other's bytes pile up: while one
//! does not read, the other is not read from.

mod ending;

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use sluicegate_net::{Lifetime, MaybeTls, SessionLimits, Stop};

use ending::{Bound, Bounds, GONE};

use crate::{
    codec::message,
    error::SessionError,
    lull::Lull,
    machine::{Machine, Outbox},
    registry::{CancelKey, Canceller, Registry},
    side::{READ_SIZE, Side},
    upstream::{CancelToken, Lease, Parameters, Upstream},
};

/// The largest message of a client that is read whole: a statement's text has 1 MiB at most.
const CLIENT_WHOLE: usize = 1024 * 1024 + 4096;
/// The largest message of a target that is read whole: a row that must be masked.
const SERVER_WHOLE: usize = 16 * 1024 * 1024;
/// More is read from one side only while less than this waits to be written to the other.
const HIGH_WATER: usize = 256 * 1024;
/// While a command waits for people, so much is read behind it, so that a client that goes away is
/// noticed.
const BEHIND_HOLD: usize = 1024 * 1024;
/// A session in which nothing has happened for so long gives back what can be made again.
const LULL: Duration = Duration::from_secs(5);
/// Once its client has gone, a target that says nothing for so long is asked once more to cancel what it reads,
/// and is given up after as long again.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// The same where it may still be writing: how that ended belongs in the record.
const LAST_WRITE: Duration = Duration::from_secs(60 * 60);
/// Runs a session to its end. The end is recorded, whatever it is.
pub async fn run(
    client: &mut MaybeTls,
    upstream: Upstream,
    lease: Option<Lease>,
    mut machine: Machine,
    registry: &Registry,
    limits: SessionLimits,
    mut stop: Stop,
) -> Result<(), SessionError> {
    // What was lent for the connection is held until the end, and given back when it is dropped.
    let Upstream { stream, read_ahead, cancel, lease: vault_lease, .. } = upstream;
    let (cancel, mut kept) = (Arc::new(cancel), None);
    let canceller = Canceller { token: Arc::clone(&cancel), interrupt: machine.interrupt() };
    let registered =
        registry.enter(canceller).map_err(|error| SessionError::Client(io::Error::other(error.to_string())));
    let mut out = Outbox::default();
    let ended = match &registered {
        Ok(registered) => {
            out.client.write(|out| greeting(machine.parameters(), registered.key, out));
            let metrics = machine.metrics();
            let client = Side::new(client, CLIENT_WHOLE, BytesMut::new(), metrics.to_client());
            let server = Side::new(stream, SERVER_WHOLE, read_ahead, metrics.to_target());
            let machine = &mut machine;
            let (lull, standing, lease) = (Lull::new(LULL), machine.standing(), vault_lease.as_ref());
            let bounds = Bounds { lifetime: Lifetime::new(limits), standing, lease };
            let cancel = Arc::clone(&cancel);
            let mut session =
                Session { client, server, machine, out, lull, bounds, cancel, gone: false, cancels: 0, leaving: None };
            let ended = match session.work(&mut stop).await {
                Ok(reason) => Ok(reason),
                Err(error) => Err(session.conclude(error).await),
            };
            kept = session.kept();
            ended
        }
        Err(_) => Ok(String::new()),
    };
    let ended = registered.and(ended);
    match &ended {
        Ok(reason) => machine.close(reason).await,
        Err(error) => machine.close(&error.to_string()).await,
    }
    // Whoever still cancels something of this session must not hit the next one.
    if let (Some(stream), Some(lease), Some(cancel)) = (kept, lease, Arc::into_inner(cancel)) {
        let parameters = machine.parameters().clone();
        let upstream = Upstream { stream, parameters, read_ahead: BytesMut::new(), cancel, lease: vault_lease };
        tokio::spawn(lease.give_back(upstream));
    }
    ended.map(|_| ())
}

/// AuthenticationOk, the settings, the key for cancel requests, ReadyForQuery.
fn greeting(parameters: &Parameters, key: CancelKey, out: &mut BytesMut) {
    message::put(out, b'R', |out| out.put_u32(0));
    for (name, value) in parameters.iter() {
        message::put(out, b'S', |out| {
            message::put_cstr(out, name.as_bytes());
            message::put_cstr(out, value.as_bytes());
        });
    }
    message::put(out, b'K', |out| {
        out.put_u32(key.pid);
        out.put_slice(&key.secret);
    });
    message::put(out, b'Z', |out| out.put_u8(b'I'));
}

struct Session<'a> {
    client: Side<&'a mut MaybeTls>,
    server: Side<MaybeTls>,
    machine: &'a mut Machine,
    out: Outbox,
    lull: Lull,
    bounds: Bounds<'a>,
    cancel: Arc<CancelToken>,
    /// The client's socket is closed or broken: nothing is read from it or written to it any more.
    gone: bool,
    /// How often what was read for it was cancelled.
    cancels: u8,
    /// Terminate was sent on: what was accepted before it still runs to its end.
    leaving: Option<String>,
}

/// A session that is idle, or waits for people, stops when it is asked to; any other when the grace is
/// nearly over.
async fn stop_at(stop: &mut Stop, at_once: bool) {
    if at_once { stop.asked().await } else { stop.overdue().await }
}

/// Which socket became ready.
enum Ready {
    Client(io::Result<usize>),
    Server(io::Result<usize>),
    Written,
    /// The command that waits for people can be decided again.
    HoldOver,
    /// Nothing has happened for a while.
    Lull,
    /// Something ends the session from outside.
    Bound(Bound),
    Stop,
    /// The client is gone, and the target says nothing.
    Silence,
}

/// Writes what either side takes without a wait; says whether that was something, or the client is found gone.
fn write_some(
    client: &mut Side<&mut MaybeTls>,
    server: &mut Side<MaybeTls>,
    out: &mut Outbox,
    gone: &mut bool,
    context: &mut Context<'_>,
) -> Result<bool, SessionError> {
    let (for_client, for_server) = out.queues();
    let mut wrote = false;
    while server.has_work(for_server)
        && let Poll::Ready(written) = server.poll_write(context, for_server)
    {
        written.map_err(SessionError::Target)?;
        wrote = true;
    }
    while !*gone
        && client.has_work(for_client)
        && let Poll::Ready(written) = client.poll_write(context, for_client)
    {
        if let Err(error) = written {
            tracing::debug!(%error, "the client does not read any more");
            *gone = true;
        }
        wrote = true;
    }
    Ok(wrote)
}

/// Passes after so much time; never where there is none.
async fn silence(patience: Option<Duration>) {
    match patience {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    /// Returns why the session ended in good order.
    async fn work(&mut self, stop: &mut Stop) -> Result<String, SessionError> {
        loop {
            self.receive_from_server().await?;
            self.receive_from_client().await?;
            if std::mem::take(&mut self.out.cancel)
                && let Err(error) = Box::pin(self.cancel.cancel()).await
            {
                tracing::warn!(%error, "a refused result could not be cancelled at the target");
            }
            match self.out.close.take() {
                Some(reason) if self.out.keep => return Ok(reason),
                Some(reason) => self.leaving = Some(reason),
                None => {}
            }
            let dropped = self.gone && Box::pin(self.leave()).await?;
            let wrote = self.write_now().await?;
            if dropped || wrote && (self.gone || !self.client.hungry || !self.server.hungry) {
                // There is room again for what was not taken for want of it, or a client that has gone is left.
                continue;
            }
            if self.machine.is_idle() {
                self.client.rest();
                self.server.rest();
                self.out.client.rest();
            }
            match (self.next(stop).await?, self.leaving.take()) {
                (Ready::Server(Ok(0) | Err(_)), Some(reason)) => return Ok(reason),
                (Ready::Server(Ok(0)), None) => return Box::pin(self.target_closed()).await,
                (Ready::Server(Err(error)), None) => return Err(SessionError::Target(error)),
                (Ready::Silence, leaving) => {
                    // The first cancel may have come before what it was to cancel.
                    if Box::pin(self.cancel_reading(2)).await {
                        self.leaving = leaving;
                        continue;
                    }
                    tracing::warn!("the target says nothing to a session whose client has gone; it is given up");
                    return Ok(leaving.unwrap_or_else(|| GONE.into()));
                }
                (Ready::Stop, _) if self.machine.is_on_hold() => return Err(SessionError::StoppingOnHold),
                (Ready::Stop, _) => {
                    Box::pin(self.cut_short()).await;
                    return Err(SessionError::Stopping);
                }
                (Ready::Bound(bound), _) => return Err(Box::pin(self.end_at(bound)).await),
                (Ready::HoldOver, leaving) => {
                    self.leaving = leaving;
                    Box::pin(self.machine.decide_held(&mut self.out)).await?;
                }
                (Ready::Client(Ok(0) | Err(_)), leaving) => (self.gone, self.leaving) = (true, leaving),
                (Ready::Lull, leaving) => {
                    self.leaving = leaving;
                    self.machine.rest(&mut self.out);
                }
                (Ready::Client(Ok(_)) | Ready::Server(Ok(_)) | Ready::Written, leaving) => {
                    self.leaving = leaving;
                    self.lull.stir();
                }
            }
        }
    }

    async fn receive_from_server(&mut self) -> Result<(), SessionError> {
        self.server.hungry = false;
        let mut progress = false;
        while self.out.client.len() < HIGH_WATER {
            if let Some(most) = self.machine.takes_rows()
                && let Some((bytes, count)) = self.server.decoder.rows(most).map_err(SessionError::TargetFrame)?
            {
                self.machine.rows(bytes, count, &mut self.out)?;
                continue;
            }
            let Some(frame) = self.server.decoder.next_frame().map_err(SessionError::TargetFrame)? else {
                self.server.hungry = true;
                break;
            };
            self.machine.server(frame, &mut self.out).await?;
            progress = true;
        }
        if progress && self.machine.is_deferring() {
            Box::pin(self.machine.resume(&mut self.out)).await?;
        }
        Ok(())
    }

    async fn receive_from_client(&mut self) -> Result<(), SessionError> {
        self.client.hungry = false;
        while self.takes_messages() {
            let Some(frame) = self.client.decoder.next_frame().map_err(SessionError::ClientFrame)? else {
                (self.client.hungry, self.client.starved) = (true, true);
                return Ok(());
            };
            self.client.starved = false;
            self.machine.client(frame, &mut self.out).await?;
        }
        // A client that goes away while its message is kept must be noticed.
        let bound = if self.machine.is_suspended() { BEHIND_HOLD } else { READ_SIZE };
        self.client.hungry = self.machine.is_deferring() && self.client.decoder.buffered() < bound;
        if self.machine.is_suspended() && !self.client.hungry {
            self.machine.overrun();
        }
        Ok(())
    }

    fn takes_messages(&mut self) -> bool {
        let leaving = self.leaving.is_some() || self.out.close.is_some();
        let room = self.out.waits_for_server() < HIGH_WATER && !self.machine.is_full(&mut self.out);
        room && !leaving && !self.machine.is_deferring()
    }

    /// Writes what the sockets take without a wait; says whether that was something, or the client is found gone.
    async fn write_now(&mut self) -> Result<bool, SessionError> {
        let Self { client, server, out, gone, .. } = self;
        let wrote = poll_fn(|context| Poll::Ready(write_some(client, server, out, gone, context))).await?;
        if wrote {
            self.lull.stir();
        }
        Ok(wrote)
    }

    /// What comes first of all that the session waits for.
    async fn next(&mut self, stop: &mut Stop) -> Result<Ready, SessionError> {
        let Self { client, server, machine, out, lull, bounds, gone, leaving, .. } = self;
        let (for_client, for_server) = out.queues();
        let writes = !*gone && client.has_work(for_client) || server.has_work(for_server);
        let may_read = leaving.is_none();
        let patience = || if machine.runs_a_write() { LAST_WRITE } else { LAST_ANSWER };
        let patience = (*gone || leaving.is_some()).then(patience);
        bounds.lifetime.set_idle(machine.waits_for_client() && !writes);
        // What is below sockets that are always ready is never looked at.
        if stop.is_overdue() {
            return Ok(Ready::Stop);
        }
        if let Some(bound) = bounds.met() {
            return Ok(Ready::Bound(bound));
        }
        let may_stop = (machine.is_idle() || machine.is_on_hold()) && !writes;
        let sockets = poll_fn(|context| {
            if write_some(client, server, out, gone, context)? {
                return Poll::Ready(Ok(Ready::Written));
            }
            if server.hungry
                && let Poll::Ready(count) = server.poll_read(context)
            {
                return Poll::Ready(Ok(Ready::Server(count)));
            }
            if may_read
                && client.hungry
                && !*gone
                && let Poll::Ready(count) = client.poll_read(context)
            {
                return Poll::Ready(Ok(Ready::Client(count)));
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            ready = sockets => ready,
            () = machine.hold_over() => Ok(Ready::HoldOver),
            // A look around every few seconds would begin the silence anew.
            () = lull.fell(), if patience.is_none() => Ok(Ready::Lull),
            bound = bounds.until_met() => Ok(Ready::Bound(bound)),
            () = stop_at(stop, may_stop) => Ok(Ready::Stop),
            () = silence(patience) => Ok(Ready::Silence),
        }
    }

    /// The connection to the target, if the session ended without it and nothing is on its way there.
    fn kept(self) -> Option<MaybeTls> {
        let Self { server, mut out, .. } = self;
        let (_, for_server) = out.queues();
        let quiet = server.decoder.buffered() == 0 && !server.has_work(for_server);
        (out.keep && quiet).then(|| server.into_stream())
    }
}
