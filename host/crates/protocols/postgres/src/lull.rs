//! Notices that nothing has happened in a session for a while, so that memory which can be made again is
//! given back. One timer a session, which is set only when it has run out: what happens costs a flag.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// Waits for the next lull.
pub struct Lull {
    after: Duration,
    timer: Pin<Box<Sleep>>,
    /// Something happened since the timer was set.
    stirred: bool,
    /// There was a lull, and nothing has happened since.
    calm: bool,
}

impl Lull {
    /// It is a lull when nothing has happened for this long; it may be noticed as late again.
    pub fn new(after: Duration) -> Self {
        Self { after, timer: Box::pin(sleep(after)), stirred: false, calm: false }
    }

    /// Something happened.
    pub fn stir(&mut self) {
        self.stirred = true;
        if std::mem::take(&mut self.calm) {
            self.timer.as_mut().reset(Instant::now() + self.after);
        }
    }

    /// Returns once in every lull. Cancel-safe.
    pub async fn fell(&mut self) {
        if self.calm {
            return std::future::pending().await;
        }
        loop {
            self.timer.as_mut().await;
            if !std::mem::take(&mut self.stirred) {
                self.calm = true;
                return;
            }
            self.timer.as_mut().reset(Instant::now() + self.after);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_lull_is_noticed_once_and_again_after_the_next_stir() {
        let after = Duration::from_millis(20);
        let mut lull = Lull::new(after);
        for _ in 0..2 {
            lull.stir();
            let since = Instant::now();
            lull.fell().await;
            assert!(since.elapsed() >= after);
            assert!(timeout(after * 5, lull.fell()).await.is_err());
        }
    }

    #[tokio::test]
    async fn what_goes_on_is_no_lull() {
        let mut lull = Lull::new(Duration::from_millis(200));
        for _ in 0..40 {
            lull.stir();
            assert!(timeout(Duration::from_millis(10), lull.fell()).await.is_err());
        }
    }
}
