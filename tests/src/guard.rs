//! Servers that cannot outlive the test process: each has a reaper, a small shell that waits on a
//! pipe from the test. When the pipe closes, because the server was dropped or because the test
//! process died in whatever way, the reaper ends the server and removes its folder.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Reads one line; `done` means that the server has already been waited for. Otherwise the server
/// gets signal $2, five seconds, and then the signal that cannot be refused. After `keep`, another server
/// goes on in the same folder.
const REAPER: &str = r#"
read -r word || word=died
[ "$word" = keep ] && exit 0
if [ "$word" != done ]; then
    kill "-$2" "$1" 2>/dev/null
    tries=0
    while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -KILL "$1" 2>/dev/null
fi
rm -rf -- "$3"
"#;

/// A server process with the folder it lives in.
pub struct Guarded {
    child: Child,
    reaper: Child,
    signal: &'static str,
    folder: PathBuf,
}

impl Guarded {
    /// Starts a server. It is asked to stop by `signal`, such as `TERM`; `folder` is removed after.
    pub fn start(mut command: Command, signal: &'static str, folder: &Path) -> Self {
        // Groups of their own, so that Ctrl-C at the terminal reaches the tests and nothing else.
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let reaper = reaper(&child, signal, folder);
        Self { child, reaper, signal, folder: folder.to_owned() }
    }

    /// Starts another server in the folder of one that has ended.
    pub fn again(&mut self, mut command: Command) {
        assert!(!self.is_running(), "the server has not ended yet");
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        self.child = child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        self.dismiss_reaper(b"keep\n");
        self.reaper = reaper(&self.child, self.signal, &self.folder);
    }

    fn dismiss_reaper(&mut self, word: &[u8]) {
        if let Some(mut pipe) = self.reaper.stdin.take() {
            let _ = pipe.write_all(word);
        }
        let _ = self.reaper.wait();
    }

    /// Ends the server as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The folder it lives in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Asks the server to stop and waits; kills it after `limit`. Says whether it stopped by itself.
    pub fn stop(&mut self, limit: Duration) -> bool {
        let started = Instant::now();
        if !self.is_running() {
            return true;
        }
        // It may end by itself in this very moment, so whether the signal finds it does not matter.
        let _ = Command::new("kill")
            .args([format!("-{}", self.signal), self.id().to_string()])
            .stderr(Stdio::null())
            .status();
        while self.is_running() {
            if started.elapsed() > limit {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
        self.dismiss_reaper(b"done\n");
    }
}

fn reaper(child: &Child, signal: &str, folder: &Path) -> Child {
    Command::new("sh")
        .args(["-c", REAPER, "reaper", &child.id().to_string(), signal])
        .arg(folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh is a program")
}
