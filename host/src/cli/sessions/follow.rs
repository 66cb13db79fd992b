//! `sluicegate sessions follow`: what happens now, in one session or in all that are open.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use sluicegate_core::{
    SessionId,
    sessions::{KeptEntry, SessionSummary},
};

use super::{list::newest, transcript::Transcript};
use crate::cli::{
    Output,
    pick::Meant,
    print::{count, json_line, put},
    source::Source,
};

/// How often the gateway is asked.
const PERIOD: Duration = Duration::from_millis(700);
/// How many sessions are followed at once; beyond that the oldest are let go.
const MAX_FOLLOWED: usize = 200;
/// By how many milliseconds a session may be listed later than one that opened after it.
const OVERLAP: i64 = 60_000;

#[derive(Debug, clap::Args)]
pub struct Follow {
    /// The session's id, or at least the last 4 characters of a recent one's; without one, every session
    /// that is open or opens is followed
    id: Option<Meant<SessionId>>,
    /// How to print it; JSON is one entry a line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

/// A session that is followed.
struct Followed {
    transcript: Transcript,
    /// The number of the entry that comes next.
    next: u64,
}

/// The sessions that were listed already, with when they opened. Their ids do not tell: a slow login
/// is listed after a quick one that began later.
#[derive(Default)]
struct Seen {
    sessions: BTreeMap<SessionId, i64>,
    newest: i64,
}

impl Follow {
    /// Prints until the session ends, or until nobody reads any more.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        if matches!(source, Source::Store(_)) {
            bail!("no gateway runs here, so nothing happens; `sluicegate sessions replay` plays what did");
        }
        match &self.id {
            Some(meant) => {
                let id = meant.find(source).await?;
                self.one(source, id).await
            }
            None => self.all(source).await,
        }
    }

    async fn one(&self, source: &mut Source, id: SessionId) -> anyhow::Result<()> {
        let mut view = source.session(id, 0).await?;
        let mut followed = Followed { transcript: Transcript::alone(&view.summary), next: 0 };
        if self.output == Output::Text && !put(followed.transcript.header(&view.summary))? {
            return Ok(());
        }
        loop {
            if !self.print(&mut followed, &view.entries)? {
                return Ok(());
            }
            if view.next.is_none() {
                if view.summary.closed_at.is_some() {
                    return Ok(());
                }
                tokio::time::sleep(PERIOD).await;
            }
            view = loop {
                match source.session(id, followed.next).await {
                    Ok(view) => break view,
                    Err(error) => source.recover(error).await?,
                }
            };
        }
    }

    async fn all(&self, source: &mut Source) -> anyhow::Result<()> {
        let mut followed: BTreeMap<SessionId, Followed> = BTreeMap::new();
        let mut seen = Seen::default();
        for summary in newest(source, None).await? {
            seen.is_new(&summary);
            if summary.closed_at.is_none() && followed.len() < MAX_FOLLOWED {
                followed.insert(summary.id, Followed::among_others(&summary, summary.entries));
            }
        }
        let open = u64::try_from(followed.len())?;
        anstream::eprintln!("following; {} open now", are(open));
        loop {
            tokio::time::sleep(PERIOD).await;
            match self.round(source, &mut followed, &mut seen).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => source.recover(error).await?,
            }
        }
    }

    /// Prints what is new in each session, and in new ones; false once nobody reads any more.
    async fn round(
        &self,
        source: &mut Source,
        followed: &mut BTreeMap<SessionId, Followed>,
        seen: &mut Seen,
    ) -> anyhow::Result<bool> {
        for summary in newest(source, Some(seen.cutoff())).await? {
            if seen.is_new(&summary) {
                followed.insert(summary.id, Followed::among_others(&summary, 0));
            }
        }
        seen.forget();
        while followed.len() > MAX_FOLLOWED {
            followed.pop_first();
        }
        let ids: Vec<SessionId> = followed.keys().copied().collect();
        for id in ids {
            let Some(one) = followed.get_mut(&id) else { continue };
            let view = source.session(id, one.next).await?;
            if !self.print(one, &view.entries)? {
                return Ok(false);
            }
            if view.next.is_none() && view.summary.closed_at.is_some() {
                followed.remove(&id);
            }
        }
        Ok(true)
    }

    /// Prints entries; false once nobody reads any more.
    fn print(&self, followed: &mut Followed, entries: &[KeptEntry]) -> anyhow::Result<bool> {
        for kept in entries {
            followed.next = kept.number.saturating_add(1);
            let line = match self.output {
                Output::Json => Some(json_line(kept)?),
                Output::Text => followed.transcript.tell(kept),
            };
            if let Some(line) = line
                && !put(line)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn are(open: u64) -> String {
    match open {
        0 => "no session is".to_owned(),
        1 => "1 session is".to_owned(),
        more => format!("{} are", count(more, "session")),
    }
}

impl Followed {
    fn among_others(summary: &SessionSummary, next: u64) -> Self {
        Self { transcript: Transcript::among_others(summary), next }
    }
}

impl Seen {
    /// Whether it was not seen before. From now on it was.
    fn is_new(&mut self, summary: &SessionSummary) -> bool {
        self.newest = self.newest.max(summary.opened_at);
        self.sessions.insert(summary.id, summary.opened_at).is_none()
    }

    /// Sessions that opened before this time are not asked for again.
    fn cutoff(&self) -> i64 {
        self.newest.saturating_sub(OVERLAP)
    }

    fn forget(&mut self) {
        let cutoff = self.cutoff();
        self.sessions.retain(|_, opened_at| *opened_at >= cutoff);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_session_is_new_once_however_late_it_is_listed() {
        let summary = |id, opened_at| SessionSummary::new(SessionId(Uuid::from_u128(id)), opened_at);
        let mut seen = Seen::default();
        assert!(seen.is_new(&summary(2, 100_000)));
        assert!(seen.is_new(&summary(1, 99_000)), "listed after a newer one");
        assert!(!seen.is_new(&summary(1, 99_000)) && !seen.is_new(&summary(2, 100_000)));
        assert_eq!(seen.cutoff(), 40_000);
        assert!(seen.is_new(&summary(3, 159_500)));
        seen.forget();
        assert_eq!(seen.sessions.len(), 2, "what is not asked for again need not be remembered");
    }
}
