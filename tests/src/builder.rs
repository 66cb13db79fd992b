//! What a test's gateway is to be: its targets, its policies, and the rest of its configuration.

use std::{fmt::Write, fs, path::Path, process::Command, time::Duration};

use crate::{
    gateway::{Gateway, TARGET, put},
    guard::Guarded,
    policies,
    postgres::{APP, APP_PASSWORD, Database},
    programs::{eventually, free_port, sluicegate_program},
    users,
};

/// What `HOOK_SECRET` holds in a gateway's environment: the secret that its webhooks may be signed with.
pub const HOOK_SECRET: &str = "whsec_c2lnbmVkLCBzZWFsZWQgYW5kIGRlbGl2ZXJlZCE=";

/// What a gateway is to be, before it starts.
pub struct Builder {
    targets: Vec<Target>,
    top: String,
    tls: Option<(String, String)>,
    listen: String,
    admin: Option<u16>,
    admin_lines: String,
    tables: String,
    modules: Vec<(String, Vec<u8>)>,
    files: Vec<(String, String)>,
}

struct Target {
    name: String,
    address: String,
    database: String,
    /// As whom the gateway logs in.
    login: String,
    allow: &'static str,
    extra: String,
    policies: Vec<String>,
}

impl Builder {
    pub(crate) fn new(database: &Database) -> Self {
        let targets = vec![Target::new(TARGET, database)];
        let listen = "127.0.0.1".to_owned();
        let (top, admin_lines, tables, modules) = (String::new(), String::new(), String::new(), Vec::new());
        Self { targets, top, tls: None, listen, admin: None, admin_lines, tables, modules, files: Vec::new() }
    }

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

    /// The lines by which the gateway logs in to the newest target, in the place of [`APP`] and its password.
    pub fn login(mut self, lines: &str) -> Self {
        self.newest().login = format!("{lines}\n");
        self
    }

    /// Puts a file into the gateway's folder: a program, if it begins with `#!`.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
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

    /// Serves the administration API on a free port; the group `admin` are its admins.
    pub fn admin(mut self) -> Self {
        self.admin = Some(free_port());
        self
    }

    /// Adds lines to `[admin]`.
    pub fn admin_lines(mut self, lines: &str) -> Self {
        writeln!(self.admin_lines, "{lines}").expect("a string takes everything");
        self
    }

    /// Adds a table of the configuration, such as `[approvals]`, with its lines.
    pub fn table(mut self, name: &str, lines: &str) -> Self {
        writeln!(self.tables, "[{name}]\n{lines}").expect("a string takes everything");
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
        for (name, text) in &self.files {
            write_file(&folder.join(name), text);
        }
        if let Some((certificate, key)) = &self.tls {
            fs::write(folder.join("gate.pem"), certificate).expect("our own folder");
            write_secret(&folder.join("gate.key"), key);
        }
        let config = self.config(port);
        fs::write(folder.join("sluicegate.toml"), &config).expect("our own folder");
        let process = Guarded::start(serve(&folder), "TERM", &folder);
        Gateway { process, port, admin: self.admin, config, expects_failure: false }
    }

    fn deploy_bound(&mut self) {
        for name in ["hold-for-approval", "pii-mask", "sql-guard"] {
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
        if let Some(port) = self.admin {
            writeln!(text, "[admin]\nlisten = \"127.0.0.1:{port}\"\nadmins = [\"group:admin\"]")
                .expect("a string takes everything");
            text.push_str(&self.admin_lines);
        }
        text.push_str(&self.tables);
        text.push_str(users::config());
        for Target { name, address, database, login, allow, extra, policies } in &self.targets {
            write!(
                text,
                "[[target]]\nname = \"{name}\"\nprotocol = \"postgres\"\naddress = \"{address}\"\ndatabase = \"{database}\"\n\
                 {login}allow = {allow}\n{extra}"
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
            login: format!("username = \"{APP}\"\npassword = {{ env = \"ORDERS_PASSWORD\" }}\n"),
            allow: r#"["group:engineering", "group:admin", "user:ci-migrate"]"#,
            extra: String::new(),
            policies: Vec::new(),
        }
    }
}

/// `sluicegate serve` in a folder that has its configuration. Its log is added to.
pub(crate) fn serve(folder: &Path) -> Command {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("our own folder");
    let mut command = Command::new(sluicegate_program());
    command.args(["serve", "--config"]).arg(folder.join("sluicegate.toml")).env_remove("RUST_LOG");
    command.env("ORDERS_PASSWORD", APP_PASSWORD).env("HOOK_SECRET", HOOK_SECRET).current_dir(folder);
    command.stdout(log.try_clone().expect("a file handle can be doubled")).stderr(log);
    command
}

/// The same by a shell that ends in `exec`, and makes its surroundings first.
pub(crate) fn serve_by(folder: &Path, shell: &str) -> Command {
    let serve = serve(folder);
    let log = || fs::File::options().append(true).open(folder.join("log")).expect("our own folder");
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("{shell} \"$0\" \"$@\"")]);
    command.arg(serve.get_program()).args(serve.get_args());
    command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(folder);
    command.stdout(log()).stderr(log());
    command
}

fn write_secret(path: &Path, text: &str) {
    write_with(path, text, 0o600);
}

/// Writes a file of a test's own; one that begins with `#!` is a program.
pub fn write_file(path: &Path, text: &str) {
    write_with(path, text, if text.starts_with("#!") { 0o700 } else { 0o600 });
}

fn write_with(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("our own folder");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}
