//! Plays the tour's steps: runs a command, shows it and what it said, and counts what went wrong.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anstream::println;
use anstyle::{AnsiColor, Style};
use anyhow::Context;
use tokio::process::Command;

use crate::demo::{postgres::psql, stage::Stage};

const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const COMMAND: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// One command may take this long.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// How wide listings are.
const WIDTH: &str = "95";
/// Where this program takes a user's secret from.
const SECRET: &str = "SLUICEGATE_SECRET";
const RETRY: Duration = Duration::from_millis(200);

/// What a command said.
pub struct Said {
    /// Whether it succeeded.
    pub ok: bool,
    /// Its output and its errors.
    pub text: String,
}

/// Plays, shows, counts.
pub struct Player<'a> {
    stage: &'a Stage,
    psql: PathBuf,
    steps: usize,
    checks: usize,
    failed: usize,
}

impl<'a> Player<'a> {
    /// Needs a psql.
    pub fn new(stage: &'a Stage) -> anyhow::Result<Self> {
        let psql = psql()?;
        Ok(Self { stage, psql, steps: 0, checks: 0, failed: 0 })
    }

    /// Begins a step.
    pub fn step(&mut self, title: &str, what: &str) {
        self.steps += 1;
        println!("\n{TITLE}{}. {title}{TITLE:#}: {what}\n", self.steps);
    }

    /// Says something in between.
    pub fn say(&self, text: &str) {
        println!("   {text}\n");
    }

    /// Runs one psql for one text and shows both.
    pub async fn psql(&self, user: &str, sql: &str) -> anyhow::Result<Said> {
        let mut command = Command::new(&self.psql);
        command.args(["-X", "-P", "pager=off", "-c", sql, &self.stage.connection(user)]);
        let said = run(command).await?;
        self.shell(&format!("psql -U {user} -c \"{sql}\""), &said.text);
        Ok(said)
    }

    /// Runs this program with the demo's configuration and shows what it said.
    pub async fn sluicegate(&self, args: &[&str]) -> anyhow::Result<Said> {
        self.shown("", args, self.with_config(args)?).await
    }

    /// The same with a user's secret, which is the user's name.
    pub async fn sluicegate_as(&self, user: &str, args: &[&str]) -> anyhow::Result<Said> {
        let mut command = self.with_config(args)?;
        command.env(SECRET, user);
        self.shown(&format!("{SECRET}={user} "), args, command).await
    }

    /// The same without the configuration, as on another machine.
    pub async fn sluicegate_from_afar(&self, user: &str, args: &[&str]) -> anyhow::Result<Said> {
        let mut command = bare(args)?;
        command.env(SECRET, user);
        self.shown(&format!("{SECRET}={user} "), args, command).await
    }

    /// Runs this program in a folder that has no configuration and shows what it said.
    pub async fn sluicegate_in(&self, folder: &Path, args: &[&str]) -> anyhow::Result<Said> {
        let mut command = bare(args)?;
        command.current_dir(folder);
        self.shown("", args, command).await
    }

    /// Runs this program with the demo's configuration.
    pub async fn sluicegate_quietly(&self, args: &[&str]) -> anyhow::Result<String> {
        Ok(run(self.with_config(args)?).await?.text)
    }

    /// Runs this program again and again until it says what is waited for or `limit` is over, and
    /// shows what it said last.
    pub async fn sluicegate_until(
        &self,
        args: &[&str],
        limit: Duration,
        enough: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let text = self.sluicegate_quietly_until(args, limit, enough).await?;
        self.shell(&format!("sluicegate {}", typed(args)), &text);
        Ok(text)
    }

    /// The same without showing it.
    pub async fn sluicegate_quietly_until(
        &self,
        args: &[&str],
        limit: Duration,
        enough: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let began = Instant::now();
        loop {
            let text = self.sluicegate_quietly(args).await?;
            if enough(&text) || began.elapsed() > limit {
                return Ok(text);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn shown(&self, before: &str, args: &[&str], command: Command) -> anyhow::Result<Said> {
        let said = run(command).await?;
        self.shell(&format!("{before}sluicegate {}", typed(args)), &said.text);
        Ok(said)
    }

    fn with_config(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = bare(args)?;
        command.arg("--config").arg(self.stage.config());
        Ok(command)
    }

    /// Shows a command and what it said.
    pub fn shell(&self, command: &str, said: &str) {
        println!("   {DIM}${DIM:#} {COMMAND}{command}{COMMAND:#}");
        for line in said.trim_end().lines() {
            println!("     {line}");
        }
        println!();
    }

    /// Says whether something happened.
    pub fn check(&mut self, what: &str, happened: bool) {
        self.checks += 1;
        if happened {
            println!("   {GOOD}✓{GOOD:#} {what}\n");
        } else {
            self.failed += 1;
            println!("   {BAD}✗ did not happen:{BAD:#} {what}\n");
        }
    }

    /// Sums up and returns how many things did not happen.
    pub fn finish(self) -> usize {
        let Self { checks, failed, .. } = self;
        match failed {
            0 => {
                println!("{GOOD}All {checks} checks passed.{GOOD:#} Run the demo without `--tour` to try it yourself.")
            }
            _ => println!("{BAD}{failed} of {checks} checks failed.{BAD:#}"),
        }
        failed
    }
}

/// This program, with nothing of the visitor's own set-up.
fn bare(args: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).env("COLUMNS", WIDTH);
    for name in ["SLUICEGATE_CONFIG", "SLUICEGATE_URL", "SLUICEGATE_TOKEN", SECRET] {
        command.env_remove(name);
    }
    Ok(command)
}

/// Arguments as one would type them.
fn typed(args: &[&str]) -> String {
    let quoted = |arg: &&str| if arg.contains(' ') { format!("\"{arg}\"") } else { (*arg).to_owned() };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

async fn run(mut command: Command) -> anyhow::Result<Said> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = tokio::time::timeout(COMMAND_LIMIT, command.output())
        .await
        .with_context(|| format!("`{name}` did not end within {COMMAND_LIMIT:?}"))?
        .with_context(|| format!("`{name}` could not be run"))?;
    // Notices come before the result that they are about.
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    Ok(Said { ok: output.status.success(), text })
}
