//! Access that ends: tickets, roles for a time, and what happens to sessions that are open when whoever opened them may
//! no longer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluicegate_tests::{
    Api, Endpoint, Gateway, Issuer, builder::Builder, gateway::TARGET, issuer::now, programs::eventually, users,
    wire::Wire,
};

use crate::{database, held::SOON};

/// Within so long a session ends whose access has ended.
const PROMPT: Duration = Duration::from_secs(5);

fn api(gateway: &Gateway, user: &str) -> Api {
    gateway.api().basic(user)
}

fn ticket(gateway: &Gateway, user: &str, order: &Value) -> (String, String) {
    let issued = api(gateway, user).post("/api/v1/tickets", order).json_of(201);
    let text = |key: &str| issued[key].as_str().expect("a ticket has it").to_owned();
    (text("id"), text("secret"))
}

fn with(gateway: &Gateway, user: &str, secret: &str, target: &str) -> Endpoint {
    Endpoint::new(gateway.port(), user, secret, target)
}

/// The code with which a login is refused.
fn refusal(endpoint: &Endpoint) -> String {
    let (_, greeting) = Wire::login(endpoint);
    let error = greeting.into_iter().find(|message| message.tag == 'E').expect("the login is refused");
    error.field('C').expect("an error has a code")
}

/// A session that is open and idle.
fn open(endpoint: &Endpoint) -> Wire {
    let (mut wire, _) = Wire::login(endpoint);
    assert!(wire.query("SELECT 1").iter().any(|message| message.tag == 'D'));
    wire
}

/// The session ends soon, and says why.
fn ends(wire: &mut Wire) -> String {
    let from = Instant::now();
    let messages = wire.read_until("E");
    let error = messages.last().expect("a last word");
    assert_eq!(error.field('C').as_deref(), Some("28000"));
    assert!(wire.is_closed_by_server() && from.elapsed() < PROMPT, "{:?}", from.elapsed());
    error.field('M').expect("an error has a text")
}

fn goes_on(wire: &mut Wire) -> bool {
    wire.query("SELECT 1").iter().any(|message| message.tag == 'D')
}

/// What the record has of the sessions of this protocol, oldest first.
fn sessions(gateway: &Gateway, protocol: &str) -> Vec<Value> {
    let listed = gateway.socket().get("/api/v1/sessions?limit=1000").json();
    let all = listed["items"].as_array().expect("a list").iter().rev();
    all.filter(|session| session["protocol"] == protocol).cloned().collect()
}

fn export(gateway: &Gateway, session: &Value) -> String {
    let id = session["id"].as_str().expect("a session has an id");
    gateway.socket().get(&format!("/api/v1/sessions/{id}/export")).ok_text()
}

fn gateway() -> Builder {
    Gateway::before(&database()).admin()
}

#[test]
fn a_ticket_opens_its_target_for_its_holder_and_nothing_else() {
    let gateway = gateway().target("stock", &database()).start();
    let (id, secret) = ticket(&gateway, "alice", &json!({ "target": TARGET }));
    assert_eq!(with(&gateway, "alice", &secret, TARGET).psql("SELECT current_user").ok().trim(), "app");
    assert_eq!(refusal(&with(&gateway, "alice", &secret, "stock")), "3D000", "another target that alice may use");
    assert_eq!(refusal(&with(&gateway, "dora", &secret, TARGET)), "28P01", "somebody else");
    assert_eq!(refusal(&with(&gateway, "alice", &format!("{secret}x"), TARGET)), "28P01");
    gateway.api().basic_with("alice", &secret).get("/api/v1/whoami").problem(401);
    api(&gateway, "bob").post("/api/v1/tickets", &json!({ "target": TARGET })).problem(404);
    let listed = api(&gateway, "alice").get("/api/v1/tickets").json();
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["uses"]), (&json!(id), &json!(1)), "{listed}");
    assert_eq!(api(&gateway, "dora").get("/api/v1/tickets").json()["items"], json!([]));
    eventually("the use is recorded", SOON, || sessions(&gateway, "postgres").len() >= 4);
    let used = sessions(&gateway, "postgres").iter().map(|session| export(&gateway, session)).collect::<String>();
    assert!(used.contains(&format!("ticket {id}")) && !used.contains(&secret), "{used}");
    let acts = sessions(&gateway, "access").iter().map(|session| export(&gateway, session)).collect::<String>();
    assert!(acts.contains("issue-ticket") && acts.contains(&id) && !acts.contains(&secret), "{acts}");
    assert!(!gateway.log().contains(&secret) && !listed.to_string().contains(&secret));
}

