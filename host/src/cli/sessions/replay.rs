//! `sluicegate sessions replay`: a session as it happened, with its pauses.

use std::time::Duration;

use sluicegate_core::SessionId;

use super::transcript::Transcript;
use crate::cli::{pick::Meant, print::put, source::Source, wrong_usage};

/// The longest pause, unless all of them are asked for.
const MAX_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The session's id, or at least the last 4 characters of a recent one's
    id: Meant<SessionId>,
    /// How many times as fast as it was; 0 for no pauses at all
    #[arg(long, default_value = "1", value_name = "NUMBER", value_parser = speed)]
    speed: f64,
    /// Keeps pauses of more than two seconds as long as they were
    #[arg(long)]
    real_time: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "write a number such as 2 or 0.5".to_owned())?;
    let bounds = 0.001..=1_000_000.0;
    if speed == 0.0 || bounds.contains(&speed) { Ok(speed) } else { Err("0, or 0.001 to 1000000".to_owned()) }
}

impl Replay {
    /// Ends the process where it is asked for pauses and for none.
    pub fn check(&self) {
        if self.speed == 0.0 && self.real_time {
            wrong_usage(
                "`--speed 0` leaves out every pause and `--real-time` keeps them all; leave one of the two out",
            );
        }
    }

    /// Plays the session.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        let id = self.id.find(source).await?;
        let mut page = source.session(id, 0).await?;
        let mut transcript = Transcript::alone(&page.summary);
        let mut before = page.summary.opened_at;
        if !put(transcript.header(&page.summary))? {
            return Ok(());
        }
        loop {
            for kept in &page.entries {
                let Some(told) = transcript.tell(kept) else { continue };
                let pause = self.pause(kept.entry.at - before);
                before = kept.entry.at;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                if !put(told)? {
                    return Ok(());
                }
            }
            let Some(next) = page.next else { break };
            page = source.session(id, next).await?;
        }
        if page.summary.closed_at.is_none() {
            put("(the session is still open; `sluicegate sessions follow` goes on from here)")?;
        }
        Ok(())
    }

    /// How long to wait where so many milliseconds passed.
    fn pause(&self, passed: i64) -> Duration {
        if self.speed == 0.0 {
            return Duration::ZERO;
        }
        let passed = Duration::from_millis(u64::try_from(passed).unwrap_or(0));
        let longest = if self.real_time { Duration::MAX } else { MAX_PAUSE };
        Duration::try_from_secs_f64(passed.as_secs_f64() / self.speed).unwrap_or(longest).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn pauses_are_scaled_and_bounded() {
        let replay = |speed, real_time| Replay { id: Meant::Id(SessionId(Uuid::nil())), speed, real_time };
        let millis = |replay: Replay, passed| replay.pause(passed).as_millis();
        assert_eq!(millis(replay(2.0, false), 1000), 500);
        assert_eq!(millis(replay(0.5, false), 900), 1800);
        assert_eq!(millis(replay(1.0, false), 60_000), 2000);
        assert_eq!(millis(replay(10.0, true), 60_000), 6000);
        assert_eq!(millis(replay(0.0, true), 60_000), 0);
        assert_eq!(millis(replay(1.0, false), -5), 0);
    }

    #[test]
    fn a_speed_is_a_number_within_bounds() {
        assert_eq!((speed("0"), speed("0.5"), speed("4")), (Ok(0.0), Ok(0.5), Ok(4.0)));
        for wrong in ["-1", "fast", "NaN", "inf", "1e9", "1e-9"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }
}
