//! What helpers answered, kept for as long as they said. Many who ask at the same time are one run; one that
//! does not say how long its answer holds runs for each of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use secrecy::SecretString;
use sluicegate_core::secret::Helper;
use tokio::sync::Semaphore;

use crate::{
    HelperFault, SecretError,
    helper::{self, Answer},
    spawn,
};

/// The most helpers that run at a time.
const MAX_RUNNING: usize = 16;
/// So long before it expires an answer is not used any more, or a tenth of its time where that is less.
const MARGIN: Duration = Duration::from_secs(30);

/// The helpers, each with what is known of it.
pub(crate) struct Helpers {
    entries: Mutex<HashMap<Helper, Arc<Entry>>>,
    turns: Semaphore,
}

/// Held by who runs the helper first; others wait for the answer.
type Entry = tokio::sync::Mutex<State>;

#[derive(Default)]
enum State {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// Its last answer did not say how long it holds.
    EachTime,
    /// Its answer, and until when it is used.
    Kept(SecretString, Timestamp),
    /// It failed, then.
    Failed(HelperFault, Instant),
}

impl Default for Helpers {
    fn default() -> Self {
        Self { entries: Mutex::default(), turns: Semaphore::new(MAX_RUNNING) }
    }
}

impl Helpers {
    /// The secret, of this run or of one before. Cancel-safe: a run goes on for others.
    pub async fn ask(self: &Arc<Self>, helper: &Helper) -> Result<SecretString, SecretError> {
        let (this, asked) = (Arc::clone(self), helper.clone());
        let answer = spawn(async move { this.answer(&asked).await }).await;
        let answer = answer.map_err(|_| SecretError::Interrupted)?;
        answer.map_err(|fault| SecretError::Helper { program: helper.program.clone(), fault })
    }

    /// Runs it when it is asked next.
    pub fn forget(&self, helper: &Helper) {
        self.entries().remove(helper);
    }

    /// Runs every one when it is asked next.
    pub fn forget_all(&self) {
        self.entries().clear();
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Helper, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, helper: &Helper) -> Result<SecretString, HelperFault> {
        let asked = Instant::now();
        let entry = Arc::clone(self.entries().entry(helper.clone()).or_default());
        let mut state = entry.lock().await;
        match &*state {
            State::Kept(secret, until) if Timestamp::now() < *until => return Ok(secret.clone()),
            // Of a run that began or went on while this one waited.
            State::Failed(fault, at) if *at >= asked => return Err(fault.clone()),
            State::EachTime => {
                drop(state);
                let answer = self.run(helper).await?;
                if answer.expires_at.is_some() {
                    *entry.lock().await = State::of(&answer);
                }
                return Ok(answer.secret);
            }
            _ => {}
        }
        match self.run(helper).await {
            Ok(answer) => {
                *state = State::of(&answer);
                Ok(answer.secret)
            }
            Err(fault) => {
                *state = State::Failed(fault.clone(), Instant::now());
                Err(fault)
            }
        }
    }

    async fn run(&self, helper: &Helper) -> Result<Answer, HelperFault> {
        let began = Instant::now();
        let run = async {
            let _turn = self.turns.acquire().await;
            helper::run(helper).await
        };
        let ended = tokio::time::timeout(helper::LIMIT, run).await.unwrap_or(Err(HelperFault::Timeout));
        let program = helper.program.display();
        match &ended {
            Ok(_) => tracing::debug!(%program, took = ?began.elapsed(), "a helper gave a secret"),
            Err(HelperFault::Failed(status)) => tracing::warn!(%program, %status, "a helper failed"),
            Err(error) => tracing::warn!(%program, %error, "a helper gave no secret"),
        }
        ended
    }
}

impl State {
    fn of(answer: &Answer) -> Self {
        let Some(expires_at) = answer.expires_at else { return Self::EachTime };
        let left = Duration::try_from(expires_at.duration_since(Timestamp::now())).unwrap_or_default();
        let until = expires_at.checked_sub(MARGIN.min(left / 10)).unwrap_or(expires_at);
        Self::Kept(answer.secret.clone(), until)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    /// Leaves a mark for each run.
    fn helper(folder: &Path, script: &str) -> Helper {
        let script = format!("echo run >> {}; {script}", folder.join("runs").display());
        Helper { program: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script] }
    }

    fn runs(folder: &Path) -> usize {
        std::fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
    }

    /// The answers of so many who ask at once.
    async fn at_once(helpers: &Arc<Helpers>, helper: &Helper, count: usize) -> Vec<Result<String, String>> {
        let asking: Vec<_> = (0..count)
            .map(|_| {
                let (helpers, helper) = (Arc::clone(helpers), helper.clone());
                tokio::spawn(async move { helpers.ask(&helper).await })
            })
            .collect();
        let mut answers = Vec::new();
        for one in asking {
            let answer = one.await.unwrap();
            let text = |error: SecretError| sluicegate_core::Chain(&error).to_string();
            answers.push(answer.map(|secret| secret.expose_secret().to_owned()).map_err(text));
        }
        answers
    }

    #[tokio::test]
    async fn an_answer_that_says_how_long_it_holds_is_one_run_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let soon = Timestamp::now() + Duration::from_secs(2);
        let script = format!("sleep 0.3; echo '{{\"secret\": \"x\", \"expires_at\": \"{soon}\"}}'");
        let (helpers, helper) = (Arc::<Helpers>::default(), helper(folder.path(), &script));
        assert!(at_once(&helpers, &helper, 20).await.iter().all(|answer| answer.as_deref() == Ok("x")));
        assert_eq!(runs(folder.path()), 1);
        helpers.forget(&helper);
        helpers.ask(&helper).await.unwrap();
        assert_eq!(runs(folder.path()), 2);
        // Shortly before it expires it is not used any more, and is not yet refused as expired.
        let until = soon - Duration::from_millis(60);
        tokio::time::sleep(Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()).await;
        let _ = helpers.ask(&helper).await;
        assert_eq!(runs(folder.path()), 3);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_say_it_is_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let helper = helper(folder.path(), "echo '{\"secret\": \"x\"}'");
        let helpers = Arc::<Helpers>::default();
        assert!(at_once(&helpers, &helper, 5).await.iter().all(|answer| answer.as_deref() == Ok("x")));
        assert_eq!(runs(folder.path()), 5);
    }

    #[tokio::test]
    async fn a_failure_is_the_answer_of_all_who_waited_for_it_and_of_nobody_after() {
        let folder = tempfile::tempdir().unwrap();
        let helper = helper(folder.path(), "sleep 0.5; echo hunter2; exit 7");
        let helpers = Arc::<Helpers>::default();
        for answer in at_once(&helpers, &helper, 20).await {
            let text = answer.unwrap_err();
            assert!(text.contains("exit status: 7") && !text.contains("hunter2"), "{text}");
        }
        assert_eq!(runs(folder.path()), 1);
        helpers.ask(&helper).await.unwrap_err();
        assert_eq!(runs(folder.path()), 2);
    }
}