#[test]
fn of_many_who_come_at_once_with_a_ticket_for_one_session_one_gets_in() {
    let gateway = gateway().start();
    let (_, secret) = ticket(&gateway, "alice", &json!({ "target": TARGET, "once": true }));
    let all: Vec<_> = (0..8)
        .map(|_| {
            let endpoint = with(&gateway, "alice", &secret, TARGET);
            std::thread::spawn(move || endpoint.psql("SELECT pg_sleep(1)").status.success())
        })
        .collect();
    let let_in: Vec<_> = all.into_iter().map(|one| one.join().expect("psql ends")).collect();
    assert_eq!(let_in.iter().filter(|one| **one).count(), 1, "{let_in:?}");
}

#[test]
fn revoking_a_ticket_ends_what_it_opened() {
    let gateway = gateway().start();
    let (id, secret) = ticket(&gateway, "alice", &json!({ "target": TARGET }));
    let mut by_ticket = open(&with(&gateway, "alice", &secret, TARGET));
    let mut by_secret = open(&gateway.alice());
    api(&gateway, "dora").delete(&format!("/api/v1/tickets/{id}")).problem(404);
    assert_eq!(api(&gateway, "alice").delete(&format!("/api/v1/tickets/{id}")).status, 204);
    let told = ends(&mut by_ticket);
    assert!(told.contains("ticket") && told.contains("revoked"), "{told}");
    assert!(goes_on(&mut by_secret));
    assert_eq!(refusal(&with(&gateway, "alice", &secret, TARGET)), "28P01");
    eventually("the end says why", SOON, || {
        sessions(&gateway, "postgres").iter().any(|s| s["ended"].as_str().is_some_and(|why| why.contains("revoked")))
    });
}

#[test]
fn an_agent_comes_by_the_ticket_that_its_owner_issued_to_it() {
    let agent = "name = \"assistant\"\nkind = \"agent\"\nowner = \"alice\"\ngroups = [\"engineering\"]";
    let gateway = gateway().table("[identity.user]", agent).start();
    let order = json!({ "target": TARGET, "for": "assistant", "seconds": 60 });
    api(&gateway, "dora").post("/api/v1/tickets", &order).problem(403);
    let (_, secret) = ticket(&gateway, "alice", &order);
    assert!(with(&gateway, "assistant", &secret, TARGET).psql("SELECT 1").status.success());
    assert_eq!(refusal(&with(&gateway, "alice", &secret, TARGET)), "28P01");
    assert_eq!(refusal(&with(&gateway, "assistant", "", TARGET)), "28P01", "it has no other secret");
    eventually("the session is recorded", SOON, || !sessions(&gateway, "postgres").is_empty());
    let text = export(&gateway, &sessions(&gateway, "postgres")[0]);
    assert!(text.contains("\"kind\":\"agent\"") && text.contains("\"owner\":\"alice\""), "{text}");
}

const READER: &str =
    "name = \"reader\"\nlabels = { env = \"prod\" }\nrequesters = [\"user:bob\"]\napprovers = [\"group:dba\"]";

fn with_roles() -> Builder {
    gateway().target_lines("labels = { env = \"prod\" }").target("stock", &database()).table("[role]", READER)
}

