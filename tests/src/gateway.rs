//! The real gateway: `sluicegate serve` with a configuration of the test's own, on a free port, with
//! its log shown where the test fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    api::Api,
    builder::{self, Builder},
    client::Endpoint,
    guard::Guarded,
    postgres::{APP_PASSWORD, Database},
    programs::{Run, eventually, memory, run, sluicegate_program},
    users,
};

/// The target's name in every test.
pub const TARGET: &str = "orders";

/// A gateway that runs.
pub struct Gateway {
    pub(crate) process: Guarded,
    pub(crate) port: u16,
    pub(crate) admin: Option<u16>,
    pub(crate) config: String,
    pub(crate) expects_failure: bool,
}

impl Gateway {
    /// A gateway in front of a database, which is the target [`TARGET`].
    pub fn before(database: &Database) -> Builder {
        Builder::new(database)
    }

    /// The way through it to the target, as alice.
    pub fn alice(&self) -> Endpoint {
        self.endpoint("alice")
    }

    /// The way through it to the target, as one of [`users::USERS`].
    pub fn endpoint(&self, user: &str) -> Endpoint {
        Endpoint::new(self.port, user, users::secret(user), TARGET)
    }

    /// The TCP port it serves.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The TCP port of its administration API.
    pub fn admin_port(&self) -> u16 {
        self.admin.expect("the test's gateway serves an API")
    }

    /// Its administration API, called without credentials. It has one where [`Builder::admin`] gave it one.
    pub fn api(&self) -> Api {
        Api::on_port(self.admin_port())
    }

    /// The same on the socket of whoever runs it.
    pub fn socket(&self) -> Api {
        Api::on_socket(self.folder().join("data/admin.sock"))
    }

    /// The folder with its configuration, its policies and its data.
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Waits until the log holds a text; `from` counts bytes that are already known.
    pub fn wait_for_log(&self, from: usize, text: &str) {
        eventually(&format!("the log says {text:?}"), Duration::from_secs(20), || {
            self.log().get(from..).unwrap_or_default().contains(text)
        });
    }

    /// Puts a module into the policies folder, whole at once.
    pub fn deploy(&self, name: &str, module: &[u8]) {
        put(self.folder(), name, module);
    }

    /// The configuration it was started with, or last given.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Replaces its configuration file, whole at once.
    pub fn configure(&mut self, text: String) {
        let path = self.folder().join("sluicegate.toml");
        let fresh = self.folder().join("sluicegate.toml.new");
        fs::write(&fresh, &text).and_then(|()| fs::rename(&fresh, &path)).expect("our own folder");
        self.config = text;
    }

    /// Runs another command of the same binary with the same configuration.
    pub fn sluicegate(&self, args: &[&str]) -> Run {
        run(self.command(args), "", Duration::from_secs(60))
    }

    /// The same as one of [`users::USERS`], who proves it by their secret.
    pub fn sluicegate_as(&self, user: &str, args: &[&str]) -> Run {
        let mut command = self.command(args);
        command.args(["--as", user]).env("SLUICEGATE_SECRET", users::secret(user));
        run(command, "", Duration::from_secs(60))
    }

    /// The same, to be run or changed.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(sluicegate_program());
        command.args(args).env("SLUICEGATE_CONFIG", self.folder().join("sluicegate.toml"));
        command.env("ORDERS_PASSWORD", APP_PASSWORD).env("HOOK_SECRET", builder::HOOK_SECRET);
        command.env("COLUMNS", "200").current_dir(self.folder());
        for name in ["SLUICEGATE_URL", "SLUICEGATE_SECRET", "SLUICEGATE_TOKEN"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs another command that prints JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let printed = self.sluicegate(&[args, &["--output", "json"]].concat()).ok();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{args:?} printed no JSON ({error}): {printed}"))
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_memory(&self) -> u64 {
        memory(self.id(), "VmHWM")
    }

    /// The memory it holds now, in bytes.
    pub fn memory(&self) -> u64 {
        memory(self.id(), "VmRSS")
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("the gateway runs").count()
    }

    /// Asks it to stop; says whether it did so by itself within `limit`.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.process.stop(limit)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after it has ended, with its configuration as it is, and waits until it serves.
    pub fn start_again(&mut self) {
        assert!(self.try_start_again("exec"), "the gateway ended: {}", self.log());
    }

    /// The same by a shell that makes its surroundings first, as by `ulimit -f 4096; exec`. Says whether it
    /// serves; otherwise it has ended.
    pub fn try_start_again(&mut self, shell: &str) -> bool {
        let from = self.log().len();
        self.process.again(builder::serve_by(self.process.folder(), shell));
        let mut serves = false;
        eventually("the gateway serves again, or ends", Duration::from_secs(60), || {
            serves = is_ready(self.log().get(from..).unwrap_or_default());
            serves || !self.process.is_running()
        });
        serves
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    pub(crate) fn wait_until_ready(&mut self) {
        eventually("the gateway serves", Duration::from_secs(60), || {
            assert!(self.process.is_running(), "the gateway ended: {}", self.log());
            is_ready(&self.log())
        });
    }
}

/// Shows the log of a gateway whose test fails.
impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.expects_failure {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
            let targets = self.config.find("[[target]]").and_then(|at| self.config.get(at..)).unwrap_or_default();
            eprintln!("the gateway's log ends:\n{}\nits targets:\n{targets}", last.join("\n"));
        }
    }
}

/// Puts a module into a gateway's policies folder, whole at once.
pub(crate) fn put(folder: &Path, name: &str, module: &[u8]) {
    let place: PathBuf = folder.join("policies").join(format!("{name}.wasm"));
    let fresh = folder.join(format!("{name}.wasm.new"));
    fs::write(&fresh, module).and_then(|()| fs::rename(&fresh, &place)).expect("our own folder");
}

/// Whether a log says that the gateway serves, as text or as JSON.
fn is_ready(log: &str) -> bool {
    log.contains(" ready ") || log.contains(r#""message":"ready""#)
}
