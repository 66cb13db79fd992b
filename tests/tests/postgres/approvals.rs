//! Who may answer what waits, and by which door: the API, tokens, the command line, the owner's socket;
//! everything that the requester could try; approvers at the same moment; and webhooks.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_tests::{
    Api, Gateway,
    builder::HOOK_SECRET,
    programs::{eventually, run},
    users,
    webhook::Webhook,
    wire::{Wire, errors_of, tags_of},
};

use crate::{
    database,
    held::{
        DELETE, DELETES, SOON, approval, before, dave, ended, holding, holding_with, login, login_as, orders, psql,
        query_held, said, waiting, waiting_id,
    },
};

/// A token of one of the users.
fn token(gateway: &Gateway, user: &str) -> String {
    let token = gateway.api().basic(user).post("/api/v1/tokens", &Value::Null).json_of(201);
    token["token"].as_str().expect("a token").to_owned()
}

fn answers(gateway: &Gateway, id: &str) -> usize {
    approval(gateway, id)["answers"].as_array().expect("answers").len()
}

#[test]
fn a_delete_typed_in_psql_is_approved_from_another_terminal() {
    let (database, gateway) = holding();
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let id = waiting_id(&gateway);
    let listed = gateway.sluicegate(&["approvals", "list"]).ok();
    assert!(listed.contains(&id) && listed.contains("alice") && listed.contains(DELETE), "{listed}");
    let shown = gateway.sluicegate(&["approvals", "show", &id]).ok();
    assert!(shown.contains("group:dba") && shown.contains(DELETE), "{shown}");
    let said_to_dave = gateway.sluicegate_as("dave", &["approvals", "approve", &id, "--note", "row 7 is a test order"]);
    assert!(said_to_dave.ok().contains("approved"));
    assert_eq!(said(alice).stdout.trim(), "DELETE 1");
    assert_eq!(orders(&database), 29);
    let end = approval(&gateway, &id);
    assert_eq!(
        (&end["state"], &end["answers"][0]["approver"], &end["answers"][0]["note"]),
        (&json!("approved"), &json!("dave"), &json!("row 7 is a test order"))
    );
    // The end of an id is enough where it is typed by hand, and a denial is a denial.
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let second = waiting_id(&gateway);
    gateway.sluicegate_as("erin", &["approvals", "deny", &second[28..], "--note", "it is gone already"]).ok();
    assert!(said(alice).stderr.contains("it is gone already"));
    let all = gateway.json(&["approvals", "list", "--state", "all"]);
    let states: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| item["state"].clone()).collect();
    assert_eq!(states, ["denied", "approved"]);
    let refused = gateway.sluicegate_as("dave", &["approvals", "approve", &second]).failed();
    assert!(refused.contains("denied"), "{refused}");
}

#[test]
fn watching_shows_what_comes_and_goes() {
    let (_database, gateway) = holding();
    let mut command = gateway.command(&["approvals", "watch", "--as", "dave"]);
    command.env("SLUICEGATE_SECRET", users::secret("dave"));
    let mut watch = sluicegate_tests::programs::Running::start(command, "");
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let id = waiting_id(&gateway);
    eventually("it is shown", SOON, || watch.output().contains(&id) && watch.output().contains(DELETE));
    dave(&gateway).answer(&id, true, "").json();
    said(alice);
    eventually("its end is shown", SOON, || watch.output().contains("approved"));
    watch.signal("INT");
    watch.finish(SOON).ok();
}