fn ask(gateway: &Gateway, user: &str, role: &str, target: &str, seconds: u64) -> sluicegate_tests::api::Answer {
    let body = json!({ "role": role, "target": target, "seconds": seconds, "reason": "order 7 is stuck" });
    api(gateway, user).post("/api/v1/grants", &body)
}

/// Bob asks for the role and gets it.
fn granted(gateway: &Gateway, seconds: u64) -> String {
    let asked = ask(gateway, "bob", "reader", TARGET, seconds).json_of(202);
    let id = asked["id"].as_str().expect("an approval has an id").to_owned();
    assert!(api(gateway, "dave").answer(&id, true, "for order 7").status.is_success());
    eventually("it is granted", SOON, || {
        let grants = api(gateway, "bob").get("/api/v1/grants").json();
        grants["items"].as_array().is_some_and(|items| items.iter().any(|grant| grant["id"] == json!(id)))
    });
    id
}

#[test]
fn a_role_is_asked_for_granted_used_and_ended() {
    let gateway = with_roles().start();
    let bob = gateway.endpoint("bob");
    assert_eq!(refusal(&bob), "3D000");
    for (user, role, target) in [("bob", "reader", "stock"), ("alice", "reader", TARGET), ("bob", "writer", TARGET)] {
        ask(&gateway, user, role, target, 60).problem(404);
    }
    ask(&gateway, "bob", "reader", TARGET, 59).problem(422);
    ask(&gateway, "bob", "reader", TARGET, 3601).problem(422);
    let offers = api(&gateway, "bob").get("/api/v1/roles").json();
    assert_eq!((&offers["items"][0]["role"], offers["items"].as_array().map(Vec::len)), (&json!("reader"), Some(1)));
    let asked = ask(&gateway, "bob", "reader", TARGET, 600).json_of(202);
    assert!(asked["text"].as_str().unwrap().contains("order 7 is stuck"), "{asked}");
    let id = asked["id"].as_str().unwrap();
    api(&gateway, "bob").answer(id, true, "").problem(403);
    assert_eq!(refusal(&bob), "3D000", "asking is not having");
    assert!(api(&gateway, "dave").answer(id, true, "for order 7").status.is_success());
    eventually("bob may use the target", SOON, || Wire::try_login(&bob).is_some());
    let mut session = open(&bob);
    assert_eq!(api(&gateway, "erin").delete(&format!("/api/v1/grants/{id}")).status, 404, "she did not grant it");
    assert_eq!(api(&gateway, "dave").delete(&format!("/api/v1/grants/{id}")).status, 204);
    let told = ends(&mut session);
    assert!(told.contains("role `reader`"), "{told}");
    assert_eq!(refusal(&bob), "3D000");
    let acts: Vec<_> = sessions(&gateway, "access").iter().map(|session| export(&gateway, session)).collect();
    assert!(acts.iter().any(|act| act.contains("request-role") && act.contains("dave") && act.contains("granted")));
    assert!(acts.iter().any(|act| act.contains("revoke-grant") && act.contains(id)), "{acts:?}");
}

#[test]
fn a_role_that_is_denied_is_not_had() {
    let gateway = with_roles().start();
    let asked = ask(&gateway, "bob", "reader", TARGET, 60).json_of(202);
    let id = asked["id"].as_str().unwrap();
    assert!(api(&gateway, "dave").answer(id, false, "not now").status.is_success());
    eventually("the request has ended", SOON, || {
        sessions(&gateway, "access").iter().any(|session| session["ended"] == json!("denied"))
    });
    assert_eq!(refusal(&gateway.endpoint("bob")), "3D000");
}

