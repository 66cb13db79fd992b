//! How many wrong secrets there were, by user and network, and when the next one is looked at. Pure: time
//! comes from outside. Names that exist and names that do not are counted alike.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// So many wrong secrets follow each other without a wait: people mistype.
pub(super) const FREE: u32 = 5;
/// The wait after the last of those; it doubles with each wrong one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait, which whoever has found their secret again may still have before them.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After so long without a try, the wrong ones are forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);
/// How many users and networks are kept in mind; some 64 bytes each.
const MAX_KEPT: usize = 16 * 1024;

/// Whether a secret is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    /// It is.
    Open,
    /// Not before others of the same user and network are verified, since those may be wrong.
    Wait,
    /// It is not.
    Closed { wait: Duration, first: bool },
}

/// What came of one that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Right,
    Wrong,
    Unknown,
}

/// The tries of all users and networks.
#[derive(Default)]
pub(super) struct Tries(HashMap<u64, Kept>);

struct Kept {
    wrong: u32,
    under_way: u32,
    /// Refused unheard since the last one that was looked at.
    unheard: u64,
    closed_until: Option<Instant>,
    last: Instant,
}

impl Tries {
    /// Asks whether a secret may be looked at. Where it may, [`Tries::leave`] says what came of it.
    pub(super) fn enter(&mut self, key: u64, now: Instant) -> Entrance {
        if !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let kept = self.0.entry(key).or_insert_with(|| Kept::new(now));
        if kept.is_stale(now) {
            *kept = Kept::new(now);
        }
        kept.last = now;
        if let Some(wait) = kept.closed_until.and_then(|until| until.checked_duration_since(now))
            && !wait.is_zero()
        {
            kept.unheard += 1;
            return Entrance::Closed { wait, first: kept.unheard == 1 };
        }
        if kept.wrong >= FREE {
            // The next one comes after this one's outcome and the wait that follows.
            kept.closed_until = Some(now + wait_after(kept.wrong + 1));
        } else if kept.wrong + kept.under_way >= FREE {
            return Entrance::Wait;
        }
        kept.under_way += 1;
        Entrance::Open
    }

    /// Notes what came of one that was looked at. Returns how many wrong ones there were before it, and
    /// how many were refused unheard.
    pub(super) fn leave(&mut self, key: u64, outcome: Outcome, now: Instant) -> (u32, u64) {
        let Some(kept) = self.0.get_mut(&key) else { return (0, 0) };
        kept.under_way = kept.under_way.saturating_sub(1);
        let counted = (kept.wrong, kept.unheard);
        match outcome {
            Outcome::Wrong => {
                (kept.wrong, kept.unheard) = (kept.wrong.saturating_add(1), 0);
                if kept.wrong >= FREE {
                    kept.closed_until = Some(now + wait_after(kept.wrong));
                }
            }
            Outcome::Right => (kept.wrong, kept.unheard, kept.closed_until) = (0, 0, None),
            Outcome::Unknown => {}
        }
        if kept.wrong == 0 && kept.under_way == 0 {
            self.0.remove(&key);
        }
        counted
    }

    /// Where there is no room, what is stale is forgotten, and then some of what has the fewest wrong tries:
    /// invented names do not push out those under attack.
    fn make_room(&mut self, now: Instant) {
        if self.0.len() < MAX_KEPT {
            return;
        }
        self.0.retain(|_, kept| !kept.is_stale(now));
        if self.0.len() < MAX_KEPT {
            return;
        }
        let idle = self.0.iter().filter(|(_, kept)| kept.under_way == 0);
        let mut idle: Vec<_> = idle.map(|(key, kept)| (kept.wrong, kept.last, *key)).collect();
        idle.sort_unstable();
        for (_, _, key) in idle.into_iter().take(MAX_KEPT / 8) {
            self.0.remove(&key);
        }
    }
}

impl Kept {
    fn new(now: Instant) -> Self {
        Self { wrong: 0, under_way: 0, unheard: 0, closed_until: None, last: now }
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.under_way == 0 && now.saturating_duration_since(self.last) > FORGET
    }
}

fn wait_after(wrong: u32) -> Duration {
    let doublings = wrong.saturating_sub(FREE).min(16);
    (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: u64 = 1;

    fn guess(tries: &mut Tries, key: u64, now: Instant) {
        assert_eq!(tries.enter(key, now), Entrance::Open);
        tries.leave(key, Outcome::Wrong, now);
    }

    fn wait(tries: &mut Tries, now: Instant) -> u64 {
        match tries.enter(ALICE, now) {
            Entrance::Closed { wait, .. } => wait.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_wrong_one_doubles_the_wait_up_to_a_minute() {
        let (mut tries, mut now) = (Tries::default(), Instant::now());
        for _ in 1..FREE {
            guess(&mut tries, ALICE, now);
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            guess(&mut tries, ALICE, now);
            let seconds = wait(&mut tries, now);
            waits.push(seconds);
            now += Duration::from_secs(seconds) - Duration::from_millis(1);
            assert_eq!(wait(&mut tries, now), 0, "the wait is not over before its end");
            now += Duration::from_millis(1);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn while_one_is_looked_at_after_a_wait_there_is_no_other() {
        let (mut tries, mut now) = (Tries::default(), Instant::now());
        for _ in 0..FREE {
            guess(&mut tries, ALICE, now);
        }
        now += Duration::from_secs(1);
        assert_eq!(tries.enter(ALICE, now), Entrance::Open);
        assert!(matches!(tries.enter(ALICE, now), Entrance::Closed { first: true, .. }));
        assert!(matches!(tries.enter(ALICE, now), Entrance::Closed { first: false, .. }));
        assert_eq!(tries.leave(ALICE, Outcome::Wrong, now), (FREE, 2), "those refused meanwhile are told");
    }

    #[test]
    fn the_right_one_and_a_long_pause_wipe_the_slate() {
        let (mut tries, mut now) = (Tries::default(), Instant::now());
        for _ in 0..FREE {
            guess(&mut tries, ALICE, now);
        }
        now += Duration::from_secs(1);
        assert_eq!(tries.enter(ALICE, now), Entrance::Open);
        tries.leave(ALICE, Outcome::Right, now);
        assert!(tries.0.is_empty());
        for _ in 0..FREE + 3 {
            if tries.enter(ALICE, now) == Entrance::Open {
                tries.leave(ALICE, Outcome::Wrong, now);
            }
        }
        now += FORGET + Duration::from_secs(1);
        for _ in 0..FREE {
            guess(&mut tries, ALICE, now);
        }
    }

    #[test]
    fn invented_names_take_no_more_than_their_room_and_free_nobody() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for _ in 0..FREE {
            guess(&mut tries, ALICE, now);
        }
        for name in 2..2 * MAX_KEPT as u64 {
            guess(&mut tries, name, now);
        }
        assert!(tries.0.len() <= MAX_KEPT && tries.0.len() > MAX_KEPT / 2);
        assert!(wait(&mut tries, now) > 0);
    }
}
