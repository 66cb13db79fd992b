//! Ways around a hold: deletions in disguise, statements that are prepared while nobody looks, and clients
//! that flood the gateway while their command waits.

use std::{fs, io::Write, net::TcpStream, time::Duration};

use sluicegate_tests::{
    Database, Gateway,
    programs::eventually,
    wire::{Wire, bind, errors_of, execute, message, parse, rows_of, sync, tags_of, zero_ended},
};

use crate::held::{DELETE, SOON, approve, dave, ended, holding, login, notice_id, orders, query_held, waiting};

/// Sends a command that must be held, and has it denied.
fn held_and_denied(gateway: &Gateway, wire: &mut Wire, bytes: &[u8], what: &str) {
    wire.send_bytes(bytes);
    let messages = wire.read_until("NZ");
    assert!(messages.last().is_some_and(|m| m.tag == 'N'), "{what} is not held: {} {messages:?}", tags_of(&messages));
    dave(gateway).answer(&notice_id(&messages), false, "no").json();
    let rest = wire.read_until("Z");
    assert_eq!(errors_of(&rest), ["42501"], "{what}");
}

fn query(sql: &str) -> Vec<u8> {
    message('Q', &zero_ended(sql))
}

#[test]
fn a_deletion_in_disguise_is_held_too() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let disguises = [
        "/* SELECT */ DELETE FROM orders WHERE id = 7",
        "SELECT 1; DELETE FROM orders WHERE id = 7",
        "WITH gone AS (DELETE FROM orders WHERE id = 7 RETURNING id) SELECT * FROM gone",
        "WITH gone AS (DELETE FROM orders WHERE id = 7 RETURNING id) INSERT INTO everything (id) SELECT id FROM gone",
        "EXPLAIN ANALYZE DELETE FROM orders WHERE id = 7",
        "EXPLAIN (ANALYZE, COSTS OFF) DELETE FROM orders WHERE id = 7",
        "COPY (DELETE FROM orders WHERE id = 7 RETURNING id) TO STDOUT",
        "CREATE TABLE kept AS WITH gone AS (DELETE FROM orders WHERE id = 7 RETURNING id) SELECT * FROM gone",
        "PREPARE gone AS DELETE FROM orders WHERE id = 7",
        "CREATE RULE gone AS ON INSERT TO customers DO ALSO DELETE FROM orders WHERE id = 7",
        "MERGE INTO orders o USING (SELECT 7 AS id) s ON o.id = s.id WHEN MATCHED THEN DELETE",
        "dElEtE\nfrom\torders where id = 7",
        "DELETE FROM ONLY public.orders o USING customers c WHERE o.id = 7",
    ];
    let mut through = Vec::new();
    for sql in disguises {
        wire.send_bytes(&query(sql));
        let messages = wire.read_until("NZ");
        match messages.last() {
            Some(last) if last.tag == 'N' => {
                dave(&gateway).answer(&notice_id(&messages), false, "no").json();
                assert_eq!(errors_of(&wire.read_until("Z")), ["42501"], "{sql}");
            }
            // What cannot be analysed is refused at once.
            _ if errors_of(&messages) == ["42501"] => {}
            _ => through.push((sql, tags_of(&messages))),
        }
    }
    assert!(through.is_empty(), "these are neither held nor refused: {through:#?}");
    assert_eq!(orders(&database), 30);
}

/// What was approved to be prepared is not approved to run, with any parameters, as often as one likes.
#[test]
fn a_statement_prepared_in_sql_is_held_when_it_runs() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let id = query_held(&mut wire, "PREPARE gone (integer) AS DELETE FROM orders WHERE id = $1");
    approve(&gateway, &id);
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    for row in [7, 8] {
        held_and_denied(&gateway, &mut wire, &query(&format!("EXECUTE gone({row})")), "EXECUTE");
        let explained = format!("EXPLAIN ANALYZE EXECUTE gone({row})");
        held_and_denied(&gateway, &mut wire, &query(&explained), "EXPLAIN ANALYZE EXECUTE");
    }
    assert_eq!(orders(&database), 30);
}

/// One approval is one run, however often the portal is executed.
#[test]
fn an_approved_portal_runs_once() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    wire.send_bytes(
        &[
            query("BEGIN"),
            parse("s", "DELETE FROM orders WHERE id = $1 RETURNING id"),
            bind("p", "s", &["7"], false),
            execute("p", 0),
            execute("p", 0),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(tags_of(&wire.read_until("Z")), "CZ");
    let id = notice_id(&wire.read_until("N"));
    waiting(&gateway, 1);
    approve(&gateway, &id);
    let answer = wire.read_until("Z");
    assert_eq!(rows_of(&answer), [[Some("7".to_owned())]], "{}", tags_of(&answer));
    wire.query("ROLLBACK");
    // The same prepared statement asks again, also with the same parameter.
    let again = [bind("", "s", &["7"], false), execute("", 0), sync()].concat();
    held_and_denied(&gateway, &mut wire, &again, "a second run");
    assert_eq!(orders(&database), 30);
}

/// The statement that waits keeps its name: what is sent meanwhile cannot put another one in its place.
#[test]
fn what_is_sent_meanwhile_changes_nothing_about_what_waits() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    wire.send_bytes(&[parse("s", DELETE), sync()].concat());
    assert_eq!(tags_of(&wire.read_until("Z")), "1Z");
    wire.send_bytes(&[bind("", "s", &[], false), execute("", 0), sync()].concat());
    let id = notice_id(&wire.read_until("N"));
    wire.send_bytes(&[sluicegate_tests::wire::close('S', "s"), parse("s", "DELETE FROM orders"), sync()].concat());
    wire.send_bytes(&query("SET search_path = hr"));
    std::thread::sleep(Duration::from_millis(300));
    approve(&gateway, &id);
    assert_eq!(tags_of(&wire.read_until("Z")), "N2CZ");
    assert_eq!(orders(&database), 29);
}

/// A client that sends on and on while its command waits could go away unnoticed: its command ends, and
/// what it sent fills its own socket, not the gateway.
#[test]
fn a_client_that_floods_while_it_waits_gives_up_its_command() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let id = query_held(&mut wire, DELETE);
    let before = gateway.peak_memory();
    let chunk = query(&format!("SELECT '{}'", "x".repeat(1 << 20)));
    wire.stream().set_write_timeout(Some(Duration::from_secs(2))).expect("a socket takes a timeout");
    let sent = (0..100).take_while(|_| flood(wire.stream(), &chunk)).count();
    assert!(sent > 0);
    ended(&gateway, &id, "abandoned");
    let grown = gateway.peak_memory() - before;
    assert!(grown < 32 << 20, "it grew by {} MiB", grown >> 20);
    assert_eq!(errors_of(&wire.read_until("Z")), ["42501"]);
    assert_eq!(orders(&database), 30);
}

fn flood(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Many holds that come and go leave nothing behind.
#[test]
fn holds_that_are_given_up_leave_nothing_behind() {
    let (database, gateway): (Database, Gateway) = holding();
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", gateway.id())).expect("the gateway runs").count();
    let round = || {
        let mut sessions: Vec<_> = (0..8).map(|_| login(&gateway).0).collect();
        for wire in &mut sessions {
            query_held(wire, DELETE);
        }
        drop(sessions);
        waiting(&gateway, 0);
    };
    round();
    eventually("the first round is over", SOON, || database.connections() == 0);
    let before = descriptors();
    (0..5).for_each(|_| round());
    eventually("every connection is closed", SOON, || database.connections() == 0 && descriptors() <= before + 4);
    assert_eq!(orders(&database), 30);
}
