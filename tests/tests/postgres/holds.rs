//! Commands that wait for people, as clients live through it: real psql, tokio-postgres, and messages in
//! every order.

use std::time::{Duration, Instant};

use sluicegate_tests::{
    client::{soon, sqlstate},
    programs::eventually,
    wire::{Wire, bind, code, describe, errors_of, execute, parse, rows_of, sync, tags_of, zero_ended},
};

use crate::{
    database,
    held::{
        DELETE, DELETES, SOON, approval, approve, before, dave, ended, holding, holding_with, login, notice_id, orders,
        psql, query_held, said, story, waiting, waiting_id,
    },
};

#[test]
fn a_delete_in_psql_waits_until_somebody_else_approves_and_runs_once() {
    let (database, gateway) = holding();
    let mut alice =
        psql(&gateway, &format!("SELECT 'before';\n{DELETE} RETURNING 'deleted ' || id;\nSELECT 'after';\n"));
    let id = waiting_id(&gateway);
    let held = approval(&gateway, &id);
    assert_eq!(held["requester"], "alice");
    assert_eq!(held["text"], format!("{DELETE} RETURNING 'deleted ' || id;"));
    assert_eq!((held["in_transaction"].as_bool(), held["target"].as_str()), (Some(false), Some("orders")));
    std::thread::sleep(Duration::from_millis(300));
    assert!(alice.is_running() && alice.output().trim() == "before" && orders(&database) == 30);
    approve(&gateway, &id);
    let run = said(alice);
    assert_eq!(run.stdout.lines().collect::<Vec<_>>(), ["before", "deleted 7", "DELETE 1", "after"]);
    for part in ["NOTICE", &id, "group:dba", "sluicegate approvals approve", "Ctrl-C"] {
        assert!(run.stderr.contains(part), "the notice lacks {part:?}: {}", run.stderr);
    }
    assert_eq!(orders(&database), 29);
    assert_eq!(approval(&gateway, &id)["state"], "approved");
    assert_eq!(
        story(&gateway, 1),
        [
            "opened",
            "command 1",
            "run 1",
            "command 2",
            "held 2",
            "dave approves 2",
            "approved 2",
            "run 2",
            "command 3",
            "run 3",
            "closed"
        ]
    );
}

#[test]
fn a_denied_command_does_not_run_and_the_session_lives_on() {
    let (database, gateway) = holding();
    let alice = psql(&gateway, &format!("{DELETE};\nSELECT 'alive';\n"));
    let id = waiting_id(&gateway);
    dave(&gateway).answer(&id, false, "not on a Friday").json();
    let run = said(alice);
    assert_eq!(run.stdout.trim(), "alive");
    assert!(run.stderr.contains("42501") && run.stderr.contains("not on a Friday"), "{}", run.stderr);
    assert!(run.stderr.contains("dave"), "{}", run.stderr);
    assert_eq!(orders(&database), 30);
    let story = story(&gateway, 1);
    assert_eq!(story[1..5], ["command 1", "held 1", "dave denies 1", "denied 1"], "{story:?}");
    assert_eq!(story[5], "not run 1");
}

#[test]
fn nobody_answering_in_time_is_a_no() {
    let database = database();
    let gateway = before(&database, DELETES).table("approvals", "expires = \"2s\"").start();
    let run = said(psql(&gateway, &format!("{DELETE};\nSELECT 'alive';\n")));
    assert_eq!((run.stdout.trim(), orders(&database)), ("alive", 30));
    assert!(run.stderr.contains("42501") && run.stderr.contains("in time"), "{}", run.stderr);
    assert_eq!(story(&gateway, 1)[1..5], ["command 1", "held 1", "expired 1", "not run 1"]);
}

#[test]
fn ctrl_c_in_psql_ends_the_wait() {
    let (database, gateway) = holding();
    let alice = psql(&gateway, &format!("{DELETE};\nSELECT 'alive';\n"));
    let id = waiting_id(&gateway);
    alice.signal("INT");
    ended(&gateway, &id, "abandoned");
    let run = said(alice);
    assert!(run.stderr.contains("57014: canceling statement due to user request"), "{}", run.stderr);
    // psql gives up a script that is interrupted.
    assert_eq!(orders(&database), 30);
    dave(&gateway).answer(&id, true, "too late").problem(409);
    assert_eq!(story(&gateway, 1)[1..5], ["command 1", "held 1", "abandoned 1", "not run 1"]);
}

