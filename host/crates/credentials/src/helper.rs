//! One run of a helper: without a shell, in bounded time, with bounded output, and killed with all that it
//! started where it does not keep to that.
//!
//! It has the gateway's environment. To leave out of it what the configuration names as a secret would protect
//! nothing: a helper runs as who runs the gateway, and can read the gateway's own environment. Its standard
//! input is empty. What it says on standard error goes nowhere: tools for secrets are fond of repeating there
//! what they were given, and the gateway cannot tell a secret from an explanation.

use std::{process::Stdio, time::Duration};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::SecretString;
use serde::Deserialize;
use sluicegate_core::secret::Helper;
use tokio::{io::AsyncReadExt, process::Command};
use zeroize::Zeroizing;

use crate::HelperFault;

/// How long a run may take, the wait for its turn included.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// The most bytes that it may print.
pub(crate) const MAX_OUTPUT: usize = 64 * 1024;

/// What a helper answers.
pub(crate) struct Answer {
    pub secret: SecretString,
    /// None where it holds for one connection.
    pub expires_at: Option<Timestamp>,
}

/// What it prints. What else stands there is its own business.
#[derive(Deserialize)]
struct Printed {
    secret: String,
    expires_at: Option<String>,
}

/// Runs it. Unbounded in time; where this is dropped, everything that was started is killed.
pub(crate) async fn run(helper: &Helper) -> Result<Answer, HelperFault> {
    let mut command = Command::new(&helper.program);
    command.args(&helper.arguments).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| HelperFault::NotStarted(error.to_string()))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    // Room for all of it at once, so that growing leaves no copies behind.
    let mut printed = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT + 64));
    if let Some(output) = child.stdout.take() {
        let mut output = output.take(MAX_OUTPUT as u64 + 1);
        output.read_to_end(&mut printed).await.map_err(|error| HelperFault::Output(error.to_string()))?;
    }
    if printed.len() > MAX_OUTPUT {
        return Err(HelperFault::Long);
    }
    let status = child.wait().await.map_err(|error| HelperFault::Output(error.to_string()))?;
    group.has_ended();
    if !status.success() {
        return Err(HelperFault::Failed(status));
    }
    answer(&printed)
}

/// What was printed, as an answer. An error of the parser would quote what it found, and is not passed on.
fn answer(printed: &[u8]) -> Result<Answer, HelperFault> {
    let Printed { secret, expires_at } = serde_json::from_slice(printed).map_err(|_| HelperFault::Answer)?;
    let secret = SecretString::from(secret);
    if secrecy::ExposeSecret::expose_secret(&secret).is_empty() {
        return Err(HelperFault::Answer);
    }
    let expires_at = expires_at.map(|text| text.parse::<Timestamp>()).transpose().map_err(|_| HelperFault::Time)?;
    if expires_at.is_some_and(|at| at <= Timestamp::now()) {
        return Err(HelperFault::Expired);
    }
    Ok(Answer { secret, expires_at })
}

/// The processes of one run, which end when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// The helper ended by itself. What it left running is not the gateway's to end, and its number may be
    /// another's by now.
    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take() {
            // It may have ended in this very moment.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn shell(script: &str) -> Helper {
        Helper { program: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script.to_owned()] }
    }

    async fn fault(script: &str) -> HelperFault {
        run(&shell(script)).await.err().unwrap()
    }

    #[tokio::test]
    async fn what_it_prints_is_the_secret_until_then() {
        let answer = run(&shell(r#"echo '{"secret": "s3 \"x", "expires_at": "2999-01-31T08:00:00+01:00"}'"#)).await;
        let answer = answer.ok().unwrap();
        assert_eq!(answer.secret.expose_secret(), "s3 \"x");
        assert_eq!(answer.expires_at.unwrap().to_string(), "2999-01-31T07:00:00Z");
        let answer = run(&shell(r#"echo hunter2 >&2; echo '{"secret": "x", "version": 1}'"#)).await.ok().unwrap();
        assert_eq!((answer.secret.expose_secret(), answer.expires_at), ("x", None));
    }

    #[tokio::test]
    async fn every_other_end_has_its_reason_and_no_output() {
        let nobody = Helper { program: "/nowhere/helper".into(), arguments: Vec::new() };
        assert!(matches!(run(&nobody).await, Err(HelperFault::NotStarted(_))));
        assert!(matches!(fault("echo '{\"secret\": \"hunter2\"}'; exit 3").await, HelperFault::Failed(_)));
        assert!(matches!(fault("head -c 70000 /dev/zero; sleep 60").await, HelperFault::Long));
        assert!(matches!(
            fault(r#"echo '{"secret": "x", "expires_at": "2001-01-31T08:00:00Z"}'"#).await,
            HelperFault::Expired
        ));
        assert!(matches!(fault(r#"echo '{"secret": "x", "expires_at": "hunter2"}'"#).await, HelperFault::Time));
        for printed in
            ["hunter2", "\"hunter2\"", "[\"hunter2\"]", "{\"secret\": {\"is\": \"hunter2\"}}", "{\"secret\": \"\"}", ""]
        {
            let fault = fault(&format!("printf %s '{printed}'")).await;
            assert!(matches!(fault, HelperFault::Answer) && !fault.to_string().contains("hunter2"), "{fault}");
        }
    }

    #[tokio::test]
    async fn who_takes_too_long_is_killed_with_all_that_was_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; touch {}) & echo; wait", mark.display());
        let cut = tokio::time::timeout(Duration::from_millis(300), run(&shell(&script))).await;
        assert!(cut.is_err());
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!mark.exists(), "what the helper started went on");
    }
}
