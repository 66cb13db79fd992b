//! Attacks and accidents, end to end: clients that do not keep to the protocol, floods, guesses, targets that
//! die, policies that misbehave, disks that fill up. Whoever causes it gets a clear native error or the
//! log says it loudly, in bounded time; nobody else notices, and nothing of it stays.

mod bytes;
mod floods;
mod guesses;
mod policies;
mod statements;
mod store;
mod targets;

use std::time::Duration;

use sluicegate_tests::{
    Database, Endpoint, Gateway, Postgres,
    builder::Builder,
    wire::{Message, Wire, tags_of},
};

/// How long anything may take that is to happen at once, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(20);

/// A target beside the one that is attacked, for those who work there.
const CALM: &str = "calm";

/// A database with the sample data.
fn database() -> Database {
    Postgres::shared().database()
}

/// A database, and a gateway before it without policies.
fn open() -> (Database, Gateway) {
    let database = database();
    let gateway = Gateway::before(&database).start();
    (database, gateway)
}

/// A gateway that has the target `calm` as well.
fn with_calm(gateway: Builder, database: &Database) -> Gateway {
    gateway.target(CALM, database).start()
}

/// The way to the target beside.
fn calm(gateway: &Gateway) -> Endpoint {
    Endpoint { database: CALM.to_owned(), ..gateway.alice() }
}

/// What the gateway says last on a connection that it ends: everything up to its end.
fn last_words(wire: &mut Wire) -> Vec<Message> {
    std::iter::from_fn(|| wire.read().ok()).collect()
}

/// The error among messages, as its SQLSTATE and text.
fn error_in(messages: &[Message]) -> (String, String) {
    let error = messages
        .iter()
        .rfind(|message| message.tag == 'E')
        .unwrap_or_else(|| panic!("no error among {}", tags_of(messages)));
    (error.field('C').expect("a SQLSTATE"), error.field('M').expect("a text"))
}

/// Numbers that are the same in every run and look like chance: xorshift.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
}
