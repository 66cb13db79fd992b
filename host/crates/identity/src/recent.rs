//! Secrets that have just been verified. Verifying one takes argon2 some 20 ms of a core, on purpose, and
//! clients that connect again and again would pay it each time. So whoever has proven a secret need not
//! prove it by argon2 again for a minute, and those who show the same secret at the same time share one
//! verification. A guess costs what it always did.
//!
//! What is kept of a secret is a keyed hash, by a key that never leaves the process, and only while the
//! hash in the configuration is the one it was verified against.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::OnceCell;

use crate::workers::Answer;

/// How long a proof holds, from when argon2 gave it. Using it does not prolong it.
const HOLDS: Duration = Duration::from_secs(60);

/// The key of the marks: random, of this process alone.
pub(crate) struct MarkKey(Hmac<Sha256>);

/// A user's name and a secret, as nobody without the key can compute it or guess its secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark([u8; 32]);

impl MarkKey {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        // As long as a block of the hash (RFC 2104), so that it needs no padding.
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Self(Hmac::new(&key.into())))
    }

    pub(crate) fn mark(&self, user: &str, secret: &SecretString) -> Mark {
        let mut mac = self.0.clone();
        // The length keeps apart what is the name's and what the secret's.
        mac.update(&user.len().to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(secret.expose_secret().as_bytes());
        Mark(mac.finalize().into_bytes().into())
    }
}

/// The proof of one user's secret.
#[derive(Default)]
pub(crate) struct Proof(Mutex<Option<(Mark, Instant)>>);

impl Proof {
    fn slot(&self) -> MutexGuard<'_, Option<(Mark, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the secret that was proven, and not too long ago.
    pub(crate) fn holds(&self, mark: &Mark) -> bool {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|(_, at)| at.elapsed() >= HOLDS) {
            *slot = None;
        }
        slot.as_ref().is_some_and(|(proven, _)| proven.0.ct_eq(&mark.0).into())
    }

    /// Argon2 has just found the secret right.
    pub(crate) fn give(&self, mark: Mark) {
        *self.slot() = Some((mark, Instant::now()));
    }

    #[cfg(test)]
    pub(crate) fn age(&self, by: Duration) {
        if let Some((_, at)) = &mut *self.slot() {
            *at = at.checked_sub(by).unwrap();
        }
    }
}

/// The verifications under way. There are no more of them than there are clients logging in.
#[derive(Default)]
pub(crate) struct UnderWay(Mutex<HashMap<Mark, Weak<OnceCell<Answer>>>>);

impl UnderWay {
    fn all(&self) -> MutexGuard<'_, HashMap<Mark, Weak<OnceCell<Answer>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer about this secret: `ask`, unless somebody else is asking already. Cancel-safe: where the
    /// one who asks goes away, the next one asks.
    pub(crate) async fn share(&self, mark: Mark, ask: impl Future<Output = Answer>) -> Answer {
        let place = self.join(mark);
        *place.answer.get_or_init(|| ask).await
    }

    fn join(&self, mark: Mark) -> Place<'_> {
        let mut all = self.all();
        let answer = all.get(&mark).and_then(Weak::upgrade).unwrap_or_default();
        all.insert(mark, Arc::downgrade(&answer));
        Place { under_way: self, mark, answer }
    }
}

/// The place of one who waits. The last one who leaves takes the verification out.
struct Place<'a> {
    under_way: &'a UnderWay,
    mark: Mark,
    answer: Arc<OnceCell<Answer>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.under_way.all();
        // Under the lock nobody joins meanwhile.
        if Arc::strong_count(&self.answer) == 1 {
            all.remove(&self.mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn marks_tell_users_and_secrets_apart_and_are_of_one_process() {
        let (key, other) = (MarkKey::random().unwrap(), MarkKey::random().unwrap());
        let mark = |user, secret: &str| key.mark(user, &secret.into()).0;
        assert_eq!(mark("alice", "sesame"), mark("alice", "sesame"));
        assert_ne!(mark("alice", "sesame"), mark("alic", "esesame"));
        assert_ne!(mark("alice", "sesame"), other.mark("alice", &"sesame".into()).0);
    }

    #[tokio::test]
    async fn the_next_one_asks_where_the_first_one_went_away() {
        let under_way = UnderWay::default();
        let mark = Mark([7; 32]);
        {
            let first = under_way.share(mark, pending());
            let second = under_way.share(mark, async { Answer::Right });
            tokio::pin!(second);
            tokio::select! {
                biased;
                _ = first => unreachable!("it never ends"),
                _ = &mut second => unreachable!("the first one still asks"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(second.await, Answer::Right);
        }
        assert!(under_way.all().is_empty(), "nothing is left behind");
    }
}
