//! A temporary PostgreSQL of its own: data folder, free port, and gone when dropped, also when a
//! test fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::{backend::Message, frontend};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub struct Server {
    process: Child,
    folder: TempDir,
    pub port: u16,
}

impl Server {
    /// Starts a server whose TCP rules are `hba`. It has a certificate for `localhost` from the
    /// authority in [`Server::ca`].
    pub fn start(hba: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let owner = owner();
        chown(folder.path(), owner);
        run(as_owner(owner, "initdb")
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "-D"])
            .arg(&data));
        certificates(&data, folder.path(), owner);
        fs::write(data.join("pg_hba.conf"), format!("local all postgres trust\n{hba}\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = as_owner(owner, "postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-h", "localhost", "-k"])
            .arg(folder.path())
            .args(["-c", "fsync=off", "-c", "ssl=on", "-c", "log_destination=stderr"])
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { process, folder, port };
        server.wait_until_ready();
        server
    }

    /// The authority to trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Runs SQL as the superuser and returns what psql prints, unaligned.
    pub fn sql(&self, sql: &str) -> String {
        let out = self.psql().args(["-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
        assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn psql(&self) -> Command {
        let mut psql = Command::new(tool("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-U", "postgres", "-d", "postgres", "-p", &self.port.to_string(), "-h"]);
        psql.arg(self.folder.path());
        psql
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.psql().args(["-c", "select 1"]).output().unwrap().status.success() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the server did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.process);
        let _ = kill_process(pid, Signal::QUIT);
        let _ = self.process.wait();
    }
}

/// The server refuses to run as root, so root starts it as `postgres`.
fn owner() -> Option<u32> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let id = Command::new("id").args(["-u", "postgres"]).output().unwrap();
    Some(String::from_utf8(id.stdout).unwrap().trim().parse().unwrap())
}

fn chown(path: &Path, owner: Option<u32>) {
    if owner.is_some() {
        std::os::unix::fs::chown(path, owner, None).unwrap();
    }
}

fn as_owner(owner: Option<u32>, program: &str) -> Command {
    let mut command = Command::new(tool(program));
    if let Some(uid) = owner {
        command = Command::new("setpriv");
        command.arg(format!("--reuid={uid}")).args(["--regid=postgres", "--clear-groups"]).arg(tool(program));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("PGDATA");
    command
}

/// The newest installed program of that name: Debian keeps servers outside the path.
fn tool(name: &str) -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin").join(name)))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    versions.sort();
    versions.pop().map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

fn run(command: &mut Command) {
    let out = command.stderr(Stdio::piped()).output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn certificates(data: &Path, folder: &Path, owner: Option<u32>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(data.join("server.crt"), leaf.pem()).unwrap();
    fs::write(data.join("server.key"), key.serialize_pem()).unwrap();
    for file in ["server.crt", "server.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(data.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        chown(&data.join(file), owner);
    }
}

/// The origins of a query's output columns, as the server describes them.
pub async fn describe(server: &Server, sql: &str) -> Vec<(u32, i16)> {
    let mut stream = TcpStream::connect(("localhost", server.port)).await.unwrap();
    let mut buffer = BytesMut::new();
    frontend::startup_message([("user", "postgres"), ("database", "postgres")], &mut buffer).unwrap();
    frontend::parse("", sql, [], &mut buffer).unwrap();
    frontend::describe(b'S', "", &mut buffer).unwrap();
    frontend::sync(&mut buffer);
    stream.write_all(&buffer).await.unwrap();
    buffer.clear();
    loop {
        match Message::parse(&mut buffer).unwrap() {
            Some(Message::RowDescription(body)) => {
                return body.fields().map(|field| Ok((field.table_oid(), field.column_id()))).collect().unwrap();
            }
            Some(Message::ErrorResponse(_)) => panic!("{sql}: {}", server.log()),
            Some(_) => {}
            None => assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "the server closed"),
        }
    }
}