#[test]
fn a_cancel_request_ends_the_wait_and_nothing_else() {
    let (database, gateway) = holding();
    let (mut wire, key) = login(&gateway);
    let cancel = |key: &[u8]| {
        let mut other = Wire::connect(gateway.port());
        other.send_packet(&[&code::CANCEL.to_be_bytes()[..], key].concat());
        assert!(other.is_closed_by_server());
    };
    let id = query_held(&mut wire, DELETE);
    let mut wrong = key.clone();
    *wrong.last_mut().unwrap() ^= 1;
    cancel(&wrong);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(approval(&gateway, &id)["state"], "pending", "a key that is not the session's cancels nothing");
    cancel(&key);
    assert_eq!(errors_of(&wire.read_until("Z")), ["57014"]);
    ended(&gateway, &id, "abandoned");
    assert_eq!(rows_of(&wire.query("SELECT count(*) FROM orders")), [[Some("30".to_owned())]]);
    // The next one waits for itself.
    let id = query_held(&mut wire, DELETE);
    approve(&gateway, &id);
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    assert_eq!(orders(&database), 29);
    // What the server runs is cancelled at the server, also after a hold.
    wire.send('Q', &zero_ended("SELECT pg_sleep(60)"));
    std::thread::sleep(Duration::from_millis(500));
    cancel(&key);
    assert_eq!(errors_of(&wire.read_until("Z")), ["57014"]);
}

#[test]
fn the_clients_own_statement_timeout_ends_the_wait() {
    let (database, gateway) = holding();
    let mut by_options = gateway.alice().command("psql");
    by_options.args(["-X", "-A", "-t", "-v", "VERBOSITY=verbose"]).env("PGOPTIONS", "-c statement_timeout=1500");
    let by_options = sluicegate_tests::programs::Running::start(by_options, &format!("{DELETE};\nSELECT 'alive';\n"));
    let by_set = psql(&gateway, &format!("SET statement_timeout = '1500ms';\n{DELETE};\nSELECT 'alive';\n"));
    let local = psql(
        &gateway,
        &format!("BEGIN;\nSET LOCAL statement_timeout = '1500ms';\n{DELETE};\nROLLBACK;\nSELECT 'alive';\n"),
    );
    let never = psql(&gateway, &format!("SET statement_timeout = 0;\n{DELETE};\n"));
    let started = Instant::now();
    waiting(&gateway, 4);
    for alice in [by_options, by_set, local] {
        let run = said(alice);
        assert!(run.stderr.contains("57014: canceling statement due to statement timeout"), "{}", run.stderr);
        assert!(run.stdout.contains("alive"), "{}", run.stdout);
    }
    assert!(started.elapsed() > Duration::from_millis(500));
    let id = waiting_id(&gateway);
    assert_eq!(orders(&database), 30);
    approve(&gateway, &id);
    assert_eq!(said(never).stdout.lines().last(), Some("DELETE 1"));
}

#[test]
fn who_disconnects_has_deleted_nothing() {
    let (database, gateway) = holding();
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let id = waiting_id(&gateway);
    alice.signal("KILL");
    drop(alice);
    let end = ended(&gateway, &id, "abandoned");
    assert!(!end["ended"].as_str().unwrap().is_empty(), "{end}");
    dave(&gateway).answer(&id, true, "").problem(409);
    assert_eq!(orders(&database), 30);
    assert_eq!(story(&gateway, 1), ["opened", "command 1", "held 1", "abandoned 1", "not run 1", "closed"]);
    eventually("the target's connection is closed", SOON, || database.connections() == 0);
}

#[test]
fn in_a_transaction_the_locks_are_held_and_the_client_is_told() {
    let (database, gateway) = holding();
    let script = format!("BEGIN;\nUPDATE orders SET total = 1 WHERE id = 3;\n{DELETE};\nCOMMIT;\n");
    let alice = psql(&gateway, &script);
    let id = waiting_id(&gateway);
    assert_eq!(approval(&gateway, &id)["in_transaction"], true);
    let other = database.direct().psql("SELECT 1 FROM orders WHERE id = 3 FOR UPDATE NOWAIT").failed();
    assert!(other.contains("55P03"), "{other}");
    approve(&gateway, &id);
    let run = said(alice);
    assert!(run.stderr.contains("locks"), "{}", run.stderr);
    assert_eq!(run.stdout.lines().collect::<Vec<_>>(), ["BEGIN", "UPDATE 1", "DELETE 1", "COMMIT"]);
    assert_eq!(orders(&database), 29);

    // A denial is the statement's failure, and so the transaction's.
    let alice = psql(&gateway, &script.replace("= 7", "= 8"));
    let id = waiting_id(&gateway);
    dave(&gateway).answer(&id, false, "no").json();
    let run = said(alice);
    assert_eq!(run.stdout.lines().collect::<Vec<_>>(), ["BEGIN", "UPDATE 1", "ROLLBACK"]);
    assert_eq!(orders(&database), 29);
}

