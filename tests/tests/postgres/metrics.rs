//! What an operator sees from outside: measurements that answer whether it is slow because of the gate,
//! by which policy and for whom, probes, and a page that explains all of it.

use std::{collections::BTreeSet, time::Duration};

use sluicegate_tests::{
    Api, Gateway, Postgres,
    builder::Builder,
    policies::guest,
    programs::{eventually, free_port},
    scrape::Scrape,
    wire::Wire,
};

use crate::{database, held};

const SOON: Duration = Duration::from_secs(20);

/// A gateway whose API admins and `dave` may scrape.
fn scraped(builder: Builder) -> Gateway {
    builder.admin().admin_lines("metrics = [\"user:dave\"]").start()
}

fn scrape(gateway: &Gateway) -> Scrape {
    Scrape::of(&gateway.socket().get("/metrics").ok_text())
}

#[test]
fn it_is_told_whether_the_gate_is_slow_by_which_policy_and_for_whom() {
    let database = database();
    let gateway = scraped(
        Gateway::before(&database)
            .policy("pii-mask", r#"columns = ["*.ssn"]"#)
            .policy("sql-guard", r#"deny = ["drop"]"#)
            .monitor("guest", "")
            .module("guest", guest("block")),
    );
    let before = scrape(&gateway);
    let alice = gateway.alice();
    alice.psql("SELECT ssn FROM customers; SELECT 1; SELECT pg_sleep(0.2);").ok();
    assert!(alice.psql("DROP TABLE orders").stderr.contains("sql-guard"));
    gateway.endpoint("admin").psql("SELECT 1/0");
    let orders = ("target", "orders");
    let mut after = scrape(&gateway);
    eventually("every session has ended", SOON, || {
        after = scrape(&gateway);
        after.sum("sluicegate_sessions_open", &[orders]) == 0.0
    });
    let grew = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    assert_eq!(grew("sluicegate_sessions_opened_total", &[orders, ("protocol", "postgres")]), 3.0);
    assert_eq!(grew("sluicegate_commands_total", &[orders, ("verdict", "allowed")]), 4.0);
    assert_eq!(grew("sluicegate_commands_total", &[orders, ("verdict", "blocked")]), 1.0);
    assert_eq!(grew("sluicegate_target_errors_total", &[orders]), 1.0);
    let count = |what: &str| {
        let counted = database.direct().psql(&format!("SELECT count({what}) FROM customers")).ok();
        counted.trim().parse::<f64>().unwrap()
    };
    let customers = count("*");
    // Where there is no value, none is masked.
    assert_eq!(grew("sluicegate_masked_values_total", &[orders]), count("ssn"));
    assert_eq!(grew("sluicegate_rows_total", &[orders]), customers + 2.0);
    assert!(grew("sluicegate_bytes_total", &[orders, ("direction", "to-client")]) > customers * 11.0);
    assert!(grew("sluicegate_bytes_total", &[orders, ("direction", "to-target")]) > 50.0);
    // Whose time it is: the sleep is the target's.
    assert_eq!(grew("sluicegate_gate_seconds_count", &[orders]), 4.0);
    let gate = grew("sluicegate_gate_seconds_sum", &[orders]);
    let upstream = grew("sluicegate_upstream_seconds_sum", &[orders]);
    assert!(gate > 0.0 && upstream > 0.2, "gate {gate}, target {upstream}");
    assert!(grew("sluicegate_gate_result_seconds_count", &[orders]) > 0.0);
    // Which policy, of which event.
    for (policy, event) in [("pii-mask", "result"), ("sql-guard", "command"), ("guest", "command")] {
        let labels = [orders, ("policy", policy), ("event", event)];
        assert!(grew("sluicegate_policy_call_seconds_count", &labels) > 0.0, "{policy} {event}");
        assert!(grew("sluicegate_policy_call_seconds_sum", &labels) > 0.0, "{policy} {event}");
        assert!(grew("sluicegate_policy_instances_started_total", &[orders, ("policy", policy)]) > 0.0);
    }
    assert_eq!(grew("sluicegate_policy_refusals_total", &[("policy", "sql-guard"), ("mode", "enforce")]), 1.0);
    assert_eq!(grew("sluicegate_policy_refusals_total", &[("policy", "guest"), ("mode", "monitor")]), 5.0);
    // And for whom.
    assert_eq!(grew("sluicegate_user_commands_total", &[orders, ("user", "alice")]), 3.0);
    assert_eq!(grew("sluicegate_user_commands_total", &[orders, ("user", "admin")]), 1.0);
    assert!(grew("sluicegate_user_upstream_seconds_total", &[("user", "alice")]) > 0.2);
    assert!(grew("sluicegate_user_gate_seconds_total", &[("user", "alice")]) > 0.0);
    // And of the gateway itself.
    assert!(after.sum("process_resident_memory_bytes", &[]) > 1e6 && after.sum("process_open_fds", &[]) > 5.0);
    // Three openings and closings, five commands and four ends of commands, once they are written.
    eventually("all entries are written", SOON, || {
        scrape(&gateway).sum("sluicegate_record_entries_total", &[])
            >= before.sum("sluicegate_record_entries_total", &[]) + 15.0
    });
    assert!(after.sum("sluicegate_record_queue_capacity_bytes", &[]) > 1e6);
    assert_eq!(after.sum("sluicegate_build_info", &[]), 1.0);
}

#[test]
fn the_time_of_a_prepared_statement_and_that_people_take_are_told_apart() {
    let database = database();
    let gateway = held::before(&database, held::DELETES).start();
    let psql = held::psql(&gateway, held::DELETE);
    let id = held::waiting_id(&gateway);
    let waiting = scrape(&gateway);
    assert_eq!(waiting.sum("sluicegate_holds_pending", &[]), 1.0);
    assert_eq!(waiting.sum("sluicegate_commands_total", &[("verdict", "held")]), 1.0);
    std::thread::sleep(Duration::from_millis(1200));
    let oldest = scrape(&gateway).sum("sluicegate_holds_oldest_seconds", &[]);
    assert!(oldest > 1.0, "{oldest}");
    held::approve(&gateway, &id);
    assert!(held::said(psql).stdout.contains("DELETE 1"));
    let after = scrape(&gateway);
    assert_eq!(after.sum("sluicegate_holds_pending", &[]), 0.0);
    assert_eq!(after.sum("sluicegate_holds_ended_total", &[("state", "approved")]), 1.0);
    let gate = after.sum("sluicegate_gate_seconds_sum", &[]);
    assert!(gate < 1.0, "the wait for people is no time of the gate's: {gate}");
}

#[test]
fn every_metric_is_explained_and_every_one_that_is_explained_is_there() {
    let database = database();
    let dead = free_port();
    let gateway = scraped(
        held::before(&database, held::DELETES)
            .policy("guest", "")
            .module("guest", guest("trap"))
            .target("away", &database)
            .address(&format!("127.0.0.1:{dead}")),
    );
    // One of each: a policy that fails until it is asked no more, a target that is not there, a stranger, a
    // client that breaks the protocol, a file that is no policy, and a result that is refused.
    for _ in 0..6 {
        assert!(gateway.alice().psql("SELECT 1").stderr.contains("42501"));
    }
    let mut away = gateway.alice();
    away.database = "away".to_owned();
    assert!(away.psql("SELECT 1").stderr.contains("cannot be reached"));
    let mut stranger = gateway.alice();
    stranger.password = "wrong".to_owned();
    assert!(!stranger.psql("SELECT 1").stderr.is_empty());
    let from = gateway.log().len();
    gateway.deploy("guest", b"this is no policy");
    gateway.wait_for_log(from, "ERROR");
    let broken = scrape(&gateway);
    assert_eq!(broken.sum("sluicegate_policy_rejections_total", &[("policy", "guest")]), 1.0);
    assert_eq!(broken.sum("sluicegate_policy_quarantines_total", &[("policy", "guest")]), 1.0);
    let failures = broken.sum("sluicegate_commands_total", &[("verdict", "policy-failure")]);
    assert_eq!(failures, 6.0);
    let dials = broken.sum("sluicegate_upstream_dial_failures_total", &[("target", "away"), ("kind", "connect")]);
    assert_eq!(dials, 1.0);
    assert_eq!(broken.sum("sluicegate_sessions_refused_total", &[("reason", "secret")]), 1.0);
    assert_eq!(broken.sum("sluicegate_connection_errors_total", &[("kind", "dial")]), 1.0);

    let from = gateway.log().len();
    gateway.deploy("guest", &guest("allow"));
    gateway.wait_for_log(from, "policies in force");
    let psql = held::psql(&gateway, held::DELETE);
    let id = held::waiting_id(&gateway);
    held::dave(&gateway).answer(&id, false, "no").json();
    assert!(held::said(psql).stderr.contains("denied approval"));
    let scraped = scrape(&gateway);
    assert_eq!(scraped.sum("sluicegate_commands_refused_later_total", &[("verdict", "unapproved")]), 1.0);
    assert_eq!(scraped.sum("sluicegate_policy_state", &[("policy", "guest"), ("state", "active")]), 1.0);

    let explained: BTreeSet<String> = explained().into_iter().collect();
    let there: BTreeSet<String> = scraped.families();
    assert_eq!(there.difference(&explained).collect::<Vec<_>>(), Vec::<&String>::new(), "not in OPERATIONS.md");
    assert_eq!(explained.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "not in /metrics");
}

/// The names in the tables of OPERATIONS.md, as the first cell of their rows.
fn explained() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/OPERATIONS.md");
    let page = std::fs::read_to_string(page).expect("the page for operators");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned));
    rows.filter(|name| name.starts_with("sluicegate_") || name.starts_with("process_")).collect()
}

