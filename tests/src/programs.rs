//! Finding the programs that the tests drive, and running them in bounded time.

use std::{
    fs::File,
    io::{Seek, Write},
    net::{IpAddr, UdpSocket},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// The gateway's binary, where it is not the one beside the tests.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Run {
    /// Standard output of a program that must have succeeded.
    pub fn ok(self) -> String {
        assert!(self.status.success(), "it failed ({}): {}\n{}", self.status, self.stderr, self.stdout);
        self.stdout
    }

    /// Standard error of a program that must have failed.
    pub fn failed(self) -> String {
        assert!(!self.status.success(), "it should have failed: {}\n{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Finds one of PostgreSQL's programs: where Debian puts the newest version, or in PATH.
pub fn postgres_program(name: &str) -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin").join(name))))
        .filter(|(_, path)| path.is_file())
        .collect();
    versions.sort();
    if let Some((_, path)) = versions.pop() {
        return path;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing; run the tests by `just test`, which installs PostgreSQL"))
}

/// Has another binary be the gateway, for measurements. Said before anything starts, and once.
pub fn choose_sluicegate(path: PathBuf) {
    CHOSEN.set(path).expect("the gateway's binary is chosen once");
}

/// The gateway's binary: the chosen one, or that beside the test's own folder.
pub fn sluicegate_program() -> PathBuf {
    CHOSEN.get().cloned().unwrap_or_else(built_with_the_tests)
}

fn built_with_the_tests() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let built = test.parent().and_then(Path::parent).expect("tests lie in <target>/debug/deps").join("sluicegate");
    assert!(built.is_file(), "{} is missing; run the tests by `just test`, which builds it", built.display());
    built
}

/// A program that was started, with its input closed or written, and its output on its way to files.
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    what: String,
}

impl Running {
    /// Starts a program; `input` becomes its standard input.
    pub fn start(mut command: Command, input: &str) -> Self {
        let what = format!("{command:?}");
        let mut stdin = tempfile::tempfile().expect("a temporary file can be made");
        stdin.write_all(input.as_bytes()).expect("a temporary file can be written");
        stdin.rewind().expect("a temporary file can be read again");
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file can be made"));
        let hand = |file: &File| Stdio::from(file.try_clone().expect("a file handle can be doubled"));
        command.stdin(stdin).stdout(hand(&stdout)).stderr(hand(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
        Self { child, stdout, stderr, what }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status();
        assert!(sent.expect("kill is a program").success(), "{} cannot be signalled", self.what);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// What it wrote to standard output so far.
    pub fn output(&mut self) -> String {
        text(&mut self.stdout)
    }

    /// Waits until it ends; one that takes longer than `limit` is killed, and the test fails.
    pub fn finish(mut self, limit: Duration) -> Run {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if started.elapsed() > limit {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let (out, err) = (text(&mut self.stdout), text(&mut self.stderr));
                panic!("{} did not end within {limit:?}\n{err}\n{out}", self.what);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Run { status, stdout: text(&mut self.stdout), stderr: text(&mut self.stderr) }
    }
}

/// A test that fails leaves nothing running.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
pub fn run(command: Command, input: &str, limit: Duration) -> Run {
    Running::start(command, input).finish(limit)
}

/// Reads a file from its start and leaves its position alone, which is also the program's.
fn text(file: &mut File) -> String {
    let mut bytes = vec![0; file.metadata().map_or(0, |data| data.len() as usize)];
    file.read_exact_at(&mut bytes, 0).expect("a temporary file can be read");
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Waits until `ready` says so; `what` tells in a failure what was waited for.
pub fn eventually(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What Linux says of a process's memory, in bytes: `VmRSS` is what it holds, `VmHWM` the most it ever held.
pub fn memory(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = value.expect("Linux tells it").trim().trim_end_matches("kB").trim();
    kib.parse::<u64>().expect("a number of KiB") * 1024
}

/// An address of this machine that is not loopback; none where it has no network.
pub fn outside_address() -> Option<IpAddr> {
    // Nothing is sent: to connect a datagram socket only chooses the address it would send from.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

/// A TCP port on loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}