#[test]
fn a_target_can_refuse_to_hold_what_stands_in_a_transaction() {
    let database = database();
    let gateway = before(&database, DELETES).target_lines("hold_in_transaction = \"deny\"").start();
    let run = said(psql(&gateway, &format!("BEGIN;\n{DELETE};\nROLLBACK;\nSELECT 'alive';\n")));
    assert!(run.stderr.contains("42501") && run.stderr.contains("transaction"), "{}", run.stderr);
    assert_eq!(run.stdout.lines().collect::<Vec<_>>(), ["BEGIN", "ROLLBACK", "alive"]);
    assert!(gateway.socket().pending().is_empty());
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    approve(&gateway, &waiting_id(&gateway));
    assert_eq!(said(alice).stdout.trim(), "DELETE 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_waits_each_time_and_shows_its_parameters() {
    let (database, gateway) = holding();
    let mut session = gateway.alice().connect().await;
    let statement =
        soon(session.client.prepare("DELETE FROM orders WHERE id = $1")).await.expect("it is only prepared");
    for (row, approved) in [(7, true), (8, false), (9, true)] {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&row];
        let deleting = session.client.execute(&statement, &parameters);
        let answering = async {
            let notice = loop {
                match soon(session.messages.recv()).await.expect("the connection lives") {
                    tokio_postgres::AsyncMessage::Notice(notice) if notice.message().contains("waiting") => {
                        break notice;
                    }
                    _ => continue,
                }
            };
            assert!(notice.message().contains("group:dba"), "{notice}");
            tokio::task::block_in_place(|| {
                let held = waiting(&gateway, 1).remove(0);
                assert_eq!((&held["values"][0], &held["verb"]), (&row.to_string().into(), &"execute".into()), "{held}");
                dave(&gateway).answer(&crate::held::id(&held), approved, "looked at").json();
            });
        };
        let (deleted, ()) = soon(async { tokio::join!(deleting, answering) }).await;
        match deleted {
            Ok(count) => assert!(approved && count == 1),
            Err(error) => assert!(!approved && sqlstate(&error) == "42501", "{error:?}"),
        }
    }
    assert_eq!(orders(&database), 28);
}

#[test]
fn mid_pipeline_what_came_before_is_answered_and_what_comes_after_waits() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let run = |sql: &str| [parse("", sql), bind("", "", &[], false), describe('P', ""), execute("", 0)].concat();
    let count = "SELECT count(*)::text FROM orders";
    wire.send_bytes(&[run(count), run(DELETE), run(count), sync(), run("SELECT 'next'"), sync()].concat());
    let before = wire.read_until("N");
    assert_eq!(rows_of(&before), [[Some("30".to_owned())]], "{}", tags_of(&before));
    approve(&gateway, &notice_id(&before));
    let after = wire.read_until("Z");
    assert_eq!(rows_of(&after), [[Some("29".to_owned())]]);
    assert_eq!(tags_of(&[before, after].concat()).replace('N', ""), "12TDC12nC12TDCZ");
    assert_eq!(rows_of(&wire.read_until("Z")), [[Some("next".to_owned())]]);

    // A denial skips to Sync and undoes the batch, as the server's own errors do.
    let insert = "INSERT INTO orders (customer_id, total) VALUES (1, 1)";
    wire.send_bytes(
        &[run(insert), run("DELETE FROM orders WHERE id = 8"), run(insert), sync(), run(count), sync()].concat(),
    );
    let before = wire.read_until("N");
    dave(&gateway).answer(&notice_id(&before), false, "no").json();
    let rest = wire.read_until("Z");
    assert_eq!(errors_of(&rest), ["42501"]);
    assert_eq!(rows_of(&wire.read_until("Z")), [[Some("29".to_owned())]]);

    // Ended by a cancel request in the same way, and the connection goes on.
    assert_eq!(orders(&database), 29);
    assert_eq!(tags_of(&wire.query("SELECT 1")), "TDCZ");
}