#[test]
fn only_those_scrape_who_may_and_anybody_probes() {
    let mut gateway = scraped(Gateway::before(&database()));
    let api = gateway.api();
    assert!(!api.get("/metrics").problem(401).is_empty());
    assert!(api.basic("alice").get("/metrics").problem(403).contains("[admin] metrics"));
    for reader in ["admin", "dave"] {
        let answer = api.basic(reader).get("/metrics");
        assert_eq!(answer.status, 200, "{reader}");
        let kind = answer.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        assert!(answer.text().ends_with("# EOF\n"));
    }
    assert!(api.basic("dave").get("/api/v1/sessions").problem(403).contains("admins"), "a scraper reads nothing else");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(api.get(path).status, 200, "{path}");
        assert_eq!(gateway.socket().get(path).status, 200, "{path}");
        assert!(api.get(&format!("{path}?x=1")).problem(400).contains("parameters"));
        assert!(api.call("POST", path, &[], Default::default()).problem(405).contains("POST"));
    }
    let config = gateway.config().replace("metrics = [\"user:dave\"]", "metrics = []");
    let from = gateway.log().len();
    gateway.configure(config);
    gateway.wait_for_log(from, "configuration reloaded");
    api.basic("dave").get("/metrics").problem(403);
}

#[test]
fn while_it_stops_it_lives_and_is_not_ready() {
    let mut gateway = scraped(Gateway::before(&database()));
    let api: Api = gateway.api();
    // A transaction that is open keeps the gateway for its grace.
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN");
    let stopping = std::thread::spawn(move || gateway.stop(Duration::from_secs(30)));
    eventually("it says that it stops", SOON, || api.get("/readyz").status == 503);
    assert!(api.get("/readyz").problem(503).contains("it stops"));
    assert_eq!(api.get("/healthz").status, 200);
    drop(wire);
    assert!(stopping.join().unwrap());
}

