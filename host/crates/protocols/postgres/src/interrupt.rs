//! Cancel requests for a command that waits for people: the server knows nothing of it, so the request
//! must not go there. Shared by the session and by whoever receives its cancel requests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Where cancel requests of a session go.
#[derive(Debug, Default)]
pub struct Interrupt {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To the server.
    #[default]
    Elsewhere,
    /// Here.
    Open,
    /// Here, and there was one.
    Asked,
}

impl Interrupt {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests end the hold.
    pub fn open(&self) {
        let mut state = self.state();
        if *state == State::Elsewhere {
            *state = State::Open;
        }
    }

    /// From now on requests go to the server. Returns whether there was one since it was opened.
    pub fn close(&self) -> bool {
        std::mem::take(&mut *self.state()) == State::Asked
    }

    /// A request came. Returns whether it was for here.
    pub fn ask(&self) -> bool {
        let mut state = self.state();
        if *state == State::Elsewhere {
            return false;
        }
        *state = State::Asked;
        self.wake.notify_one();
        true
    }

    /// Waits for a request. Cancel-safe.
    pub async fn asked(&self) {
        // A wake-up may be left of an earlier hold, so only the state counts.
        while *self.state() != State::Asked {
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_request_ends_the_hold_that_it_came_during_and_no_other() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.ask(), "nothing is on hold");
        interrupt.open();
        assert!(interrupt.ask());
        interrupt.asked().await;
        assert!(interrupt.close() && !interrupt.close());
        interrupt.open();
        let waited = tokio::time::timeout(Duration::from_millis(20), interrupt.asked()).await;
        assert!(waited.is_err(), "the request was for the hold before");
    }
}
