//! A real PostgreSQL: one cluster for the test process, and a database of its own for each test.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    client::Endpoint,
    guard::Guarded,
    owner::Owner,
    programs::{eventually, free_port, postgres_program, run},
    seed,
    tls::Authority,
};

/// The role that the gateway logs in as, which owns every test's database.
pub const APP: &str = "app";

/// Its password.
pub const APP_PASSWORD: &str = "the target's own password";

const TEMPLATE: &str = "template_orders";

/// A cluster that listens on a free port of loopback, with and without TLS.
pub struct Postgres {
    server: Guarded,
    port: u16,
    authority: PathBuf,
}

/// One database of the cluster, filled by [`seed::SQL`]. It stays until the cluster goes.
pub struct Database {
    /// Its name.
    pub name: String,
    port: u16,
    authority: PathBuf,
    socket: PathBuf,
}

impl Postgres {
    /// The cluster of this test process, started by the first test that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            let postgres = Self::start();
            postgres.create_template();
            postgres
        })
    }

    /// A fresh cluster, for a test that stops it or wants it to itself. It has the role [`APP`] and
    /// no database.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with settings such as `ssl=off`, which come after the harness's own.
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("sluicegate-pg-").tempdir().expect("a temporary folder").keep();
        let owner = Owner::of_server();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our own folder");
        owner.take(&folder);
        let authority = Authority::new();
        let data = folder.join("data");
        initialise(&owner, &data);
        let (cert, key) = authority.issue("127.0.0.1");
        let files = [("server.crt", cert.as_str()), ("server.key", &key), ("pg_hba.conf", HBA)];
        for (name, text) in files {
            let path = data.join(name);
            fs::write(&path, text).expect("the cluster's folder can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
            owner.take(&path);
        }
        let ca = folder.join("ca.crt");
        fs::write(&ca, authority.pem()).expect("the folder can be written");
        let port = free_port();
        let mut command = owner.command(&postgres_program("postgres"));
        command.arg("-D").arg(&data).args(["-c", &format!("port={port}")]);
        command.args(["-c", &format!("unix_socket_directories={}", folder.display())]);
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let log = fs::File::create(folder.join("log")).expect("the folder can be written");
        command.stdout(log.try_clone().expect("a file handle can be doubled")).stderr(log);
        let mut postgres = Self { server: Guarded::start(command, "QUIT", &folder), port, authority: ca };
        postgres.wait_until_ready();
        postgres
            .administer("postgres", &format!("CREATE ROLE {APP} LOGIN CREATEDB PASSWORD '{}'", quoted(APP_PASSWORD)));
        postgres
    }

    fn wait_until_ready(&mut self) {
        let ready = postgres_program("pg_isready");
        eventually("PostgreSQL accepts connections", Duration::from_secs(60), || {
            assert!(self.server.is_running(), "PostgreSQL ended: {}", self.log());
            let mut command = Command::new(&ready);
            command.arg("-h").arg(self.server.folder()).args(["-p", &self.port.to_string()]);
            run(command, "", Duration::from_secs(10)).status.success()
        });
    }

    fn create_template(&self) {
        self.administer("postgres", &format!("CREATE DATABASE {TEMPLATE} OWNER {APP}"));
        let endpoint = Endpoint { database: TEMPLATE.to_owned(), ..self.endpoint() };
        endpoint.psql(seed::SQL).ok();
    }

    /// A new database with the sample data.
    pub fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("orders_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.administer("postgres", &format!("CREATE DATABASE {name} OWNER {APP} TEMPLATE {TEMPLATE}"));
        self.named(name)
    }

    /// A new database with nothing in it.
    pub fn empty_database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("empty_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.administer("postgres", &format!("CREATE DATABASE {name} OWNER {APP}"));
        self.named(name)
    }

    fn named(&self, name: String) -> Database {
        Database { name, port: self.port, authority: self.authority.clone(), socket: self.server.folder().to_owned() }
    }

    /// Runs SQL as the superuser, over the cluster's own socket; standard output comes back.
    pub fn administer(&self, database: &str, sql: &str) -> String {
        administer(self.server.folder(), self.port, database, sql)
    }

    /// The folder it lives in.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// What the server wrote to its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.server.folder().join("log")).unwrap_or_default()
    }

    /// Stops the server at once, as a crash would.
    pub fn kill(&mut self) {
        self.server.stop(Duration::from_secs(10));
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.port, APP, APP_PASSWORD, "postgres")
    }
}

impl Database {
    /// The way to it without the gateway.
    pub fn direct(&self) -> Endpoint {
        Endpoint::new(self.port, APP, APP_PASSWORD, &self.name)
    }

    /// The server's TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that signed the server's, a PEM file.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Runs SQL in it as the superuser; standard output comes back.
    pub fn administer(&self, sql: &str) -> String {
        administer(&self.socket, self.port, &self.name, sql)
    }

    /// How many of the application's connections there are to it.
    pub fn connections(&self) -> u32 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'app' \
                     AND application_name NOT LIKE 'sluicegate%' AND datname = current_database()";
        self.administer(count).trim().parse().expect("a number")
    }
}

const HBA: &str = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A server for tests may lose everything in a crash, so it waits for no disk.
const SETTINGS: [&str; 10] = [
    "listen_addresses=127.0.0.1",
    "ssl=on",
    "max_connections=300",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "password_encryption=scram-sha-256",
    "shared_buffers=64MB",
    "log_connections=on",
    "log_line_prefix=%m %a %d ",
];

fn initialise(owner: &Owner, data: &Path) {
    let mut command = owner.command(&postgres_program("initdb"));
    command.arg("-D").arg(data).args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--auth=trust"]);
    run(command, "", Duration::from_secs(120)).ok();
}

fn administer(socket: &Path, port: u16, database: &str, sql: &str) -> String {
    let mut command = Command::new(postgres_program("psql"));
    command.arg("-h").arg(socket).args(["-p", &port.to_string(), "-U", "postgres", "-d", database]);
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    run(command, sql, Duration::from_secs(60)).ok()
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}
