//! How long a session may last, and how long it may be idle. A session has one timer, which is set anew
//! only when it fires: until then a session that is bounded looks at the clock before each wait, and does no more.

use std::{future::pending, pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

/// What bounds a session. By default nothing does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionLimits {
    /// How long it may wait for its client.
    pub idle: Option<Duration>,
    /// How long it may last, whatever it does.
    pub longest: Option<Duration>,
}

/// Which bound a session met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It was idle for too long.
    Idle(Duration),
    /// It lasted for too long.
    Longest(Duration),
}

/// A session's time.
pub struct Lifetime {
    limits: SessionLimits,
    began: Instant,
    idle_since: Option<Instant>,
    /// None where nothing bounds the session.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Lifetime {
    /// The time of a session that begins now.
    pub fn new(limits: SessionLimits) -> Self {
        let began = Instant::now();
        let mut lifetime = Self { limits, began, idle_since: None, timer: None };
        lifetime.timer = lifetime.next_look(began).map(|at| Box::pin(sleep_until(at)));
        lifetime
    }

    /// Says whether the session waits for its client. Call it before each wait.
    pub fn set_idle(&mut self, idle: bool) {
        if !idle {
            self.idle_since = None;
        } else if self.idle_since.is_none() && self.limits.idle.is_some() {
            self.idle_since = Some(Instant::now());
        }
    }

    /// Whether the session is to end, without a wait: what never rests is never woken.
    pub fn is_over(&self) -> Option<Over> {
        self.timer.as_ref()?;
        self.over_at(Instant::now())
    }

    /// Waits until the session is to end. Cancel-safe.
    pub async fn over(&mut self) -> Over {
        loop {
            let Some(timer) = &mut self.timer else { return pending().await };
            timer.as_mut().await;
            let now = Instant::now();
            if let Some(over) = self.over_at(now) {
                return over;
            }
            let next = self.next_look(now);
            if let (Some(timer), Some(at)) = (&mut self.timer, next) {
                timer.as_mut().reset(at);
            }
        }
    }

    fn over_at(&self, now: Instant) -> Option<Over> {
        let SessionLimits { idle, longest } = self.limits;
        if let Some(longest) = longest.filter(|longest| now.duration_since(self.began) >= *longest) {
            return Some(Over::Longest(longest));
        }
        let since = self.idle_since?;
        idle.filter(|idle| now.duration_since(since) >= *idle).map(Over::Idle)
    }

    /// The next moment at which the session can be over, as far as is known now.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let SessionLimits { idle, longest } = self.limits;
        let idle = idle.and_then(|idle| self.idle_since.unwrap_or(now).checked_add(idle));
        let longest = longest.and_then(|longest| self.began.checked_add(longest));
        idle.into_iter().chain(longest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn lifetime(idle: Option<u32>, longest: Option<u32>) -> Lifetime {
        let limits = SessionLimits { idle: idle.map(|n| n * MINUTE), longest: longest.map(|n| n * MINUTE) };
        // Only to be asked about other moments, so it needs no timer.
        Lifetime { limits, began: Instant::now(), idle_since: None, timer: None }
    }

    #[test]
    fn a_session_is_over_when_it_has_been_idle_for_so_long() {
        let mut session = lifetime(Some(10), None);
        let after = |minutes: u32| session.began + minutes * MINUTE;
        assert_eq!((session.over_at(after(1000)), session.next_look(after(1000))), (None, Some(after(1010))));
        let (nine, ten, eleven) = (after(9), after(10), after(11));
        session.idle_since = Some(session.began + MINUTE);
        assert_eq!((session.over_at(ten), session.next_look(nine)), (None, Some(eleven)));
        assert_eq!(session.over_at(eleven), Some(Over::Idle(10 * MINUTE)));
    }

    #[test]
    fn a_session_is_over_after_its_longest_time_whatever_it_does() {
        let mut session = lifetime(Some(10), Some(25));
        let began = session.began;
        let after = |minutes: u32| began + minutes * MINUTE;
        assert_eq!((session.next_look(began), session.next_look(after(20))), (Some(after(10)), Some(after(25))));
        assert_eq!((session.over_at(after(24)), session.over_at(after(25))), (None, Some(Over::Longest(25 * MINUTE))));
        session.idle_since = Some(after(20));
        assert_eq!(session.over_at(after(30)), Some(Over::Longest(25 * MINUTE)));
    }

    #[tokio::test]
    async fn idleness_begins_anew_with_each_wait_for_the_client() {
        let idle = Duration::from_millis(200);
        let mut session = Lifetime::new(SessionLimits { idle: Some(idle), longest: None });
        tokio::time::sleep(idle / 2).await;
        session.set_idle(true);
        let first = session.idle_since;
        session.set_idle(true);
        assert_eq!(session.idle_since, first);
        session.set_idle(false);
        session.set_idle(true);
        let (second, over) = (session.idle_since.unwrap(), session.over().await);
        assert!(second > first.unwrap() && second.elapsed() >= idle);
        assert_eq!(over, Over::Idle(idle));
    }

    #[tokio::test]
    async fn what_nothing_bounds_has_no_timer_and_looks_at_no_clock() {
        let mut session = Lifetime::new(SessionLimits::default());
        session.set_idle(true);
        assert!(session.timer.is_none() && session.idle_since.is_none());
    }
}