#[test]
fn every_log_line_of_a_session_names_it() {
    let database = Postgres::shared().database();
    let gateway = Gateway::before(&database)
        .policy("guest", "")
        .module("guest", guest("trap"))
        .table("log", "format = \"json\"\nlevel = \"debug\"")
        .start();
    gateway.alice().psql("SELECT 1");
    gateway.wait_for_log(0, "session closed");
    let log = gateway.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let of = |message: &str| {
        let found = lines.iter().find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("no line says {message:?}:\n{log}"))
    };
    // JSON has a `target` of its own: the module that speaks.
    assert!(log.lines().all(|line| line.matches("\"target\":").count() == 1), "{log}");
    assert_eq!(of("session opened")["target_name"], "orders");
    let session = of("session opened")["session"].as_str().expect("an id").to_owned();
    for message in ["a policy failed", "command denied", "session closed"] {
        assert_eq!(of(message)["session"], *session, "{message}");
    }
    assert_eq!(of("ready")["session"], serde_json::Value::Null);
}

#[test]
fn nothing_is_logged_for_a_command_that_passes() {
    let gateway = Gateway::before(&database()).policy("sql-guard", r#"deny = ["drop"]"#).start();
    gateway.alice().psql("SELECT 1").ok();
    eventually("the session has closed", SOON, || gateway.log().contains("session closed"));
    let lines = |log: &str| log.lines().count();
    let before = lines(&gateway.log());
    let script: String = (0..50).map(|n| format!("SELECT {n};\n")).collect();
    gateway.alice().psql(&script).ok();
    eventually("that one too", SOON, || gateway.log().matches("session closed").count() == 2);
    assert_eq!(lines(&gateway.log()) - before, 2, "opened and closed: {}", gateway.log());
}
