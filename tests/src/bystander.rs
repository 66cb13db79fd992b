//! Somebody who works beside an attack. Whatever is done to the gateway or by a target, their session goes
//! on, others can still come, and in the end the gateway holds no more memory and files than before.

use std::time::Duration;

use crate::{
    client::Endpoint,
    gateway::Gateway,
    programs::eventually,
    wire::{Wire, tags_of},
};

const MIB: u64 = 1024 * 1024;
/// What a gateway may have grown by after an attack: the allocator keeps some of what was used once.
const GROWTH: u64 = 64 * MIB;
/// Files that may come and go by themselves: the catalog's connection, a module that is being read.
const FILES: usize = 6;
/// How long what an attack took may be held on to. Half-open logins are given up after 30 seconds.
const AFTERMATH: Duration = Duration::from_secs(60);

/// One session that was there before, and what the gateway held then.
pub struct Bystander<'a> {
    gateway: &'a Gateway,
    endpoint: Endpoint,
    wire: Wire,
    memory: u64,
    files: usize,
}

impl<'a> Bystander<'a> {
    /// Logs in as alice, who uses the tests' target.
    pub fn of(gateway: &'a Gateway) -> Self {
        Self::at(gateway, gateway.alice())
    }

    /// Logs in elsewhere.
    pub fn at(gateway: &'a Gateway, endpoint: Endpoint) -> Self {
        // What is made once is made before anything is counted.
        endpoint.psql("SELECT 1").ok();
        let (wire, greeting) = Wire::login(&endpoint);
        assert!(tags_of(&greeting).ends_with('Z'), "the bystander cannot log in: {greeting:?}");
        let mut bystander = Self { gateway, endpoint, wire, memory: 0, files: 0 };
        bystander.works();
        (bystander.memory, bystander.files) = (gateway.memory(), gateway.open_files());
        bystander
    }

    /// The session that was there before goes on.
    pub fn works(&mut self) {
        assert_eq!(tags_of(&self.wire.query("SELECT 1")), "TDCZ", "the bystander's session");
    }

    /// It goes on, somebody else can come, and nothing is left of the attack.
    pub fn is_unharmed(&mut self) {
        self.works();
        assert_eq!(self.endpoint.psql("SELECT 1").ok().trim(), "1", "somebody else's session");
        let Self { gateway, files, memory, .. } = self;
        eventually("the gateway has closed what it opened", AFTERMATH, || gateway.open_files() <= *files + FILES);
        let grown = gateway.memory().saturating_sub(*memory);
        assert!(grown < GROWTH, "the gateway keeps {} MiB more than before", grown / MIB);
    }
}
