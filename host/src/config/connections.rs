//! How connections live: `[limits]`, `[shutdown]` and `[proxy_protocol]`, and how long a target's sessions
//! may last.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;
use sluicegate_net::{Limits, Network, Proxies, SessionLimits};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Listen,
    amounts::{Time, within},
    parse::Reader,
    report::Problem,
    section,
};
use crate::serve::PROTOCOLS;

/// What the API's listener is called beside the protocols' names.
pub const ADMIN: &str = "admin";

const DEFAULT_CONNECTIONS: u64 = 4096;
/// Each takes two file descriptors, of which a process has a million at most (`fs.nr_open` of Linux).
const MOST_CONNECTIONS: u64 = 100_000;
/// By default this part of the connections may not have logged in yet.
const STARTING_PART: u64 = 4;
/// Half of it has to do for last words.
const MIN_DRAIN: Time = Time::seconds(4);
/// Longer than systemd can be told at once would need more than one word to it.
const MAX_DRAIN: Time = Time::seconds(60 * 60);
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// A year, as humantime knows it.
const LONGEST: Time = Time::seconds(31_557_600);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsSection {
    max_connections: Option<Spanned<u64>>,
    max_starting: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShutdownSection {
    drain: Option<Spanned<Time>>,
}

impl Reader<'_> {
    /// `[limits]` and `[shutdown]`, as each protocol's listener has them.
    pub(super) fn limits(
        &mut self,
        limits: Option<Spanned<DeValue<'_>>>,
        shutdown: Option<Spanned<DeValue<'_>>>,
    ) -> Limits {
        let LimitsSection { max_connections, max_starting } = self.optional("[limits]", limits);
        let ShutdownSection { drain } = self.optional("[shutdown]", shutdown);
        let connections = within(self.report, "max_connections", max_connections, 1..=MOST_CONNECTIONS);
        let connections = connections.unwrap_or(DEFAULT_CONNECTIONS);
        let starting = within(self.report, "max_starting", max_starting, 1..=connections);
        let starting = starting.unwrap_or_else(|| connections.div_ceil(STARTING_PART));
        let drain = within(self.report, "drain", drain, MIN_DRAIN..=MAX_DRAIN);
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Limits {
            max_connections: count(connections),
            max_starting: count(starting),
            grace: drain.map_or(DEFAULT_DRAIN, |Time(drain)| drain),
        }
    }

    /// `[proxy_protocol]`: for each listener the proxies before it.
    pub(super) fn proxies(
        &mut self,
        value: Option<Spanned<DeValue<'_>>>,
        listen: &[Listen],
        admin: bool,
    ) -> HashMap<&'static str, Proxies> {
        const NAME: &str = "[proxy_protocol]";
        let table = value.and_then(|value| section::table(self.report, NAME, value));
        let known: Vec<&'static str> = PROTOCOLS.iter().map(|protocol| protocol.name).chain([ADMIN]).collect();
        let mut found = HashMap::new();
        for (key, value) in table.map(Spanned::into_inner).into_iter().flatten() {
            let Some(name) = known.iter().find(|name| **name == key.get_ref()) else {
                section::unknown_key(self.report, NAME, key.get_ref(), key.span(), &known);
                continue;
            };
            let served = if *name == ADMIN { admin } else { listen.iter().any(|l| l.protocol.name == *name) };
            if !served && self.report.errors() == 0 {
                let problem = Problem::warning(format!("nothing listens for `{name}`, so no proxy comes before it"));
                self.report.push(problem.at(key.span()));
            }
            found.insert(*name, self.networks(name, value));
        }
        found
    }

    fn networks(&mut self, key: &str, value: Spanned<DeValue<'_>>) -> Proxies {
        let span = value.span();
        if let DeValue::String(one) = value.get_ref() {
            let problem = Problem::error(format!("`{key}` is a list")).at(span);
            self.report.push(problem.help(format!("write `{key} = [\"{}\"]`", one.escape_debug())));
            return Proxies::default();
        }
        let texts: Vec<Spanned<String>> = section::value(self.report, value).unwrap_or_default();
        if texts.is_empty() {
            let problem = Problem::error(format!("`{key}` names no proxy")).at(span);
            self.report.push(problem.help("write the networks that its proxies are in, or remove the line"));
        }
        let mut networks = Vec::new();
        for text in texts {
            match text.get_ref().parse::<Network>() {
                Ok(network) => networks.push(network),
                Err(error) => self.report.push(Problem::error(error.to_string()).at(text.span())),
            }
        }
        Proxies::new(networks)
    }

    /// `idle_timeout` and `max_session` of a target. What is not said has no bound.
    pub(super) fn session_limits(&mut self, target: &mut DeTable<'_>) -> SessionLimits {
        let mut limit = |key: &str| {
            let written: Option<Spanned<Time>> = section::value(self.report, target.remove(key)?);
            within(self.report, key, written, Time::seconds(1)..=LONGEST).map(|Time(limit)| limit)
        };
        SessionLimits { idle: limit("idle_timeout"), longest: limit("max_session") }
    }

    fn optional<T: Default + serde::de::DeserializeOwned>(
        &mut self,
        name: &str,
        value: Option<Spanned<DeValue<'_>>>,
    ) -> T {
        let table = value.and_then(|value| section::table(self.report, name, value));
        table.and_then(|table| section::read(self.report, name, table, &[])).unwrap_or_default()
    }
}