#[test]
fn a_ticket_and_a_grant_end_by_themselves_and_their_sessions_with_them() {
    let gateway = with_roles().start();
    let from = Instant::now();
    granted(&gateway, 60);
    let (_, secret) = ticket(&gateway, "alice", &json!({ "target": TARGET, "seconds": 60 }));
    let (mut bob, mut alice) = (open(&gateway.endpoint("bob")), open(&with(&gateway, "alice", &secret, TARGET)));
    std::thread::sleep(Duration::from_secs(57).saturating_sub(from.elapsed()));
    assert!(goes_on(&mut bob) && goes_on(&mut alice));
    assert!(ends(&mut bob).contains("role `reader`"));
    assert!(ends(&mut alice).contains("ticket"));
    assert!((Duration::from_secs(59)..Duration::from_secs(66)).contains(&from.elapsed()), "{:?}", from.elapsed());
    assert_eq!(refusal(&with(&gateway, "alice", &secret, TARGET)), "28P01");
    assert_eq!(api(&gateway, "admin").get("/api/v1/grants").json()["items"], json!([]));
}

#[test]
fn the_command_line_asks_waits_and_shows() {
    let gateway = with_roles().start();
    let issued = gateway.sluicegate_as("alice", &["ticket", "issue", TARGET, "--valid", "5m", "--once"]);
    let secret = issued.ok().trim().to_owned();
    assert!(secret.starts_with("sgk_") && with(&gateway, "alice", &secret, TARGET).psql("SELECT 1").status.success());
    let listed = gateway.sluicegate(&["ticket", "list"]).ok();
    assert!(listed.contains("alice") && listed.contains(TARGET) && !listed.contains(&secret), "{listed}");
    let answered = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let ask = ["access", "request", "reader", TARGET, "--valid", "10m", "--reason", "order 7 is stuck"];
            gateway.sluicegate_as("bob", &ask)
        });
        let pending = || gateway.json(&["approvals", "list"])["items"][0]["id"].as_str().map(str::to_owned);
        eventually("bob's request waits", SOON, || pending().is_some());
        gateway.sluicegate_as("dave", &["approvals", "approve", &pending().unwrap()]).ok();
        asking.join().unwrap()
    });
    assert!(answered.ok().contains("granted"));
    let listed = gateway.json(&["access", "list"]);
    let id = listed["grants"][0]["id"].as_str().unwrap();
    assert!(gateway.sluicegate_as("bob", &["access", "revoke", id]).ok().contains("ended"));
    assert_eq!(gateway.json(&["access", "list"])["grants"], json!([]));
}

#[test]
fn members_hold_a_role_in_its_hours_on_the_targets_with_its_labels() {
    let role = |name: &str, hours: &str, env: &str| {
        format!("name = \"{name}\"\nlabels = {{ env = \"{env}\" }}\nmembers = [\"user:bob\"]\nhours = [\"{hours}\"]")
    };
    let always = "mon-sun 00:00-00:00";
    // Three days from now; the epoch began on a Thursday.
    let days = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let other = days[usize::try_from((now() / 86_400 + 3) % 7).unwrap()];
    let gateway = gateway()
        .target_lines("labels = { env = \"prod\" }")
        .target("stock", &database())
        .target_lines("labels = { env = \"test\" }")
        .table("[role]", &role("reader", always, "prod"))
        .table("[role]", &role("tester", &format!("{other} 08:00-18:00"), "test"))
        .start();
    assert!(gateway.endpoint("bob").psql("SELECT 1").status.success());
    assert_eq!(refusal(&with(&gateway, "bob", users::secret("bob"), "stock")), "3D000");
}

