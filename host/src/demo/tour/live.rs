//! A psql that stays open: questions go to its standard input, and a marker says where each answer
//! ends.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::demo::{postgres::psql, stage::Stage};

const MARKER: &str = "-- end of answer --";
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(100);

/// An open psql.
pub struct Live {
    process: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Live {
    /// Opens a session as a user.
    pub async fn open(stage: &Stage, user: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(psql()?);
        command.args(["-X", "-q", "-A", "-t", &stage.connection(user)]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().context("psql could not be started")?;
        let stdin = process.stdin.take().context("psql has no standard input")?;
        let stdout = process.stdout.take().context("psql has no standard output")?;
        Ok(Self { process, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Asks one question; the answer's lines have no decoration.
    pub async fn ask(&mut self, sql: &str) -> anyhow::Result<String> {
        self.stdin.write_all(format!("{sql};\n\\echo {MARKER}\n").as_bytes()).await?;
        self.stdin.flush().await?;
        let answer = async {
            let mut answer = Vec::new();
            while let Some(line) = self.lines.next_line().await? {
                if line == MARKER {
                    return Ok(answer.join("\n"));
                }
                answer.push(line);
            }
            bail!("the psql session ended");
        };
        tokio::time::timeout(ANSWER_LIMIT, answer).await.context("the psql session does not answer")?
    }

    /// Asks again and again until the answer is as wished or `limit` is over.
    pub async fn ask_until(
        &mut self,
        sql: &str,
        limit: Duration,
        wished: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let began = Instant::now();
        loop {
            let answer = self.ask(sql).await?;
            if wished(&answer) || began.elapsed() > limit {
                return Ok(answer);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Leaves.
    pub async fn close(mut self) {
        drop(self.stdin);
        // It has nothing left to do; if it lingers, dropping it kills it.
        let _ended = tokio::time::timeout(Duration::from_secs(5), self.process.wait()).await;
    }
}
