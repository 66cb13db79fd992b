//! What happens around a held command while it waits: policies and configuration change, the gateway or
//! the target goes down, and many wait at once.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use sluicegate_tests::{
    Database, Gateway, Postgres,
    policies::shipped,
    programs::eventually,
    wire::{Wire, errors_of, tags_of},
};

use crate::{
    database,
    held::{
        DELETE, DELETES, SOON, approval, approve, before, dave, ended, held, holding, id, login, notice_id, orders,
        psql, query_held, said, story, waiting, waiting_id,
    },
};

/// A gateway on which alice's deletion waits, and which refuses nothing but to drop things.
fn waits() -> (Database, Gateway, Wire, String) {
    let database = database();
    let gateway = before(&database, DELETES).policy("sql-guard", r#"deny = ["drop"]"#).start();
    let (mut wire, _) = login(&gateway);
    let id = query_held(&mut wire, DELETE);
    (database, gateway, wire, id)
}

fn change(gateway: &mut Gateway, from: &str, to: &str) {
    let config = gateway.config();
    assert!(config.contains(from), "{config}");
    gateway.configure(config.replacen(from, to, 1));
}

#[test]
fn what_no_policy_holds_any_more_runs() {
    let (database, mut gateway, mut wire, id) = waits();
    change(&mut gateway, r#"["delete"]"#, r#"["truncate"]"#);
    assert_eq!(tags_of(&wire.read_until("Z")), "CZ");
    assert_eq!((ended(&gateway, &id, "superseded")["answers"].clone(), orders(&database)), (serde_json::json!([]), 29));
    dave(&gateway).answer(&id, true, "").problem(409);
}

#[test]
fn what_a_policy_blocks_now_is_refused() {
    let (database, mut gateway, mut wire, id) = waits();
    change(&mut gateway, r#"["drop"]"#, r#"["drop", "delete"]"#);
    let refused = wire.read_until("Z");
    assert_eq!(errors_of(&refused), ["42501"]);
    assert!(refused[0].field('M').unwrap().contains("sql-guard"), "{refused:?}");
    ended(&gateway, &id, "superseded");
    assert_eq!(orders(&database), 30);
}

#[test]
fn other_approvers_are_asked_anew() {
    let (database, mut gateway, mut wire, first) = waits();
    change(&mut gateway, "group:dba", "group:admin");
    let told = wire.read_until("N");
    let why = format!("the policies changed, so approval {first} no longer counts; waiting for approval ");
    assert!(told.last().unwrap().field('M').unwrap().starts_with(&why), "{told:?}");
    let second = notice_id(&told);
    ended(&gateway, &first, "superseded");
    dave(&gateway).answer(&first, true, "").problem(409);
    dave(&gateway).answer(&second, true, "");
    assert_eq!(approval(&gateway, &second)["state"], "pending", "dave is not asked any more");
    gateway.api().basic("admin").answer(&second, true, "").json();
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    assert_eq!(orders(&database), 29);
}

#[test]
fn approvals_given_under_other_rules_are_void() {
    let database = database();
    let mut gateway = before(&database, &format!("{DELETES}, min_approvals = 2")).start();
    let (mut wire, _) = login(&gateway);
    let first = query_held(&mut wire, DELETE);
    approve(&gateway, &first);
    let told = wire.read_until("N");
    assert_eq!(told.last().unwrap().field('M').unwrap(), "approved by dave; 1 more is needed");
    change(&mut gateway, "min_approvals = 2", "min_approvals = 2, reason_required = true");
    let second = held(&mut wire);
    let end = ended(&gateway, &first, "superseded");
    assert_eq!(end["answers"].as_array().map(Vec::len), Some(1), "{end}");
    gateway.api().basic("erin").answer(&second, true, "seen").json();
    let still = approval(&gateway, &second);
    assert_eq!((&still["state"], still["answers"].as_array().map(Vec::len)), (&"pending".into(), Some(1)), "{still}");
    dave(&gateway).answer(&second, true, " ").problem(422);
    dave(&gateway).answer(&second, true, "seen again").json();
    let ran = wire.read_until("Z");
    let told: Vec<_> = ran.iter().filter_map(|message| message.field('M')).collect();
    assert_eq!(told.last().unwrap(), "approved by erin: seen; dave: seen again");
    assert_eq!(tags_of(&ran).replace('N', ""), "CZ");
}

/// The same policy, compiled anew: whoever was asked need not be asked again.
#[test]
fn a_rebuilt_policy_that_asks_for_the_same_changes_nothing() {
    let (database, gateway, mut wire, id) = waits();
    let mut module = shipped("hold-for-approval");
    // A custom section: its id, its size, and a name.
    module.extend([0, 6, 5]);
    module.extend(b"again");
    let before = gateway.sluicegate(&["policy", "status"]).ok();
    gateway.deploy("hold-for-approval", &module);
    eventually("the new module governs", SOON, || gateway.sluicegate(&["policy", "status"]).ok() != before);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(approval(&gateway, &id)["state"], "pending");
    approve(&gateway, &id);
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    assert_eq!(orders(&database), 29);
    drop(wire);
    let story = story(&gateway, 1);
    assert!(story.contains(&"governed".to_owned()), "which policy decided is recorded: {story:?}");
}

#[test]
fn a_table_that_becomes_another_one_during_the_wait_is_asked_about_anew() {
    let (database, gateway, mut wire, first) = waits();
    // The name that was asked about means another table now.
    let swap = "ALTER TABLE orders RENAME TO old_orders; CREATE TABLE orders (id integer, secret text)";
    gateway.endpoint("admin").psql(swap).ok();
    approve(&gateway, &first);
    let messages = wire.read_until("NZ");
    assert!(!tags_of(&messages).contains('C'), "it ran on what nobody approved");
    assert_eq!(ended(&gateway, &first, "superseded")["answers"][0]["approved"], true);
    assert_eq!(database.direct().psql("SELECT count(*) FROM old_orders").ok().trim(), "30");
}

#[test]
fn a_gateway_that_is_killed_during_a_hold_tells_the_truth_when_it_is_back() {
    let (database, mut gateway) = holding();
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let id = waiting_id(&gateway);
    gateway.kill();
    let run = said(alice);
    assert!(!run.status.success() && orders(&database) == 30, "{}", run.stderr);
    gateway.start_again();
    let end = ended(&gateway, &id, "abandoned");
    assert!(end["ended"].as_str().unwrap().contains("gateway"), "{end}");
    dave(&gateway).answer(&id, true, "").problem(409);
    let session = crate::record::newest(&gateway, 1);
    assert!(session["summary"]["ended"].as_str().unwrap().contains("interrupted"), "{session}");
    // What is held from now on is approved as before.
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    approve(&gateway, &waiting_id(&gateway));
    assert_eq!(said(alice).stdout.trim(), "DELETE 1");
}

#[test]
fn a_gateway_that_stops_during_a_hold_ends_it_first() {
    let (database, mut gateway) = holding();
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let id = waiting_id(&gateway);
    let started = Instant::now();
    assert!(gateway.stop(SOON), "a held command keeps the gateway from stopping");
    assert!(started.elapsed() < Duration::from_secs(15));
    let run = said(alice);
    assert!(run.stderr.contains("57P01"), "{}", run.stderr);
    assert_eq!(orders(&database), 30);
    let list = gateway.json(&["approvals", "list", "--state", "all"]);
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["state"]), (&id.into(), &"abandoned".into()), "{list}");
}

#[test]
fn a_target_that_goes_away_takes_what_waits_for_it_along() {
    let mut postgres = Postgres::start();
    postgres.administer("postgres", "CREATE DATABASE orders_own OWNER app");
    let database = postgres.empty_database();
    database.direct().psql("CREATE TABLE orders AS SELECT generate_series(1, 30) AS id").ok();
    let gateway = before(&database, DELETES).start();
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let id = waiting_id(&gateway);
    postgres.kill();
    ended(&gateway, &id, "abandoned");
    let run = said(alice);
    assert!(!run.status.success(), "{} {}", run.stdout, run.stderr);
    dave(&gateway).answer(&id, true, "").problem(409);
}

/// 200 sessions, each with a command that waits: sockets and tasks, and no thread more.
#[test]
fn two_hundred_held_sessions_cost_no_thread() {
    const SESSIONS: u32 = 200;
    let postgres = Postgres::start();
    let database = postgres.empty_database();
    database.direct().psql("CREATE TABLE orders AS SELECT generate_series(1, 300) AS id").ok();
    let limits = "max_pending_per_identity = 500";
    let gateway = before(&database, DELETES).table("approvals", limits).start();
    let hold = |from: u32, to: u32| -> Vec<Wire> {
        let gateway = &gateway;
        let part = |rows: Vec<u32>| {
            move || {
                let sessions = rows.into_iter().map(|row| {
                    let (mut wire, _) = login(gateway);
                    query_held(&mut wire, &format!("DELETE FROM orders WHERE id = {row}"));
                    wire
                });
                sessions.collect::<Vec<_>>()
            }
        };
        std::thread::scope(|scope| {
            let parts: Vec<_> =
                (0..8).map(|n| scope.spawn(part((from..to).filter(|row| row % 8 == n).collect()))).collect();
            parts.into_iter().flat_map(|part| part.join().expect("they are held")).collect()
        })
    };
    // The first ones start what grows on demand.
    let first = hold(0, 20);
    let threads = || fs::read_dir(format!("/proc/{}/task", gateway.id())).expect("the gateway runs").count();
    let before = threads();
    let rest = hold(20, SESSIONS);
    let after = threads();
    assert!(after <= before + 8, "{before} threads, and {after} with {SESSIONS} held sessions");
    assert!(cpu_seconds(&gateway) < 0.5, "waiting takes the processor");
    let api = dave(&gateway);
    let token =
        api.post("/api/v1/tokens", &serde_json::json!({})).json_of(201)["token"].as_str().expect("a token").to_owned();
    let api = gateway.api().bearer(&token);
    for held in waiting(&gateway, SESSIONS as usize) {
        api.answer(&id(&held), true, "").json();
    }
    for mut wire in first.into_iter().chain(rest) {
        assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    }
    assert_eq!(orders(&database), 300 - SESSIONS + 1);
}

/// How much of a second the gateway computes within the next one.
fn cpu_seconds(gateway: &Gateway) -> f64 {
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", gateway.id())).expect("the gateway runs");
        let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').map(str::to_owned).collect();
        [11, 12].map(|at: usize| fields[at].parse::<f64>().expect("a number of ticks")).iter().sum::<f64>()
    };
    let per_second = Command::new("getconf").arg("CLK_TCK").output().expect("getconf is a program").stdout;
    let per_second: f64 = String::from_utf8_lossy(&per_second).trim().parse().expect("a number");
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    (ticks() - before) / per_second
}