#[test]
fn who_is_removed_or_loses_a_group_or_the_rule_loses_their_sessions() {
    let mut gateway = gateway().start();
    let mut alice = open(&gateway.alice());
    let mut dora = open(&gateway.endpoint("dora"));
    let mut job = open(&gateway.endpoint("ci-migrate"));
    let mut admin = open(&gateway.endpoint("admin"));
    let alices = "name = \"alice\"\ngroups = [\"engineering\"]";
    assert!(gateway.config().contains(alices));
    let config = gateway.config().replace(alices, "name = \"alice\"\ngroups = [\"sales\"]");
    gateway.configure(config);
    assert!(ends(&mut alice).contains("has lost a group"));
    assert!(goes_on(&mut dora) && goes_on(&mut job) && goes_on(&mut admin));
    let config = gateway.config().replace("name = \"dora\"", "name = \"theodora\"");
    gateway.configure(config);
    assert!(ends(&mut dora).contains("was removed"));
    assert!(goes_on(&mut job) && goes_on(&mut admin));
    let config = gateway.config().replace(", \"user:ci-migrate\"", "");
    gateway.configure(config);
    assert!(ends(&mut job).contains("rules"));
    assert!(goes_on(&mut admin));
    let mut second = open(&gateway.endpoint("admin"));
    let config = gateway.config().to_owned();
    let after = config.find("name = \"admin\"").expect("admin is a user");
    let from = after + config[after..].find("$argon2id$").expect("with a hash");
    let to = from + config[from..].find('"').expect("in quotes");
    gateway.configure(format!("{}{}{}", &config[..from], users::hash("another"), &config[to..]));
    assert!(ends(&mut second).contains("another secret"));
    ends(&mut admin);
    assert_eq!(refusal(&gateway.endpoint("ci-migrate")), "3D000");
}

#[test]
fn a_session_that_is_busy_is_cut_short_and_its_work_is_cancelled() {
    let gateway = gateway().start();
    let (id, secret) = ticket(&gateway, "alice", &json!({ "target": TARGET }));
    let mut wire = open(&with(&gateway, "alice", &secret, TARGET));
    wire.send('Q', b"SELECT pg_sleep(60), 'cut me short'\0");
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%cut me' || ' short%' AND state = 'active'";
    let sleeping = || gateway.alice().psql(sleeps).ok().trim().to_owned();
    eventually("it runs", SOON, || sleeping() == "1");
    assert_eq!(api(&gateway, "admin").delete(&format!("/api/v1/tickets/{id}")).status, 204);
    ends(&mut wire);
    eventually("it is cancelled", SOON, || sleeping() == "0");
}

#[test]
fn sessions_end_with_their_token_or_their_issuer_where_that_is_wanted() {
    let issuer = Issuer::start();
    let lines = "username_claim = \"sub\"\ngroups_claim = \"groups\"\nend_sessions_with_token = true\n";
    let mut gateway = gateway().table("[identity.oidc]", &issuer.lines(lines)).start();
    let token =
        |seconds: u64| issuer.token(&json!({ "sub": "carol", "groups": ["engineering"], "exp": now() + seconds }));
    let mut short = open(&with(&gateway, "carol", &token(8), TARGET));
    let mut long = open(&with(&gateway, "carol", &token(300), TARGET));
    std::thread::sleep(Duration::from_secs(4));
    assert!(goes_on(&mut short));
    assert!(ends(&mut short).contains("token"));
    assert!(goes_on(&mut long));
    let config = gateway.config().replace("audience = \"sluicegate\"", "audience = \"another\"");
    gateway.configure(config);
    ends(&mut long);
}

#[test]
fn an_agent_that_acts_for_a_person_is_known_as_both() {
    let issuer = Issuer::start();
    let lines = "groups_claim = \"groups\"\n";
    let gateway = gateway().table("[identity.oidc]", &issuer.lines(lines)).start();
    let claims = json!({ "sub": "carol", "groups": ["engineering"], "act": { "sub": "assistant" } });
    let (mut wire, _) = Wire::login(&with(&gateway, "carol", &issuer.token(&claims), TARGET));
    assert!(goes_on(&mut wire));
    eventually("the session is recorded", SOON, || !sessions(&gateway, "postgres").is_empty());
    let text = export(&gateway, &sessions(&gateway, "postgres")[0]);
    assert!(text.contains("\"actor\":\"assistant\"") && text.contains("\"kind\":\"agent\""), "{text}");
    let id = sessions(&gateway, "postgres")[0]["id"].as_str().expect("an id").to_owned();
    let shown = gateway.sluicegate(&["sessions", "show", &id]).ok();
    assert!(shown.contains("carol, by the agent assistant"), "{shown}");
    let nameless = issuer.token(&json!({ "sub": "carol", "groups": ["engineering"], "act": {} }));
    assert_eq!(refusal(&with(&gateway, "carol", &nameless, TARGET)), "28P01");
}

