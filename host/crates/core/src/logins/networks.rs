//! How many wrong secrets came from each network, for whatever users: who tries one secret on many names is slowed down
//! as who tries many secrets on one name is. Pure: time comes from outside.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::tries::{Entrance, Outcome};

/// So many wrong secrets from one network follow each other without a wait: many people may share an address.
pub(super) const FREE: u32 = 100;
/// After so long one of them is forgotten.
const FORGET: Duration = Duration::from_secs(10);
/// How many networks are kept in mind; some 64 bytes each.
const MAX_KEPT: usize = 16 * 1024;

/// What came from each network.
#[derive(Default)]
pub(super) struct Networks(HashMap<u64, Kept>);

struct Kept {
    wrong: u32,
    under_way: u32,
    /// Refused unheard since the last one that was looked at.
    unheard: u64,
    /// Up to when wrong ones were forgotten.
    forgotten: Instant,
}

impl Networks {
    /// Asks whether a secret may be looked at. Where it may, [`Networks::leave`] says what came of it.
    pub(super) fn enter(&mut self, key: u64, now: Instant) -> Entrance {
        if self.0.len() >= MAX_KEPT && !self.0.contains_key(&key) {
            self.0.retain(|_, kept| kept.forget(now) || kept.under_way > 0);
        }
        let full = self.0.len() >= MAX_KEPT;
        let Some(kept) = self.of(key, full, now) else { return Entrance::Open };
        kept.forget(now);
        if kept.wrong >= FREE {
            kept.unheard += 1;
            let wait = FORGET.saturating_sub(now.saturating_duration_since(kept.forgotten));
            return Entrance::Closed { wait, first: kept.unheard == 1 };
        }
        if kept.wrong + kept.under_way >= FREE {
            return Entrance::Wait;
        }
        kept.under_way += 1;
        Entrance::Open
    }

    /// Notes what came of one that was looked at. Returns how many were refused unheard before it.
    pub(super) fn leave(&mut self, key: u64, outcome: Outcome) -> u64 {
        let Some(kept) = self.0.get_mut(&key) else { return 0 };
        kept.under_way = kept.under_way.saturating_sub(1);
        let unheard = kept.unheard;
        match outcome {
            Outcome::Wrong => (kept.wrong, kept.unheard) = (kept.wrong.saturating_add(1), 0),
            Outcome::Right => kept.unheard = 0,
            Outcome::Unknown => {}
        }
        if kept.wrong == 0 && kept.under_way == 0 {
            self.0.remove(&key);
        }
        unheard
    }

    /// What is known of a network; none where there is no room for it: what is under attack is not pushed out.
    fn of(&mut self, key: u64, full: bool, now: Instant) -> Option<&mut Kept> {
        if full {
            return self.0.get_mut(&key);
        }
        Some(self.0.entry(key).or_insert_with(|| Kept { wrong: 0, under_way: 0, unheard: 0, forgotten: now }))
    }
}

impl Kept {
    /// Forgets what is old enough; says whether anything is left.
    fn forget(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.forgotten).as_secs() / FORGET.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.wrong = self.wrong.saturating_sub(passed);
        self.forgotten = if self.wrong == 0 { now } else { self.forgotten + FORGET * passed };
        self.wrong > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_so_many_wrong_ones_and_one_more_for_each_that_is_forgotten() {
        let (mut networks, start) = (Networks::default(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(networks.enter(1, start), Entrance::Open);
            networks.leave(1, Outcome::Wrong);
        }
        let closed = |first| Entrance::Closed { wait: FORGET, first };
        assert_eq!([networks.enter(1, start), networks.enter(1, start)], [closed(true), closed(false)]);
        assert_eq!(networks.enter(2, start), Entrance::Open, "another one");
        let later = start + FORGET;
        assert_eq!(networks.enter(1, later), Entrance::Open);
        assert_eq!(networks.leave(1, Outcome::Wrong), 2, "those that were refused are told");
        assert_eq!(networks.enter(1, later), Entrance::Closed { wait: FORGET, first: true });
    }

    #[test]
    fn right_ones_neither_count_nor_pay_for_wrong_ones() {
        let (mut networks, start) = (Networks::default(), Instant::now());
        for n in 1..=4 * FREE {
            assert_eq!(networks.enter(1, start), Entrance::Open, "{n}");
            networks.leave(1, if n % 4 == 0 { Outcome::Wrong } else { Outcome::Right });
        }
        assert!(matches!(networks.enter(1, start), Entrance::Closed { .. }));
    }

    #[test]
    fn those_that_come_at_once_wait_until_it_is_known_what_the_others_are() {
        let (mut networks, start) = (Networks::default(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(networks.enter(1, start), Entrance::Open);
        }
        assert_eq!(networks.enter(1, start), Entrance::Wait);
        networks.leave(1, Outcome::Right);
        assert_eq!(networks.enter(1, start), Entrance::Open);
    }

    #[test]
    fn what_nobody_tries_is_not_kept() {
        let (mut networks, start) = (Networks::default(), Instant::now());
        networks.enter(1, start);
        networks.leave(1, Outcome::Right);
        assert!(networks.0.is_empty());
        networks.enter(1, start);
        networks.leave(1, Outcome::Wrong);
        for key in 2..=u64::try_from(MAX_KEPT).unwrap() {
            networks.enter(key, start);
            networks.leave(key, Outcome::Wrong);
        }
        assert_eq!(networks.0.len(), MAX_KEPT);
        networks.enter(0, start + FORGET);
        assert_eq!(networks.0.len(), 1, "room is made of what is forgotten");
    }
}