#[test]
fn a_text_of_several_statements_is_held_whole_and_runs_once() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let text = format!("INSERT INTO orders (customer_id, total) VALUES (1, 1); {DELETE}; SELECT 'done'");
    let id = query_held(&mut wire, &text);
    assert_eq!(orders(&database), 30);
    assert_eq!(approval(&gateway, &id)["text"], text.as_str());
    approve(&gateway, &id);
    assert_eq!(tags_of(&wire.read_until("Z")), "NCCTDCZ");
    assert_eq!(orders(&database), 30);
    // Denied, none of it runs.
    let id = query_held(&mut wire, &text.replace("= 7", "= 8"));
    dave(&gateway).answer(&id, false, "no").json();
    assert_eq!(errors_of(&wire.read_until("Z")), ["42501"]);
    assert_eq!(orders(&database), 30);
}

#[test]
fn what_is_sent_during_a_hold_comes_after_it() {
    let (_database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let id = query_held(&mut wire, DELETE);
    for sql in ["SELECT 'first'", "SELECT 'second'"] {
        wire.send('Q', &zero_ended(sql));
    }
    std::thread::sleep(Duration::from_millis(300));
    approve(&gateway, &id);
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    assert_eq!(rows_of(&wire.read_until("Z")), [[Some("first".to_owned())]]);
    assert_eq!(rows_of(&wire.read_until("Z")), [[Some("second".to_owned())]]);
}

#[test]
fn approvals_in_all_and_of_one_identity_are_bounded() {
    let database = database();
    let limits = "max_pending = 3\nmax_pending_per_identity = 2";
    let gateway = before(&database, DELETES).table("approvals", limits).start();
    let delete = |user: &str, row: u32| {
        crate::held::psql_as(&gateway, user, &format!("DELETE FROM orders WHERE id = {row};\nSELECT 'alive';\n"))
    };
    let held = [delete("alice", 1), delete("alice", 2)];
    waiting(&gateway, 2);
    let run = said(delete("alice", 3));
    assert!(run.stderr.contains("42501") && run.stderr.contains('2') && run.stdout.contains("alive"), "{}", run.stderr);
    let third = delete("admin", 4);
    waiting(&gateway, 3);
    let run = said(delete("ci-migrate", 5));
    assert!(run.stderr.contains("42501") && run.stderr.contains('3') && run.stdout.contains("alive"), "{}", run.stderr);
    for approval in waiting(&gateway, 3) {
        approve(&gateway, &crate::held::id(&approval));
    }
    for psql in held.into_iter().chain([third]) {
        assert!(said(psql).stdout.contains("DELETE 1"));
    }
    // There is room again.
    let next = delete("alice", 6);
    approve(&gateway, &waiting_id(&gateway));
    assert!(said(next).stdout.contains("DELETE 1"));
    assert_eq!(orders(&database), 26);
}

#[test]
fn a_remembered_approval_covers_the_same_command_and_no_other() {
    let (database, gateway) = holding_with(&format!("{DELETES}, remember = \"10m\""));
    let (mut wire, _) = login(&gateway);
    let run = |row: &str| {
        [parse("", "DELETE FROM orders WHERE id = $1"), bind("", "", &[row], false), execute("", 0), sync()].concat()
    };
    wire.send_bytes(&run("7"));
    approve(&gateway, &notice_id(&wire.read_until("N")));
    assert_eq!(tags_of(&wire.read_until("Z")), "N2CZ");
    for _ in 0..20 {
        wire.send_bytes(&run("7"));
        assert_eq!(tags_of(&wire.read_until("Z")), "12CZ", "a loop asks once");
    }
    // In another session of the same person too.
    let (mut another, _) = login(&gateway);
    another.send_bytes(&run("7"));
    assert_eq!(tags_of(&another.read_until("Z")), "12CZ");
    let asks_again = |wire: &mut Wire, message: &[u8], what: &str| {
        wire.send_bytes(message);
        let messages = wire.read_until("NZ");
        assert!(messages.last().unwrap().tag == 'N', "{what} does not ask again: {}", tags_of(&messages));
        dave(&gateway).answer(&notice_id(&messages), false, "no").json();
        assert_eq!(errors_of(&wire.read_until("Z")), ["42501"]);
    };
    asks_again(&mut wire, &run("8"), "another parameter");
    let (mut admin, _) = crate::held::login_as(&gateway, "admin");
    asks_again(&mut admin, &run("7"), "another person");
    wire.query("SET search_path = hr, public");
    asks_again(&mut wire, &run("7"), "another search_path");
    wire.query("RESET search_path");
    wire.query("SET DateStyle = 'German'");
    wire.query("RESET DateStyle");
    wire.send_bytes(&run("7"));
    assert_eq!(tags_of(&wire.read_until("Z")).replace('S', ""), "12CZ");
    assert_eq!(orders(&database), 29);
}
