//! The gateway as systemd runs it: what it says on the socket that NOTIFY_SOCKET names.

use std::{os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use sluicegate_tests::{Gateway, programs::eventually};

use crate::{
    database,
    operations::{serve, wait_until_served},
};

/// systemd's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(socket)
    }

    /// The next message that begins like this; what comes before is passed over.
    fn next(&self, begins: &str) -> String {
        loop {
            let mut message = [0; 4096];
            let count = self.0.recv(&mut message).unwrap_or_else(|error| panic!("waiting for {begins}: {error}"));
            let message = String::from_utf8_lossy(&message[..count]).into_owned();
            if message.starts_with(begins) {
                return message;
            }
        }
    }
}

#[test]
fn systemd_is_told_how_the_gateway_stands() {
    let mut gateway = Gateway::before(&database()).table("shutdown", "drain = \"10s\"").start();
    assert!(gateway.stop(Duration::from_secs(20)));
    let socket = gateway.folder().join("notify");
    let manager = Manager::listen(&socket);
    let shell = format!("export NOTIFY_SOCKET='{}' WATCHDOG_USEC=1000000 WATCHDOG_PID=$$; exec", socket.display());
    let mut serving = serve(gateway.folder(), &shell);
    manager.next("READY=1");
    wait_until_served(&gateway);
    for _ in 0..3 {
        manager.next("WATCHDOG=1");
    }
    let pid = serving.0.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-HUP");
    let reloading = manager.next("RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("systemd 253 wants it");
    assert!(since.parse::<u64>().unwrap() > 0);
    manager.next("READY=1");

    // What is refused leaves the gateway as ready as it was.
    let config = gateway.config().to_owned();
    gateway.configure(format!("{config}\n[nonsense]\n"));
    manager.next("RELOADING=1");
    manager.next("READY=1");
    signal("-TERM");
    // The drain, and the time to close what is left.
    assert!(manager.next("STOPPING=1").contains("EXTEND_TIMEOUT_USEC=40000000"));
    eventually("the gateway ends", Duration::from_secs(20), || serving.0.try_wait().unwrap().is_some());
    assert!(serving.0.wait().unwrap().success());
}
