//! The deadline of a call. It is meant for the policy's own work: on a busy machine a thread may wait
//! for a processor far longer than any policy takes, and that must not block innocent commands. So
//! a call that is late is given what it spent waiting, by the kernel's account of the thread.

use std::{
    fs,
    time::{Duration, Instant},
};

/// A call ends after this many deadlines whatever the account says.
const AT_MOST: u32 = 50;

/// The deadline of one instance's calls. A call that ends in time never looks at a clock.
pub(crate) struct Deadline {
    limit: Duration,
    late: Option<Late>,
}

/// Taken when half of the deadline has passed.
struct Late {
    at: Instant,
    /// What the thread had worked by then.
    worked: Option<Duration>,
}

impl Deadline {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, late: None }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Begins a call. Returns after how many ticks [`expired`](Self::expired) is to be asked.
    pub(crate) fn begin(&mut self) -> u64 {
        self.late = None;
        // One more, since a call may begin just before a tick.
        ticks(self.limit / 2) + 1
    }

    /// How many ticks the call may go on; none where it has had its time.
    pub(crate) fn expired(&mut self) -> Option<u64> {
        let half = self.limit / 2;
        let Some(late) = &self.late else {
            self.late = Some(Late { at: Instant::now(), worked: worked() });
            return Some(ticks(half));
        };
        let (before, now) = (late.worked?, worked()?);
        if late.at.elapsed() > self.limit * AT_MOST {
            return None;
        }
        half.checked_sub(now.saturating_sub(before)).filter(|left| !left.is_zero()).map(ticks)
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// How long this thread has run on a processor: the first number in its `schedstat`, in nanoseconds.
/// <https://docs.kernel.org/scheduler/sched-stats.html>
fn worked() -> Option<Duration> {
    let account = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    account.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn waiting_is_not_counted_and_working_is() {
        let mut deadline = Deadline::new(Duration::from_millis(40));
        assert_eq!(deadline.begin(), 21);
        assert_eq!(deadline.expired(), Some(20));
        sleep(Duration::from_millis(50));
        assert!(deadline.expired().is_some_and(|left| left > 10));
        let start = Instant::now();
        while deadline.expired().is_some() {
            assert!(start.elapsed() < Duration::from_secs(20), "work is never counted");
        }
    }
}
