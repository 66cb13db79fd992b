//! The real gateway: `sluicegate serve` with a configuration of the test's own, on a free port, with
//! its log shown where the test fails.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    client::Endpoint,
    guard::Guarded,
    policies,
    postgres::{APP, APP_PASSWORD, Database},
    programs::{Run, eventually, free_port, run, sluicegate_program},
    users,
};

/// The target's name in every test.
pub const TARGET: &str = "orders";

/// What a gateway is to be, before it starts.
pub struct Builder {
    targets: Vec<Target>,
    top: String,
    tls: Option<(String, String)>,
    listen: String,
    modules: Vec<(String, Vec<u8>)>,
}

struct Target {
    name: String,
    address: String,
    database: String,
    allow: &'static str,
    extra: String,
    policies: Vec<String>,
}

/// A gateway that runs.
pub struct Gateway {
    process: Guarded,
    port: u16,
    config: String,
    expects_failure: bool,
}

impl Builder {
    /// Binds a policy to the newest target, with settings as TOML keys: `columns = ["*.ssn"]`. A
    /// shipped policy of that name is deployed, unless [`Builder::module`] gave one.
    pub fn policy(self, module: &str, settings: &str) -> Self {
        self.bind(module, "enforce", settings)
    }

    /// Binds a policy that decides and changes nothing.
    pub fn monitor(self, module: &str, settings: &str) -> Self {
        self.bind(module, "monitor", settings)
    }

    fn bind(mut self, module: &str, mode: &str, settings: &str) -> Self {
        let settings = if settings.is_empty() { String::new() } else { format!("settings = {{ {settings} }}\n") };
        let binding = format!("[[target.policy]]\nmodule = \"{module}\"\nmode = \"{mode}\"\n{settings}");
        self.newest().policies.push(binding);
        self
    }

    /// Puts a module into the policies folder.
    pub fn module(mut self, name: &str, module: Vec<u8>) -> Self {
        self.modules.push((name.to_owned(), module));
        self
    }

    /// Adds lines to the newest target.
    pub fn target_lines(mut self, lines: &str) -> Self {
        writeln!(self.newest().extra, "{lines}").expect("a string takes everything");
        self
    }

    /// Who may use the newest target, as a TOML list.
    pub fn allow(mut self, principals: &'static str) -> Self {
        self.newest().allow = principals;
        self
    }

    /// Adds another target.
    pub fn target(mut self, name: &str, database: &Database) -> Self {
        self.targets.push(Target::new(name, database));
        self
    }

    /// Sends the newest target's sessions to another address.
    pub fn address(mut self, address: &str) -> Self {
        self.newest().address = address.to_owned();
        self
    }

    /// Adds lines at the top of the configuration.
    pub fn top(mut self, lines: &str) -> Self {
        writeln!(self.top, "{lines}").expect("a string takes everything");
        self
    }

    /// Gives the gateway a certificate and its key, as PEM.
    pub fn tls(mut self, (certificate, key): (String, String)) -> Self {
        self.tls = Some((certificate, key));
        self
    }

