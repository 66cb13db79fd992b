//! What the tests of held commands share: gateways that hold deletions, the approvals as the gateway's
//! owner sees them, and what a session's record says happened.

use std::time::Duration;

use serde_json::Value;
use sluicegate_tests::{
    Api, Database, Gateway,
    builder::Builder,
    programs::{Run, Running, eventually},
    wire::{Message, Wire},
};

use crate::{database, record::newest};

/// What is held where a test says nothing else: deletions, for one of the database's administrators.
pub const DELETES: &str = r#"when = { kinds = ["delete"] }, approvers = ["group:dba"]"#;

/// A command that is held.
pub const DELETE: &str = "DELETE FROM orders WHERE id = 7";

/// How long a client may take to get what it waits for.
pub const SOON: Duration = Duration::from_secs(20);

/// A gateway before a database, with `hold-for-approval`, these settings and an API.
pub fn before(database: &Database, settings: &str) -> Builder {
    Gateway::before(database).admin().policy("hold-for-approval", settings)
}

/// A database, and a gateway before it that holds [`DELETES`].
pub fn holding() -> (Database, Gateway) {
    holding_with(DELETES)
}

/// A database, and a gateway before it with `hold-for-approval` and these settings.
pub fn holding_with(settings: &str) -> (Database, Gateway) {
    let database = database();
    let gateway = before(&database, settings).start();
    (database, gateway)
}

/// The API as dave, who approves, sees it.
pub fn dave(gateway: &Gateway) -> Api {
    gateway.api().basic("dave")
}

/// Waits until this many commands are held, and returns their approvals.
pub fn waiting(gateway: &Gateway, count: usize) -> Vec<Value> {
    let socket = gateway.socket();
    let mut pending = Vec::new();
    eventually(&format!("{count} commands are held"), SOON, || {
        pending = socket.pending();
        pending.len() == count
    });
    pending
}

/// Waits until one command is held, and returns its approval's id.
pub fn waiting_id(gateway: &Gateway) -> String {
    id(&waiting(gateway, 1)[0])
}

/// An approval's id.
pub fn id(approval: &Value) -> String {
    approval["id"].as_str().expect("an id").to_owned()
}

/// An approval as it stands.
pub fn approval(gateway: &Gateway, id: &str) -> Value {
    gateway.socket().get(&format!("/api/v1/approvals/{id}")).json()
}

/// Waits until an approval has ended, and checks how.
pub fn ended(gateway: &Gateway, id: &str, state: &str) -> Value {
    let mut last = Value::Null;
    eventually(&format!("approval {id} is {state}"), SOON, || {
        last = approval(gateway, id);
        last["state"] == state
    });
    last
}

/// Dave approves.
pub fn approve(gateway: &Gateway, id: &str) {
    dave(gateway).answer(id, true, "").json();
}

/// How many orders there are; 30 while none is deleted.
pub fn orders(database: &Database) -> u32 {
    database.direct().psql("SELECT count(*) FROM orders").ok().trim().parse().expect("a number")
}

/// psql at a terminal that shows everything, with a script.
pub fn psql(gateway: &Gateway, script: &str) -> Running {
    psql_as(gateway, "alice", script)
}

/// The same as somebody else.
pub fn psql_as(gateway: &Gateway, user: &str, script: &str) -> Running {
    let mut command = gateway.endpoint(user).command("psql");
    command.args(["-X", "-A", "-t", "-v", "VERBOSITY=verbose"]);
    Running::start(command, script)
}

/// What psql said in the end.
pub fn said(psql: Running) -> Run {
    psql.finish(SOON)
}

/// What happened in the newest of so many sessions, in one word each: `command 1`, `held 1`, ...
pub fn story(gateway: &Gateway, sessions: usize) -> Vec<String> {
    let session = newest(gateway, sessions);
    session["entries"].as_array().expect("entries").iter().map(|entry| word(&entry["event"])).collect()
}

fn word(event: &Value) -> String {
    let (name, what) = event.as_object().and_then(|event| event.iter().next()).expect("an event has a name");
    match name.as_str() {
        "command" if !what["denial"].is_null() => format!("denied {}", what["sequence"]),
        "command" if !what["approval"].is_null() => format!("covered {}", what["sequence"]),
        "hold-ended" => format!("{} {}", what["state"].as_str().expect("a state"), what["sequence"]),
        "answered" => {
            let answer = &what["answer"];
            let said = if answer["approved"] == true { "approves" } else { "denies" };
            format!("{} {said} {}", answer["approver"].as_str().expect("a name"), what["sequence"])
        }
        "outcome" if what["forwarded_at"].is_null() => format!("not run {}", what["sequence"]),
        "outcome" => format!("run {}", what["sequence"]),
        "command" | "held" => format!("{name} {}", what["sequence"]),
        _ => name.clone(),
    }
}

/// A session that speaks exactly the messages that a test wants; with it the key for cancel requests.
pub fn login(gateway: &Gateway) -> (Wire, Vec<u8>) {
    login_as(gateway, "alice")
}

/// The same as somebody else.
pub fn login_as(gateway: &Gateway, user: &str) -> (Wire, Vec<u8>) {
    let (wire, greeting) = Wire::login(&gateway.endpoint(user));
    let key = greeting.into_iter().find(|message| message.tag == 'K').expect("a key for cancel requests");
    (wire, key.body)
}

/// Reads up to the notice that a command is held; returns the approval's id.
pub fn held(wire: &mut Wire) -> String {
    loop {
        let messages = wire.read_until("N");
        let text = messages.last().and_then(|notice| notice.field('M')).unwrap_or_default();
        if text.contains("waiting for approval") {
            return notice_id(&messages);
        }
    }
}

/// Sends a Query and reads up to the notice that it is held; returns the approval's id.
pub fn query_held(wire: &mut Wire, sql: &str) -> String {
    wire.send('Q', &sluicegate_tests::wire::zero_ended(sql));
    notice_id(&wire.read_until("N"))
}

/// The id of the approval that the last message, a notice, names.
pub fn notice_id(messages: &[Message]) -> String {
    let notice = messages.last().expect("a notice");
    let text = notice.field('M').expect("a notice has a text");
    // One that stands for another names that first.
    let id = text.split_whitespace().rfind(|word| word.len() >= 36 && word.matches('-').count() == 4);
    id.unwrap_or_else(|| panic!("no approval is named: {text}")).trim_end_matches([':', ',', '.']).to_owned()
}
