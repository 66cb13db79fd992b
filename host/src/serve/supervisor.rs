//! What systemd is told, where it started the gateway (sd_notify(3)): that clients are served, that a
//! reload is under way, that it stops, and, for its watchdog, that it lives. Elsewhere nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How long the record and the API may take to close once the sessions have ended.
const CLOSING: Duration = Duration::from_secs(30);
/// Half of a watchdog's time is never less than this.
const SHORTEST_BEAT: Duration = Duration::from_millis(1);

/// Tells the watchdog that the gateway's own loop goes round.
pub struct Heart(Option<Interval>);

impl Heart {
    /// One that beats twice in the watchdog's time; never, where there is no watchdog.
    pub fn start() -> Self {
        Self(sd_notify::watchdog_enabled().map(|limit| {
            let mut beats = interval((limit / 2).max(SHORTEST_BEAT));
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beats
        }))
    }

    /// Waits until it beats, and beats. Cancel-safe.
    pub async fn beat(&mut self) {
        match &mut self.0 {
            Some(beats) => _ = beats.tick().await,
            None => std::future::pending().await,
        }
        tell(&[NotifyState::Watchdog]);
    }
}

/// Clients are served.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] has to follow, whatever comes of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be told of the reload"),
    }
}

/// No new clients are served, and open sessions have so long to end.
pub fn stopping(drain: Duration) {
    let most = u32::try_from((drain + CLOSING).as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(most)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told how the gateway stands");
    }
}
