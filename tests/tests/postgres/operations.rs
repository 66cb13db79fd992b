//! What an operator lives through: a burst of logins, a disk that is full, and stopping while
//! somebody works.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sluicegate_tests::{
    Endpoint, Gateway,
    postgres::APP_PASSWORD,
    programs::{eventually, sluicegate_program},
    tls::Authority,
    wire::{Wire, errors_of, rows_of},
};

use crate::{connections::nothing_runs, database, open, record::newest};

#[test]
fn a_burst_of_logins_never_calls_a_right_secret_wrong() {
    let (_database, mut gateway) = open();
    assert!(gateway.stop(Duration::from_secs(20)));
    let single = serve(gateway.folder(), &format!("exec taskset -c {}", any_core()));
    wait_until_served(&gateway);
    let logins: Vec<_> = (0..200)
        .map(|_| {
            // Bob may use no target: his right secret is known by another refusal.
            let endpoint = gateway.endpoint("bob");
            std::thread::spawn(move || {
                let (_wire, greeting) = Wire::login(&endpoint);
                greeting.into_iter().find(|message| message.tag == 'E').expect("bob may use no target")
            })
        })
        .collect();
    let refusals: Vec<_> = logins.into_iter().map(|login| login.join().unwrap()).collect();
    let codes = |code: &str| refusals.iter().filter(|error| error.field('C').unwrap() == code).count();
    assert_eq!((codes("28P01"), codes("3D000") + codes("53300")), (0, refusals.len()));
    drop(single);
}

#[test]
fn a_gateway_that_cannot_record_ends_and_serves_again_once_it_can() {
    let database = database();
    let mut gateway = Gateway::before(&database).start();
    assert!(gateway.stop(Duration::from_secs(20)));

    // No file may grow beyond 2 MiB (in units of 512 bytes), and the gateway is told so by an error.
    let mut cramped = serve(gateway.folder(), "ulimit -f 4096; trap '' XFSZ; exec");
    wait_until_served(&gateway);
    gateway.alice().psql("SELECT 1").ok();
    // With the next flush that session is on disk, before there is too little room.
    std::thread::sleep(Duration::from_secs(1));
    let noise: String = (0..200).map(|n| format!("SELECT {n}, repeat('x', 3), '{}';\n", noise(n))).collect();
    eventually("the disk is full", Duration::from_secs(60), || {
        let _ = gateway.alice().psql_on(&noise);
        cramped.0.try_wait().unwrap().is_some()
    });
    assert_eq!(cramped.0.wait().unwrap().code(), Some(1));
    let said = std::fs::read_to_string(gateway.folder().join("log")).unwrap();
    assert!(said.contains("the gateway ends, because it cannot record what passes"), "{said}");

    let roomy = serve(gateway.folder(), "exec");
    wait_until_served(&gateway);
    let sessions = gateway.json(&["sessions", "list"]);
    assert!(!sessions["items"].as_array().unwrap().is_empty(), "what was recorded before is still there: {sessions}");
    drop(roomy);
}

#[test]
fn a_session_in_a_transaction_is_told_and_recorded_when_the_gateway_stops() {
    let (_database, mut gateway) = open();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN");
    signal(&gateway, "TERM");
    // Its transaction may go on for a while, which a second word cuts short.
    gateway.wait_for_log(0, "stopping: no new sessions");
    assert_eq!(rows_of(&wire.query("SELECT 1")), [[Some("1".to_owned())]]);
    std::thread::sleep(Duration::from_millis(600));
    assert!(gateway.stop(Duration::from_secs(20)));
    let last = wire.read_until("E");
    assert_eq!(errors_of(&last), ["57P01"]);
    assert!(wire.is_closed_by_server());
    let session = newest(&gateway, 1);
    assert_eq!(session["summary"]["commands"], 2);
    assert!(session["entries"].to_string().contains("the gateway is stopping"), "{session}");
}

