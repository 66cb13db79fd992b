//! The target's password from a helper program.

use std::{fs, time::Duration};

use sluicegate_tests::{
    Endpoint, Gateway,
    builder::{Builder, write_file},
    postgres::{APP, APP_PASSWORD},
};

use crate::database;

/// All that a client is told where the gateway does not get its password, or the target does not take it.
const TOLD: &str = "the gateway could not log in to the target; its operator must look into it";

/// A gateway that logs in with what this script prints, as `bin/helper orders $HOME`.
fn with_helper(script: &str) -> Builder {
    let login = format!("username = \"{APP}\"\npassword = {{ exec = [\"helper\", \"orders\", \"$HOME\"] }}");
    Gateway::before(&database()).login(&login).file("helper", &helper(script))
}

/// Leaves a mark for each run, beside itself.
fn helper(script: &str) -> String {
    format!("#!/bin/sh\necho \"$1 $2\" >> \"$(dirname \"$0\")/runs\"\n{script}\n")
}

fn prints(password: &str, more: &str) -> String {
    format!("echo '{{\"secret\": \"{password}\"{more}}}'").replace("target's", "target'\\''s")
}

fn runs(gateway: &Gateway) -> Vec<String> {
    let runs = fs::read_to_string(gateway.folder().join("runs")).unwrap_or_default();
    runs.lines().map(str::to_owned).collect()
}

fn works(endpoint: &Endpoint) {
    assert_eq!(endpoint.psql("SELECT current_user").ok().trim(), APP);
}

#[test]
fn a_helper_s_password_logs_in_and_is_asked_for_by_each_connection() {
    let gateway = with_helper(&prints(APP_PASSWORD, "")).start();
    works(&gateway.alice());
    works(&gateway.alice());
    // No shell has read the arguments.
    assert_eq!(runs(&gateway), ["orders $HOME", "orders $HOME"]);
}

#[test]
fn what_holds_for_a_while_is_one_run_for_all_who_come_at_once() {
    let script = format!("sleep 1\n{}", prints(APP_PASSWORD, ", \"expires_at\": \"2999-01-31T08:00:00Z\""));
    let gateway = with_helper(&script).start();
    let clients: Vec<_> = (0..8).map(|_| gateway.alice().psql_start("SELECT current_user")).collect();
    for client in clients {
        assert_eq!(client.finish(Duration::from_secs(60)).ok().trim(), APP);
    }
    assert_eq!(runs(&gateway).len(), 1);
}

#[test]
fn a_password_that_was_changed_before_its_time_is_asked_for_anew() {
    let holds = ", \"expires_at\": \"2999-01-31T08:00:00Z\"";
    let gateway = with_helper(&prints("the one before", holds)).start();
    assert!(gateway.alice().psql("SELECT 1").failed().contains(TOLD));
    write_file(&gateway.folder().join("helper"), &helper(&prints(APP_PASSWORD, holds)));
    works(&gateway.alice());
    works(&gateway.alice());
    assert_eq!(runs(&gateway).len(), 2);
}

#[test]
fn a_helper_that_fails_or_hangs_is_a_login_that_fails_and_nothing_it_said_is_told() {
    let gateway = with_helper("echo hunter2; echo hunter3 >&2; exit 3").start();
    let told = gateway.alice().psql("SELECT 1").failed();
    assert!(told.contains(TOLD) && !told.contains("hunter"), "{told}");
    gateway.wait_for_log(0, "exit status: 3");
    // What it started hangs, too.
    let mark = gateway.folder().join("mark");
    write_file(
        &gateway.folder().join("helper"),
        &helper(&format!("(sleep 14; touch {}) & echo hunter4; wait", mark.display())),
    );
    let began = std::time::Instant::now();
    let told = gateway.alice().psql("SELECT 1").failed();
    assert!(told.contains(TOLD) && !told.contains("hunter"), "{told}");
    assert!((9..14).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    gateway.wait_for_log(0, "it did not end within 10 seconds, and was killed");
    for printed in ["echo hunter5", "yes hunter6", "echo '{\"secret\": [\"hunter7\"]}'"] {
        write_file(&gateway.folder().join("helper"), &helper(printed));
        assert!(gateway.alice().psql("SELECT 1").failed().contains(TOLD), "{printed}");
    }
    assert!(!gateway.log().contains("hunter"), "{}", gateway.log());
    write_file(&gateway.folder().join("helper"), &helper(&prints(APP_PASSWORD, "")));
    works(&gateway.alice());
    std::thread::sleep(Duration::from_secs(5).saturating_sub(began.elapsed().saturating_sub(Duration::from_secs(10))));
    assert!(!mark.exists(), "what a helper started goes on after it was killed");
}

#[test]
fn a_check_finds_a_helper_that_cannot_be_run() {
    let gateway = with_helper(&prints(APP_PASSWORD, "")).start();
    gateway.sluicegate(&["check"]).ok();
    let helper = gateway.folder().join("helper");
    fs::remove_file(&helper).unwrap();
    let said = gateway.sluicegate(&["check"]).failed();
    assert!(said.contains("gave no secret: it cannot be run") && !said.contains("$HOME"), "{said}");
    fs::write(&helper, "no program").unwrap();
    assert!(gateway.sluicegate(&["check"]).failed().contains("it is not executable"));
    assert!(runs(&gateway).is_empty(), "a check runs nothing");
}