    /// Listens on another address than 127.0.0.1.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Starts it and waits until it serves.
    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        gateway.wait_until_ready();
        gateway
    }

    /// Starts a gateway that is expected to refuse its configuration, and returns what it says.
    pub fn refused(self) -> String {
        let mut gateway = self.spawn();
        gateway.expects_failure = true;
        eventually("the gateway refuses to start", Duration::from_secs(30), || !gateway.process.is_running());
        gateway.log()
    }

    fn spawn(mut self) -> Gateway {
        let folder = tempfile::Builder::new().prefix("sluicegate-").tempdir().expect("a temporary folder").keep();
        let port = free_port();
        fs::create_dir(folder.join("policies")).expect("our own folder");
        self.deploy_bound();
        for (name, module) in &self.modules {
            put(&folder, name, module);
        }
        if let Some((certificate, key)) = &self.tls {
            fs::write(folder.join("gate.pem"), certificate).expect("our own folder");
            write_secret(&folder.join("gate.key"), key);
        }
        let config = self.config(port);
        fs::write(folder.join("sluicegate.toml"), &config).expect("our own folder");
        let log = fs::File::create(folder.join("log")).expect("our own folder");
        let mut command = Command::new(sluicegate_program());
        command.args(["serve", "--config"]).arg(folder.join("sluicegate.toml")).args(["--log-level", "info"]);
        command.env("ORDERS_PASSWORD", APP_PASSWORD).current_dir(&folder);
        command.stdout(log.try_clone().expect("a file handle can be doubled")).stderr(log);
        Gateway { process: Guarded::start(command, "TERM", &folder), port, config, expects_failure: false }
    }

    fn deploy_bound(&mut self) {
        for name in ["pii-mask", "sql-guard"] {
            let bound = self.targets.iter().flat_map(|target| &target.policies).any(|text| text.contains(name));
            if bound && !self.modules.iter().any(|(given, _)| given == name) {
                self.modules.push((name.to_owned(), policies::shipped(name)));
            }
        }
    }

    fn config(&self, port: u16) -> String {
        let Self { top, listen, .. } = self;
        let mut text = format!("data_dir = \"data\"\n{top}\n[listen]\npostgres = \"{listen}:{port}\"\n");
        text.push_str("[policies]\ndir = \"policies\"\n");
        if self.tls.is_some() {
            text.push_str("[tls]\ncert = \"gate.pem\"\nkey = \"gate.key\"\n");
        }
        text.push_str(users::config());
        for Target { name, address, database, allow, extra, policies } in &self.targets {
            write!(
                text,
                "[[target]]\nname = \"{name}\"\nprotocol = \"postgres\"\naddress = \"{address}\"\ndatabase = \"{database}\"\n\
                 username = \"{APP}\"\npassword = {{ env = \"ORDERS_PASSWORD\" }}\nallow = {allow}\n{extra}"
            )
            .expect("a string takes everything");
            policies.iter().for_each(|policy| text.push_str(policy));
        }
        text
    }

    fn newest(&mut self) -> &mut Target {
        self.targets.last_mut().expect("a gateway starts with one target")
    }
}

impl Target {
    fn new(name: &str, database: &Database) -> Self {
        Self {
            name: name.to_owned(),
            address: format!("127.0.0.1:{}", database.port()),
            database: database.name.clone(),
            allow: r#"["group:engineering", "group:admin", "user:ci-migrate"]"#,
            extra: String::new(),
            policies: Vec::new(),
        }
    }
}

impl Gateway {
    /// A gateway in front of a database, which is the target [`TARGET`].
    pub fn before(database: &Database) -> Builder {
        let targets = vec![Target::new(TARGET, database)];
        Builder { targets, top: String::new(), tls: None, listen: "127.0.0.1".to_owned(), modules: Vec::new() }
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
        let mut command = Command::new(sluicegate_program());
        command.args(args).env("SLUICEGATE_CONFIG", self.folder().join("sluicegate.toml"));
        command.env("ORDERS_PASSWORD", APP_PASSWORD).env("COLUMNS", "200").current_dir(self.folder());
        run(command, "", Duration::from_secs(30))
    }

    /// Runs another command that prints JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let printed = self.sluicegate(&[args, &["--output", "json"]].concat()).ok();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{args:?} printed no JSON ({error}): {printed}"))
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB");
        kib * 1024
    }

    /// Asks it to stop; says whether it did so by itself within `limit`.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.process.stop(limit)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    fn wait_until_ready(&mut self) {
        eventually("the gateway serves", Duration::from_secs(60), || {
            assert!(self.process.is_running(), "the gateway ended: {}", self.log());
            self.log().contains(" ready ")
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

fn put(folder: &Path, name: &str, module: &[u8]) {
    let place: PathBuf = folder.join("policies").join(format!("{name}.wasm"));
    let fresh = folder.join(format!("{name}.wasm.new"));
    fs::write(&fresh, module).and_then(|()| fs::rename(&fresh, &place)).expect("our own folder");
}

fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("our own folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our own file");
}