#[test]
fn what_still_runs_when_the_drain_is_over_is_told_and_cancelled() {
    let database = database();
    let mut gateway = Gateway::before(&database).table("shutdown", "drain = \"4s\"").start();
    let (mut idle, _) = Wire::login(&gateway.alice());
    let (mut finishing, _) = Wire::login(&gateway.alice());
    let (mut endless, _) = Wire::login(&gateway.alice());
    finishing.send('Q', b"SELECT 1 FROM pg_sleep(1)\0");
    endless.send('Q', b"UPDATE orders SET id = id WHERE pg_sleep(60) IS NULL\0");
    let begun = Instant::now();
    signal(&gateway, "TERM");
    assert_eq!(errors_of(&idle.read_until("E")), ["57P01"]);
    assert!(Wire::try_login(&gateway.alice()).is_none(), "nobody is let in any more");
    let answers = finishing.read_until("E");
    assert_eq!((rows_of(&answers).len(), errors_of(&answers)), (1, vec!["57P01".to_owned()]));
    assert_eq!(errors_of(&endless.read_until("E")), ["57P01"]);
    assert!(endless.is_closed_by_server() && begun.elapsed() >= Duration::from_secs(2));
    nothing_runs(&database, "UPDATE orders");
    eventually("the gateway ends", Duration::from_secs(20), || !gateway.is_running());
    assert!(gateway.log().contains("sessions that go on are told to end"), "{}", gateway.log());
}

#[test]
fn a_renewed_certificate_is_taken_when_its_files_change_and_a_bad_one_is_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let gateway = Gateway::before(&database()).admin().tls(old.issue("127.0.0.1")).start();
    let served = |authority: &Authority| {
        let path = gateway.folder().join("ca.pem");
        std::fs::write(&path, authority.pem()).unwrap();
        let authority = Some(path.display().to_string());
        Endpoint { sslmode: "verify-full", authority, ..gateway.alice() }.psql("SELECT 1").status.success()
    };
    let (certificate, key) = new.issue("127.0.0.1");
    std::fs::write(gateway.folder().join("gate.pem"), certificate).unwrap();
    gateway.wait_for_log(0, "the changed certificate is refused, and the one before stays in force");
    assert!(served(&old) && !served(&new));
    std::fs::write(gateway.folder().join("gate.key"), key).unwrap();
    // That of the API too.
    eventually("both certificates are reloaded", Duration::from_secs(20), || {
        gateway.log().matches("TLS certificate reloaded").count() == 2
    });
    assert!(served(&new) && !served(&old));
}

#[test]
fn a_renewed_certificate_is_taken_on_a_hangup() {
    let (old, new) = (Authority::new(), Authority::new());
    let gateway = Gateway::before(&database()).tls(old.issue("127.0.0.1")).start();
    let trusting = |authority: &Authority, name: &str| {
        let path = gateway.folder().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        let authority = Some(path.display().to_string());
        Endpoint { sslmode: "verify-full", authority, ..gateway.alice() }.psql("SELECT 1")
    };
    trusting(&old, "old.pem").ok();
    let (certificate, key) = new.issue("127.0.0.1");
    for (file, text) in [("gate.pem", certificate), ("gate.key", key)] {
        std::fs::write(gateway.folder().join(file), text).unwrap();
    }
    signal(&gateway, "HUP");
    gateway.wait_for_log(0, "TLS certificate reloaded");
    trusting(&new, "new.pem").ok();
    trusting(&old, "old.pem").failed();
}

pub fn signal(gateway: &Gateway, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), gateway.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// A core that this process may run on.
fn any_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    allowed.trim().split([',', '-']).next().unwrap().to_owned()
}

/// Text that does not compress, of some 4000 characters.
pub fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::new();
    while text.len() < 4000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text
}

pub fn serve(folder: &Path, shell: &str) -> Serving {
    let log = std::fs::File::options().append(true).open(folder.join("log")).unwrap();
    let child = Command::new("sh")
        .args(["-c", &format!("{shell} \"$0\" serve --config sluicegate.toml")])
        .arg(sluicegate_program())
        .env("ORDERS_PASSWORD", APP_PASSWORD)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Serving(child)
}

/// A gateway that ends with the test, also when it fails.
pub struct Serving(pub Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn wait_until_served(gateway: &Gateway) {
    eventually("the gateway serves", Duration::from_secs(30), || gateway.alice().psql("SELECT 1").status.success());
}