#[test]
fn whoever_had_a_ticket_issued_takes_it_along() {
    let agent = "name = \"assistant\"\nkind = \"agent\"\nowner = \"dora\"\ngroups = [\"engineering\"]";
    let mut gateway = gateway().table("[identity.user]", agent).start();
    let (_, secret) = ticket(&gateway, "dora", &json!({ "target": TARGET, "for": "assistant" }));
    let assistant = with(&gateway, "assistant", &secret, TARGET);
    let mut session = open(&assistant);
    let config = gateway.config().replace("name = \"dora\"", "name = \"theodora\"");
    gateway.configure(config);
    assert!(ends(&mut session).contains("ticket"));
    assert_ne!(refusal(&assistant), "00000");
}

#[test]
fn who_may_no_longer_ask_for_a_role_has_lost_what_was_granted() {
    let mut gateway = with_roles().start();
    granted(&gateway, 600);
    let bob = gateway.endpoint("bob");
    let mut session = open(&bob);
    let config = gateway.config().replace("requesters = [\"user:bob\"]", "requesters = [\"user:alice\"]");
    gateway.configure(config);
    assert!(ends(&mut session).contains("role `reader`"));
    assert_eq!(refusal(&bob), "3D000");
}

#[test]
fn a_request_ends_with_the_gateway_and_with_the_right_to_make_it() {
    let mut gateway = with_roles().start();
    let asked = ask(&gateway, "bob", "reader", TARGET, 60).json_of(202);
    let config = gateway.config().replace("approvers = [\"group:dba\"]", "approvers = [\"user:erin\"]");
    let seen = gateway.log().len();
    gateway.configure(config);
    gateway.wait_for_log(seen, "configuration reloaded");
    eventually("the request is void", SOON, || {
        sessions(&gateway, "access").iter().any(|session| session["ended"] == json!("superseded"))
    });
    api(&gateway, "dave").answer(asked["id"].as_str().unwrap(), true, "").problem(409);
    assert_eq!(api(&gateway, "admin").get("/api/v1/grants").json()["items"], json!([]));
    ask(&gateway, "bob", "reader", TARGET, 60).json_of(202);
    assert!(gateway.stop(Duration::from_secs(20)));
    gateway.start_again();
    let ends: Vec<_> = sessions(&gateway, "access").iter().map(|session| session["ended"].clone()).collect();
    assert_eq!(ends, [json!("superseded"), json!("abandoned")]);
}

#[test]
fn a_command_that_waits_for_people_does_not_outlive_access() {
    let settings = r#"when = { kinds = ["delete"] }, approvers = ["group:dba"]"#;
    let gateway = gateway().policy("hold-for-approval", settings).start();
    let (id, secret) = ticket(&gateway, "alice", &json!({ "target": TARGET }));
    let mut wire = open(&with(&gateway, "alice", &secret, TARGET));
    wire.send('Q', b"DELETE FROM orders\0");
    eventually("it waits", SOON, || !api(&gateway, "dave").pending().is_empty());
    assert_eq!(api(&gateway, "alice").delete(&format!("/api/v1/tickets/{id}")).status, 204);
    assert!(ends(&mut wire).contains("did not run"));
    eventually("nothing waits", SOON, || api(&gateway, "dave").pending().is_empty());
}
