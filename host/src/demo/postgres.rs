//! A PostgreSQL server that lives as long as the demo: its own data, a free port, loopback only. It
//! refuses to run as root, so root hands it to the user `postgres` or `nobody`.

use std::{
    fs,
    io::Write,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The database that the sample data goes to.
pub const DATABASE: &str = "shop";
/// The role that the gateway signs in as.
pub const ROLE: &str = "shop_app";

/// The superuser, who only loads the sample data.
const OWNER: &str = "demo_owner";
/// What the server's log says once it serves; it speaks English because of `LC_ALL`.
const READY: &str = "database system is ready to accept connections";
const SAMPLE: &str = include_str!("sample.sql");
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The server. Dropping it stops it and removes its data.
pub struct Server {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// Makes a cluster with the sample data and starts it. `password` is the application role's.
    /// Blocking. Call it on the main thread: the server ends with the thread that started it.
    pub fn start(password: &str) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        psql()?;
        let folder = tempfile::Builder::new().prefix("sluicegate-demo-postgres-").tempdir()?;
        if let Some(user) = &programs.user {
            chown(folder.path(), Some(user.uid), Some(user.gid))?;
        }
        let data = folder.path().join("data");
        let log = folder.path().join("log");
        let initdb = ["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256", "--username", OWNER];
        let password_file = folder.path().join("owner");
        let owner_password = crate::demo::random_word()?;
        fs::write(&password_file, &owner_password)?;
        if let Some(user) = &programs.user {
            chown(&password_file, Some(user.uid), Some(user.gid))?;
        }
        let mut command = programs.command("initdb", folder.path());
        command.args(initdb).arg("--pwfile").arg(&password_file).arg("-D").arg(&data);
        finish("initdb", command, "")?;
        let port = free_port()?;
        let mut command = programs.command("postgres", folder.path());
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "unix_socket_directories="]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        // A group of its own: Ctrl-C is for the demo, which then stops the server in order.
        command.process_group(0);
        let process = command.spawn().context("PostgreSQL could not be started")?;
        let mut server = Self { process, port, folder };
        server.wait_until_ready(&log)?;
        server.load("postgres", &owner_password, &format!("CREATE DATABASE {DATABASE}"))?;
        server.load(DATABASE, &owner_password, &SAMPLE.replace("@PASSWORD@", password))?;
        Ok(server)
    }

    fn load(&self, database: &str, password: &str, sql: &str) -> anyhow::Result<()> {
        let mut command = Command::new(psql()?);
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", OWNER, "-d", database]);
        command.args(["-p", &self.port.to_string()]).env("PGPASSWORD", password);
        finish("psql", command, sql)
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait_until_ready(&mut self, log: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            if said.contains(READY) {
                return Ok(());
            }
            let gone = self.process.try_wait()?.is_some();
            if gone || began.elapsed() > START_LIMIT {
                bail!("the temporary PostgreSQL did not start; it said:\n{}", said.trim_end());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        // SIGINT is PostgreSQL's fast shutdown: open sessions are ended.
        let asked = id.is_some_and(|id| kill_process(id, Signal::INT).is_ok());
        let began = Instant::now();
        while asked && began.elapsed() < STOP_LIMIT {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        tracing::warn!(folder = %self.folder.path().display(), "the temporary PostgreSQL did not stop when asked; it is killed");
        let _gone_already = self.process.kill();
        let _gone_already = self.process.wait();
    }
}

/// Where the server's programs are, and who runs them.
struct Programs {
    folder: PathBuf,
    user: Option<User>,
}

/// The user that root hands the server to.
struct User {
    uid: u32,
    gid: u32,
}

impl Programs {
    fn find() -> anyhow::Result<Self> {
        let folder = folders().find(|folder| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file()));
        let folder = folder.context(
            "PostgreSQL's server programs `initdb` and `postgres` were not found; install them (Debian: `apt-get install postgresql`) and run this again",
        )?;
        let user = if rustix::process::geteuid().is_root() { Some(User::find()?) } else { None };
        Ok(Self { folder, user })
    }

    fn command(&self, name: &str, folder: &Path) -> Command {
        let program = self.folder.join(name);
        // With setpriv the server is told to stop even if the demo dies without a chance to do so.
        let mut command = match which("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.arg("--pdeathsig=INT").arg(program);
                command
            }
            None => Command::new(program),
        };
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command.current_dir(folder).env("HOME", folder).env("LC_ALL", "C").env_remove("PGDATA");
        command
    }
}

impl User {
    fn find() -> anyhow::Result<Self> {
        ["postgres", "nobody"].into_iter().find_map(Self::named).context(
            "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`; run this as another user",
        )
    }

    fn named(name: &str) -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

/// Runs a program to its end with a text as its input.
fn finish(name: &str, mut command: Command, input: &str) -> anyhow::Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().with_context(|| format!("`{name}` could not be started"))?;
    if let Some(mut stdin) = process.stdin.take() {
        // A program that ends early says why in its output.
        let _broken_pipe = stdin.write_all(input.as_bytes());
    }
    let output = process.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{name}` failed ({}); it said:\n{}", output.status, said.trim_end());
    Ok(())
}

/// PATH first, then where Debian puts the server, the newest version first.
fn folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let mut installed: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    installed.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    in_path.into_iter().chain(installed.into_iter().map(|folder| folder.join("bin")))
}

/// The client that the demo is about.
pub fn psql() -> anyhow::Result<PathBuf> {
    which("psql")
        .context("psql was not found; install it (Debian: `apt-get install postgresql-client`) and run this again")
}

/// A program in PATH.
fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// A port that nobody listens on now.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
