//! Which session a task works for, so that every log line can say so. It stands beside the task, as a
//! span of `tracing` would, but costs a task no more than a few stores each time it runs: entering a
//! span means looks into tables that all threads share, twice for each command.

use std::future::Future;

use crate::admission::SessionId;

tokio::task_local! {
    static SESSION: SessionId;
}

/// Runs a session's own work. Cancel-safe if that is.
pub fn in_session<F: Future>(session: SessionId, work: F) -> impl Future<Output = F::Output> {
    SESSION.scope(session, work)
}

/// The same for work that does not wait.
pub fn for_session<T>(session: SessionId, work: impl FnOnce() -> T) -> T {
    SESSION.sync_scope(session, work)
}

/// The session for which the caller works; none where it works for none.
pub fn session() -> Option<SessionId> {
    SESSION.try_with(|session| *session).ok()
}