#[test]
fn the_requester_finds_no_door() {
    let (database, gateway) = holding();
    let (mut wire, _) = login_as(&gateway, "dora");
    let id = query_held(&mut wire, DELETE);
    // Dora belongs to the approvers, and still may not answer for herself.
    let (api, socket) = (gateway.api(), gateway.socket());
    let by_token = token(&gateway, "dora");
    let doors: [(&str, Api); 4] = [
        ("Basic", api.basic("dora")),
        ("a token", api.bearer(&by_token)),
        ("Basic on the socket", socket.basic("dora")),
        ("a token on the socket", socket.bearer(&by_token)),
    ];
    for (door, api) in &doors {
        for approve in [true, false] {
            let refused = api.answer(&id, approve, "it is fine, really").problem(403);
            assert!(refused.contains("for themselves"), "{door}: {refused}");
        }
    }
    for (what, api, status) in [
        ("without credentials", api.clone(), 401),
        ("without credentials on the socket", socket.clone(), 401),
        ("a wrong secret", api.basic_with("dave", "dave looks at it once"), 401),
        ("a wrong secret on the socket", socket.basic_with("dave", ""), 401),
        ("nobody's token", api.bearer("sgt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 401),
        ("another spelling of her name", api.basic_with("Dora", users::secret("dora")), 401),
        ("a name with a space", api.basic_with("dora ", users::secret("dora")), 401),
        ("an approver's name with her secret", api.basic_with("dave", users::secret("dora")), 401),
    ] {
        let answer = api.answer(&id, true, "");
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!(answer.headers.contains_key("www-authenticate"), "{what}: {:?}", answer.headers);
    }
    // Others who are not asked do not even learn of it.
    for user in ["bob", "alice", "ci-migrate"] {
        api.basic(user).get(&format!("/api/v1/approvals/{id}")).problem(404);
        api.basic(user).answer(&id, true, "").problem(404);
        assert_eq!(api.basic(user).pending(), [Value::Null; 0], "{user}");
    }
    // An admin sees everything, and approves only what admins are asked for.
    api.basic("admin").get(&format!("/api/v1/approvals/{id}")).json();
    api.basic("admin").answer(&id, true, "").problem(403);
    for args in [["approvals", "approve", &id], ["approvals", "deny", &id]] {
        let refused = gateway.sluicegate_as("dora", &args).failed();
        assert!(refused.contains("for themselves"), "{refused}");
        assert!(!gateway.sluicegate(&args).failed().is_empty(), "without a name there is no answer");
    }
    assert_eq!((answers(&gateway, &id), &approval(&gateway, &id)["state"]), (0, &json!("pending")));

    // She may approve what somebody else asked for; that opens nothing for herself.
    let (mut alice, _) = login(&gateway);
    let of_alice = query_held(&mut alice, "DELETE FROM orders WHERE id = 8");
    api.basic("dora").answer(&of_alice, true, "").json();
    assert_eq!(tags_of(&alice.read_until("Z")), "NCZ");
    assert_eq!((answers(&gateway, &id), orders(&database)), (0, 29));

    // What was approved is used up: neither the answer nor the approval can be had again.
    dave(&gateway).answer(&id, true, "").json();
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    for user in ["dave", "erin", "dora"] {
        api.basic(user).answer(&id, true, "").problem(409);
    }
    let again = query_held(&mut wire, DELETE);
    assert_ne!(again, id);
    assert_eq!(answers(&gateway, &again), 0);
}

#[test]
fn an_admin_who_asks_is_a_requester_like_others() {
    let (_database, gateway) =
        holding_with(r#"when = { kinds = ["delete"] }, approvers = ["group:admin", "user:admin", "user:alice"]"#);
    let (mut wire, _) = login_as(&gateway, "admin");
    let held = query_held(&mut wire, DELETE);
    let api = gateway.api();
    assert!(api.basic("admin").answer(&held, true, "").problem(403).contains("for themselves"));
    gateway.sluicegate_as("admin", &["approvals", "approve", &held]).failed();
    assert_eq!(answers(&gateway, &held), 0);
    api.basic("alice").answer(&held, true, "").json();
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    // And a second session of the same person is the same person.
    let (mut alice, _) = login(&gateway);
    let held = query_held(&mut alice, "DELETE FROM orders WHERE id = 8");
    assert!(api.basic("alice").answer(&held, true, "").problem(403).contains("for themselves"));
    api.basic("admin").answer(&held, true, "").json();
    assert_eq!(tags_of(&alice.read_until("Z")), "NCZ");
}

#[test]
fn an_answer_after_the_end_says_how_it_ended() {
    let (database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let held = query_held(&mut wire, DELETE);
    drop(wire);
    ended(&gateway, &held, "abandoned");
    for approve in [true, false] {
        let late = dave(&gateway).answer(&held, approve, "").problem(409);
        assert!(late.contains("abandoned"), "{late}");
    }
    let nobody = "01900000-0000-7000-8000-000000000000";
    dave(&gateway).answer(nobody, true, "").problem(404);
    for nonsense in ["x", "..%2f..", "%00", "0190"] {
        let answer = dave(&gateway).answer(nonsense, true, "");
        assert_eq!(answer.status, 400, "{nonsense}: {}", answer.text());
    }
    assert_eq!(orders(&database), 30);
}

#[test]
fn a_token_ends_with_its_revocation_and_with_its_user() {
    let (_database, mut gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let held = query_held(&mut wire, DELETE);
    let [first, second] = [(); 2].map(|()| token(&gateway, "dave"));
    let with = |token: &str| gateway.api().bearer(token);
    assert_eq!(with(&first).get("/api/v1/whoami").json()["user"], "dave");
    with(&first).post("/api/v1/tokens", &Value::Null).problem(403);
    assert_eq!(with(&first).call("DELETE", "/api/v1/tokens", &[], Default::default()).status, 204);
    with(&first).answer(&held, true, "").problem(401);
    // Dave leaves the approvers, then the company.
    let other_group =
        gateway.config().replacen("name = \"dave\"\ngroups = [\"dba\"]", "name = \"dave\"\ngroups = []", 1);
    let gone = gateway.config().replacen("name = \"dave\"", "name = \"somebody\"", 1);
    gateway.configure(other_group);
    let with = |token: &str| gateway.api().bearer(token);
    eventually("he is not asked any more", SOON, || {
        with(&second).get("/api/v1/whoami").json()["groups"].as_array().is_some_and(Vec::is_empty)
    });
    with(&second).answer(&held, true, "").problem(404);
    gateway.configure(gone);
    let with = |token: &str| gateway.api().bearer(token);
    eventually("the token is void", SOON, || with(&second).get("/api/v1/whoami").status == 401);
    assert_eq!(approval(&gateway, &held)["answers"], json!([]));
}

/// All of them answer at once; returns the statuses.
fn race(gateway: &Gateway, id: &str, answers: &[(&str, bool)]) -> Vec<u16> {
    let barrier = std::sync::Barrier::new(answers.len());
    std::thread::scope(|scope| {
        let racing: Vec<_> = answers
            .iter()
            .map(|(user, approve)| {
                let (api, barrier) = (gateway.api().basic(user), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    api.answer(id, *approve, "at once").status.as_u16()
                })
            })
            .collect();
        racing.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    })
}

#[test]
fn approvers_at_the_same_moment_approve_once() {
    let (database, gateway) = holding_with(&format!("{DELETES}, min_approvals = 2"));
    for row in 1..=5 {
        let (mut wire, _) = login(&gateway);
        let held = query_held(&mut wire, &format!("DELETE FROM orders WHERE id = {row}"));
        // Dave twice, on two connections: he is one approver.
        let mut statuses = race(&gateway, &held, &[("dave", true), ("dave", true), ("alice", true)]);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403, 409]);
        assert_eq!((answers(&gateway, &held), &approval(&gateway, &held)["state"]), (1, &json!("pending")));
        let mut statuses = race(&gateway, &held, &[("erin", true), ("dora", true)]);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "the third comes too late");
        assert_eq!(tags_of(&wire.read_until("Z")).replace('N', ""), "CZ");
        assert_eq!(answers(&gateway, &held), 2);
    }
    assert_eq!(orders(&database), 25);
}

#[test]
fn of_an_approval_and_a_denial_at_the_same_moment_one_counts() {
    let (database, gateway) = holding();
    let mut left = 30;
    for row in 1..=8 {
        let (mut wire, _) = login(&gateway);
        let held = query_held(&mut wire, &format!("DELETE FROM orders WHERE id = {row}"));
        let statuses = race(&gateway, &held, &[("dave", true), ("erin", false)]);
        let answer = wire.read_until("Z");
        match statuses[..] {
            [200, 409] => {
                assert_eq!(tags_of(&answer), "NCZ");
                left -= 1;
            }
            [409, 200] => assert_eq!(errors_of(&answer), ["42501"]),
            _ => panic!("{statuses:?}"),
        }
    }
    assert_eq!(orders(&database), left);
}

#[test]
fn a_required_note_is_required_and_kept() {
    let (_database, gateway) = holding_with(&format!("{DELETES}, reason_required = true"));
    let (mut wire, _) = login(&gateway);
    let held = query_held(&mut wire, DELETE);
    // It reaches terminals, so it is text and nothing else.
    for note in ["", "  \n", "seen\u{1b}[2J"] {
        dave(&gateway).answer(&held, true, note).problem(422);
    }
    dave(&gateway).answer(&held, true, &"x".repeat(1001)).problem(422);
    gateway.sluicegate_as("dave", &["approvals", "approve", &held]).failed();
    let note = "ticket 4711; \"quoted\", und Umlaute äöü";
    dave(&gateway).answer(&held, true, note).json();
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    assert_eq!(approval(&gateway, &held)["answers"][0]["note"], note);
    let shown = gateway.sluicegate(&["approvals", "show", &held]).ok();
    assert!(shown.contains(note), "{shown}");
}

#[test]
fn each_hold_is_announced_signed_and_announced_again_until_it_is_taken() {
    let hook = Webhook::start(2);
    let database = database();
    let table = format!("url = \"{}\"\nsecret = {{ env = \"HOOK_SECRET\" }}", hook.url());
    let gateway = before(&database, DELETES).table("approvals.webhook", &table).start();
    let (mut wire, _) = login(&gateway);
    let held = query_held(&mut wire, DELETE);
    let deliveries = hook.wait_for(3);
    let times: Vec<_> = deliveries.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(times[0] > Duration::from_millis(400) && times[1] > times[0], "no back-off: {times:?}");
    for delivery in &deliveries {
        assert_eq!(delivery.header("webhook-signature"), delivery.signature(HOOK_SECRET));
        assert_eq!(
            (delivery.header("webhook-id"), &delivery.body),
            (deliveries[0].header("webhook-id"), &deliveries[0].body)
        );
        assert_eq!(delivery.header("content-type"), "application/json");
    }
    let body: Value = serde_json::from_slice(&deliveries[0].body).expect("JSON");
    assert_eq!((&body["data"]["id"], &body["data"]["requester"]), (&json!(held), &json!("alice")), "{body}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(hook.deliveries().len(), 3, "what was taken is not announced again");
    dave(&gateway).answer(&held, true, "").json();
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
    assert!(!gateway.log().contains(HOOK_SECRET));
    // A receiver that is not there delays nothing and loses nothing but the announcement.
    drop(hook);
    let held = query_held(&mut wire, "DELETE FROM orders WHERE id = 8");
    dave(&gateway).answer(&held, true, "").json();
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
}

/// What a mask hides from the client is hidden from approvers too.
#[test]
fn approvers_see_no_value_that_a_mask_could_hide() {
    use sluicegate_tests::seed::{SSN, SSN_PART};
    let database = database();
    let hook = Webhook::start(0);
    let table = format!("url = \"{}\"\nsecret = {{ env = \"HOOK_SECRET\" }}", hook.url());
    let gateway = before(&database, r#"when = { kinds = ["update"] }, approvers = ["group:dba"]"#)
        .policy("pii-mask", r#"columns = ["*.ssn"]"#)
        .table("approvals.webhook", &table)
        .start();
    let (mut wire, _) = login(&gateway);
    let held = query_held(&mut wire, &format!("UPDATE customers SET notes = 'x' WHERE ssn = '{SSN}'"));
    let seen = [
        approval(&gateway, &held).to_string(),
        String::from_utf8_lossy(&hook.wait_for(1)[0].body).into_owned(),
        gateway.sluicegate(&["approvals", "show", &held]).ok(),
        gateway.log(),
    ];
    for text in seen {
        assert!(!text.contains(SSN_PART), "{text}");
    }
    dave(&gateway).answer(&held, true, "").json();
    assert_eq!(tags_of(&wire.read_until("Z")), "NCZ");
}

#[test]
fn without_an_admin_section_the_owners_socket_still_takes_answers() {
    let database = database();
    let gateway = Gateway::before(&database).policy("hold-for-approval", DELETES).start();
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let held = waiting_id(&gateway);
    gateway.socket().answer(&held, true, "").problem(401);
    gateway.sluicegate_as("erin", &["approvals", "approve", &held]).ok();
    assert_eq!(said(alice).stdout.trim(), "DELETE 1");
}

/// A page in a browser cannot make a browser answer: for another host nothing is answered, and a form is
/// no JSON.
#[test]
fn what_a_browser_could_be_made_to_send_is_refused() {
    let (_database, gateway) = holding();
    let (mut wire, _) = login(&gateway);
    let held = query_held(&mut wire, DELETE);
    let path = format!("/api/v1/approvals/{held}/approve");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = dave(&gateway).call("POST", &path, &form, "note=".into());
    assert!(answer.status.is_client_error(), "{}", answer.text());
    let text = [("content-type", "text/plain")];
    let answer = dave(&gateway).call("POST", &path, &text, "{\"note\":\"\"}".into());
    assert!(answer.status.is_client_error(), "{}", answer.text());
    assert!(dave(&gateway).get(&path).status.is_client_error());
    assert_eq!(answers(&gateway, &held), 0);
    let rebound = format!("POST {path} HTTP/1.1\r\nhost: evil.example.com\r\ncontent-length: 0\r\n\r\n");
    let mut raw = Wire::connect(gateway.api().port());
    raw.send_bytes(rebound.as_bytes());
    assert!(raw.read_line().contains(" 421 "));
}

#[test]
fn the_api_can_be_reached_from_the_command_line_of_another_machine() {
    let (_database, gateway) = holding();
    let alice = psql(&gateway, &format!("{DELETE};\n"));
    let held = waiting_id(&gateway);
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let url = format!("http://127.0.0.1:{}", gateway.api().port());
    let mut command = std::process::Command::new(sluicegate_tests::programs::sluicegate_program());
    command.args(["approvals", "approve", &held, "--url", &url]).current_dir(elsewhere.path());
    command.env("SLUICEGATE_TOKEN", token(&gateway, "dave")).env_remove("SLUICEGATE_CONFIG");
    run(command, "", SOON).ok();
    assert_eq!(said(alice).stdout.trim(), "DELETE 1");
    waiting(&gateway, 0);
}
