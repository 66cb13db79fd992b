//! HAProxy and PgBouncer, with the settings that they have by themselves wherever that is possible.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use sluicegate_tests::{
    Database,
    guard::Guarded,
    owner::Owner,
    postgres::{APP, APP_PASSWORD},
    programs::{eventually, free_port},
};

/// How many connections a rival takes: more than any workload opens.
const CONNECTIONS: u32 = 4000;

/// A proxy that runs, and the port it serves.
pub struct Rival {
    process: Guarded,
    /// The TCP port on 127.0.0.1.
    pub port: u16,
}

impl Rival {
    /// HAProxy as a TCP proxy.
    pub fn haproxy(database: &Database) -> Self {
        let (folder, port) = (folder(), free_port());
        let config = format!(
            "global\n    maxconn {CONNECTIONS}\ndefaults\n    mode tcp\n    maxconn {CONNECTIONS}\n    timeout connect 10s\n    \
             timeout client 1h\n    timeout server 1h\nlisten postgres\n    bind 127.0.0.1:{port}\n    \
             server postgres 127.0.0.1:{}\n",
            database.port()
        );
        let path = folder.join("haproxy.cfg");
        fs::write(&path, config).expect("our own folder");
        let mut command = Command::new(program("haproxy"));
        command.args(["-db", "-f"]).arg(path);
        Self::start(command, folder, port)
    }

    /// PgBouncer in session mode. Its pool is large enough for every client; how clients log in is its default.
    pub fn pgbouncer(database: &Database) -> Self {
        let (folder, port) = (folder(), free_port());
        let owner = Owner::of_server();
        let users = folder.join("users.txt");
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_file = {}\npool_mode = session\nmax_client_conn = {CONNECTIONS}\n\
             default_pool_size = {CONNECTIONS}\n",
            database.port(),
            users.display()
        );
        let path = folder.join("pgbouncer.ini");
        let files = [(&users, format!("\"{APP}\" \"{APP_PASSWORD}\"\n")), (&path, config)];
        for (path, text) in files {
            fs::write(path, text).expect("our own folder");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our own file");
            owner.take(path);
        }
        owner.take(&folder);
        let mut command = owner.command(&program("pgbouncer"));
        command.arg(path);
        Self::start(command, folder, port)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn start(mut command: Command, folder: PathBuf, port: u16) -> Self {
        let log = fs::File::create(folder.join("log")).expect("our own folder");
        command.stdout(log.try_clone().expect("a file handle can be doubled")).stderr(log);
        let mut process = Guarded::start(command, "INT", &folder);
        eventually("the proxy listens", Duration::from_secs(20), || {
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(process.is_running(), "the proxy ended: {}", log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { process, port }
    }
}

fn folder() -> PathBuf {
    tempfile::Builder::new().prefix("sluicegate-rival-").tempdir().expect("a temporary folder").keep()
}

/// Finds a program in PATH or where Debian puts those of administrators.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing; run this by `just bench`, which installs it"))
}
