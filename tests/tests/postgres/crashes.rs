//! The record after the worst: a gateway that is killed again and again under load, and a disk that fills
//! up. What clients were told happened is recorded, nothing else is claimed, and all of it can be proven.

use std::{
    collections::HashSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use sluicegate_tests::{
    Api, Gateway, Postgres,
    programs::eventually,
    wire::{Message, Wire, zero_ended},
};

use crate::{
    held::{DELETES, SOON, before, dave, login, notice_id},
    operations::{noise, serve, wait_until_served},
    proof::{another_machine, verdict, verify},
};

/// How often the gateway is killed.
const ROUNDS: u64 = 50;

/// How long the rounds may take together, on a machine that does other things too.
const BUDGET: Duration = Duration::from_secs(150);

/// Every session that is listed, however many pages that takes.
fn sessions(api: &Api) -> Vec<Value> {
    pages(api, "/api/v1/sessions?limit=1000")
}

fn pages(api: &Api, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut before = String::new();
    loop {
        let page = api.get(&format!("{path}{before}")).json();
        all.extend(page["items"].as_array().expect("items").clone());
        let Some(next) = page["next"].as_str() else { return all };
        before = format!("&before={next}");
    }
}

/// Inserts numbers until the connection breaks, and notes those that were acknowledged.
fn insert_until_cut(gateway: &Gateway, next: &AtomicUsize, acknowledged: &Mutex<Vec<usize>>) {
    let Some(mut wire) = Wire::try_login(&gateway.alice()) else { return };
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if wire.try_send('Q', &zero_ended(&format!("INSERT INTO told VALUES ({number})"))).is_err() {
            return;
        }
        loop {
            match wire.read() {
                Ok(message) if message.tag == 'Z' => break,
                Ok(message) if message.tag == 'C' => {
                    acknowledged.lock().expect("nobody panics with it").push(number);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Deletes one row after the other, each of which dave approves, until the connection breaks.
fn delete_until_cut(gateway: &Gateway, next: &AtomicUsize, acknowledged: &Mutex<Vec<usize>>) {
    let cut = || -> Option<()> {
        let dave = dave(gateway);
        let mut wire = Wire::try_login(&gateway.alice())?;
        loop {
            let row = next.fetch_add(1, Ordering::SeqCst);
            wire.try_send('Q', &zero_ended(&format!("DELETE FROM doomed WHERE id = {row}"))).ok()?;
            loop {
                let message = wire.read().ok()?;
                match message.tag {
                    'N' if message.field('M').is_some_and(|text| text.starts_with("approved by")) => {}
                    'N' if is_waiting(&message) => {
                        assert_eq!(dave.try_answer(&notice_id(&[message]), true, "")?.status, 200);
                    }
                    'N' => {}
                    'C' => acknowledged.lock().expect("nobody panics with it").push(row),
                    'Z' => break,
                    // The gateway is killed; it does not refuse.
                    tag => panic!("{tag}: {message:?}"),
                }
            }
        }
    };
    let None = cut() else { return };
}

/// Whether a notice says that a command waits, and not that it was approved.
fn is_waiting(notice: &Message) -> bool {
    notice.field('M').is_some_and(|text| text.contains("waiting for approval"))
}

#[test]
fn fifty_kills_under_load_lose_nothing_that_anybody_was_told() {
    let postgres = Postgres::start();
    let database = postgres.empty_database();
    database.direct().pgbench(&["-i", "-s", "1", "-q"]).ok();
    database
        .direct()
        .psql(
            "CREATE TABLE told (n integer); CREATE TABLE orders AS SELECT generate_series(1, 9) AS id; \
             CREATE TABLE doomed AS SELECT generate_series(1, 20000) AS id",
        )
        .ok();
    let limits = "max_pending_per_identity = 100";
    let gateway = before(&database, DELETES).top("recording = \"strict\"").table("approvals", limits);
    let mut gateway = gateway.start();
    let (next, acknowledged) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let (doomed, deleted) = (AtomicUsize::new(1), Mutex::new(Vec::new()));
    let started = Instant::now();
    for round in 0..ROUNDS {
        let load = gateway.alice().pgbench_start(&["-n", "-c", "3", "-j", "1", "-T", "30", "-S"]);
        std::thread::scope(|scope| {
            let clients = [(); 2].map(|()| scope.spawn(|| insert_until_cut(&gateway, &next, &acknowledged)));
            let deleting = scope.spawn(|| delete_until_cut(&gateway, &doomed, &deleted));
            let held = scope.spawn(|| {
                let (mut wire, _) = login(&gateway);
                let _ = wire.try_send('Q', &zero_ended("DELETE FROM orders WHERE id = 1"));
                while wire.read().is_ok() {}
            });
            eventually("the round is under way", SOON, || is_held(&gateway.socket()));
            // Not at the same moment of each round.
            std::thread::sleep(Duration::from_millis(50 + round * 37 % 300));
            let killed = std::process::Command::new("kill").args(["-KILL", &gateway.id().to_string()]).status();
            assert!(killed.expect("kill is a program").success());
            for client in clients {
                client.join().expect("a client ends with its connection");
            }
            deleting.join().expect("a client ends with its connection");
            held.join().expect("a client ends with its connection");
        });
        gateway.kill();
        drop(load);
        gateway.start_again();
        assert!(started.elapsed() < BUDGET, "{round} rounds took {:?}", started.elapsed());
    }
    let admin = gateway.socket();
    assert!(gateway.socket().pending().is_empty(), "nobody waits any more");

    // Every session has ended truthfully.
    let sessions = sessions(&admin);
    let interrupted = |session: &&Value| session["ended"].as_str().is_some_and(|why| why.contains("interrupted"));
    let open: Vec<_> = sessions.iter().filter(|session| session["closed_at"].is_null()).collect();
    assert!(open.is_empty(), "{} sessions are still open, such as {}", open.len(), open[0]);
    assert!(sessions.iter().filter(interrupted).count() >= ROUNDS as usize, "{} sessions", sessions.len());
    // The load was there each time.
    let loads: Vec<_> = sessions.iter().filter(|session| session["application"] == "pgbench").collect();
    assert!(loads.len() >= ROUNDS as usize, "{} sessions of pgbench", loads.len());
    let commands: u64 = loads.iter().filter_map(|session| session["commands"].as_u64()).sum();
    assert!(commands > 10 * ROUNDS, "{commands} commands of pgbench");
    let approvals = pages(&admin, "/api/v1/approvals?limit=1000");
    let approved: HashSet<_> = approvals.iter().filter_map(approved_row).collect();
    let abandoned = approvals.iter().filter(|approval| approval["state"] == "abandoned").count();
    assert!(abandoned >= ROUNDS as usize && abandoned + approved.len() == approvals.len(), "{approvals:?}");
    // What ran was approved, and that was on disk before.
    let left = database.direct().psql("SELECT id FROM doomed").ok();
    let left: HashSet<usize> = left.lines().map(|line| line.parse().expect("a number")).collect();
    let gone: Vec<_> = (1..=20000).filter(|row| !left.contains(row)).collect();
    assert!(gone.iter().all(|row| approved.contains(row)), "{gone:?} are gone, and approved were {approved:?}");
    let deleted = deleted.into_inner().expect("nobody panicked with it");
    assert!(deleted.len() > ROUNDS as usize && deleted.iter().all(|row| !left.contains(row)), "{deleted:?}");

    // Every session is proven, and together they hold what was acknowledged.
    let elsewhere = another_machine(&gateway);
    let mut recorded = HashSet::new();
    for session in &sessions {
        let id = session["id"].as_str().expect("an id");
        let export = admin.get(&format!("/api/v1/sessions/{id}/export")).text();
        fs::write(elsewhere.path().join("export.jsonl"), &export).expect("our own folder");
        let run = verify(elsewhere.path(), "export.jsonl");
        assert!(run.status.success(), "{id}: {run:?}");
        assert_eq!(verdict(&run)["complete"], true);
        recorded.extend(numbers(&export));
    }
    let acknowledged = acknowledged.into_inner().expect("nobody panicked with it");
    let lost: Vec<_> = acknowledged.iter().filter(|number| !recorded.contains(number)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} were acknowledged and are not recorded: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    assert!(acknowledged.len() > 100, "only {} were acknowledged", acknowledged.len());
    assert_eq!(database.direct().psql("SELECT count(*) FROM orders").ok().trim(), "9", "nothing that was held ran");
}

/// Whether the deletion that nobody answers is held.
fn is_held(api: &Api) -> bool {
    api.pending().iter().any(|held| held["resources"].to_string().contains("orders"))
}

/// The row whose deletion was approved.
fn approved_row(approval: &Value) -> Option<usize> {
    let of_row = approval["text"].as_str()?.strip_prefix("DELETE FROM doomed WHERE id = ")?;
    (approval["state"] == "approved").then(|| of_row.parse().ok())?
}

/// The numbers that an export says were inserted.
fn numbers(export: &str) -> Vec<usize> {
    let inserts = export.split("INSERT INTO told VALUES (").skip(1);
    inserts.filter_map(|rest| rest.split(')').next()?.parse().ok()).collect()
}

#[test]
fn what_cannot_be_recorded_is_not_forwarded() {
    let postgres = Postgres::shared().empty_database();
    postgres.direct().psql("CREATE TABLE told (n integer, noise text)").ok();
    let mut gateway = Gateway::before(&postgres).top("recording = \"strict\"").start();
    assert!(gateway.stop(SOON));
    // No file may grow beyond 2 MiB (in units of 512 bytes), and the gateway is told so by an error.
    let mut cramped = serve(gateway.folder(), "ulimit -f 4096; trap '' XFSZ; exec");
    wait_until_served(&gateway);
    let mut acknowledged = Vec::new();
    let mut number = 0_u64;
    let limit = Instant::now();
    'sessions: while cramped.0.try_wait().expect("a child can be waited for").is_none() {
        assert!(limit.elapsed() < Duration::from_secs(60), "the disk is never full");
        let Some(mut wire) = Wire::try_login(&gateway.alice()) else { continue };
        loop {
            number += 1;
            let sql = format!("INSERT INTO told VALUES ({number}, '{}')", noise(number));
            if wire.try_send('Q', &zero_ended(&sql)).is_err() {
                continue 'sessions;
            }
            loop {
                match wire.read() {
                    Ok(message) if message.tag == 'C' => acknowledged.push(number),
                    Ok(message) if message.tag == 'Z' => break,
                    Ok(_) => {}
                    Err(_) => continue 'sessions,
                }
            }
        }
    }
    drop(cramped);
    let rows = postgres.direct().psql("SELECT n FROM told").ok();
    let rows: Vec<u64> = rows.lines().map(|line| line.parse().expect("a number")).collect();
    // The last one may have run before its end could not be recorded; its client was told nothing.
    assert!(rows.len() <= acknowledged.len() + 1, "{} ran and {} were acknowledged", rows.len(), acknowledged.len());
    let roomy = serve(gateway.folder(), "exec");
    wait_until_served(&gateway);
    let exports = sessions(&gateway.socket()).into_iter().map(|session| {
        let id = session["id"].as_str().expect("an id").to_owned();
        gateway.sluicegate(&["sessions", "export", &id]).ok()
    });
    let recorded: HashSet<usize> = exports.flat_map(|export| told(&export)).collect();
    let unknown: Vec<_> = rows.iter().filter(|number| !recorded.contains(&(**number as usize))).collect();
    assert!(unknown.is_empty() && !rows.is_empty(), "ran and not recorded: {unknown:?}");
    let lost: Vec<_> = acknowledged.iter().filter(|number| !recorded.contains(&(**number as usize))).collect();
    assert!(lost.is_empty() && !acknowledged.is_empty(), "acknowledged and not recorded: {lost:?}");
    drop(roomy);
}

/// The same where a text follows.
fn told(export: &str) -> Vec<usize> {
    let inserts = export.split("INSERT INTO told VALUES (").skip(1);
    inserts.filter_map(|rest| rest.split(',').next()?.parse().ok()).collect()
}
