//! Verification off the async threads. argon2 takes all of a core and megabytes of memory for each
//! secret, so no more run at once than there are cores, and no more wait than will get a turn soon:
//! a flood of sign-ins must not starve open sessions nor exhaust memory.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use argon2::Block;
use secrecy::SecretString;
use tokio::{sync::Semaphore, time::timeout};

use crate::credential::Credential;

/// What came of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Right,
    Wrong,
    /// There was no room, or no turn in time.
    Busy,
}

/// How many may wait for each core.
const WAITING_PER_CORE: usize = 64;
/// How long one may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// What argon2 works in, 19 MiB or more each, kept for the next secret: no more than there were at
/// work at once, each as large as the costliest hash that it served. Given back each time, glibc
/// would keep one for every thread that ever worked.
#[derive(Default)]
struct Memory(Mutex<Vec<Vec<Block>>>);

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Block>) -> T) -> T {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = kept().pop().unwrap_or_default();
        let result = work(&mut memory);
        kept().push(memory);
        result
    }
}

/// The bounded room in which secrets are verified.
pub(crate) struct Workers {
    /// One permit for each that may be in the room, waiting or working.
    room: Semaphore,
    /// One permit for each that may work.
    desks: Arc<Semaphore>,
    memory: Arc<Memory>,
    patience: Duration,
}

impl Workers {
    /// As many at once as there are cores.
    pub(crate) fn per_core() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores, cores * WAITING_PER_CORE, PATIENCE)
    }

    fn new(working: usize, waiting: usize, patience: Duration) -> Self {
        let (room, desks) = (Semaphore::new(working + waiting), Arc::new(Semaphore::new(working)));
        Self { room, desks, memory: Arc::default(), patience }
    }

    /// Takes all the room.
    #[cfg(test)]
    pub(crate) fn occupy(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.room.try_acquire_many(u32::try_from(self.room.available_permits()).unwrap()).unwrap()
    }

    /// Whether the secret matches. Cancel-safe: work already begun is finished, keeps its desk until
    /// then, and its answer is dropped.
    pub(crate) async fn verify(&self, credential: Arc<Credential>, secret: SecretString) -> Answer {
        let Ok(_place) = self.room.try_acquire() else {
            tracing::warn!("a sign-in is refused: too many others wait for their secrets to be verified");
            return Answer::Busy;
        };
        let Ok(Ok(desk)) = timeout(self.patience, Arc::clone(&self.desks).acquire_owned()).await else {
            tracing::warn!(patience = ?self.patience, "a sign-in is refused: its secret could not be verified in time");
            return Answer::Busy;
        };
        let memory = Arc::clone(&self.memory);
        let work = tokio::task::spawn_blocking(move || {
            let _desk = desk;
            if memory.with(|memory| credential.matches(&secret, memory)) { Answer::Right } else { Answer::Wrong }
        });
        work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a sign-in is refused: verifying its secret failed");
            Answer::Busy
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_secret;

    fn credential() -> Arc<Credential> {
        Arc::new(Credential::parse(&hash_secret("sesame".into()).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn those_who_find_no_room_are_refused_and_the_others_are_served() {
        let workers = Arc::new(Workers::new(1, 2, PATIENCE));
        let credential = credential();
        let verify = || workers.verify(Arc::clone(&credential), "sesame".into());
        let answers = tokio::join!(verify(), verify(), verify(), verify(), verify());
        let (right, busy) = (Answer::Right, Answer::Busy);
        assert_eq!(answers, (right, right, right, busy, busy));
        assert_eq!(verify().await, right, "there is room again");
        assert_eq!(workers.memory.0.lock().unwrap().len(), 1, "four secrets shared one memory");
    }

    #[tokio::test]
    async fn waiting_ends() {
        let workers = Workers::new(1, 1, Duration::from_millis(20));
        let desk = workers.desks.acquire().await.unwrap();
        assert_eq!(workers.verify(credential(), "sesame".into()).await, Answer::Busy);
        drop(desk);
        assert_eq!(workers.verify(credential(), "sesame".into()).await, Answer::Right);
        assert_eq!(workers.verify(credential(), "walnut".into()).await, Answer::Wrong);
    }
}
