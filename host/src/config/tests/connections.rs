//! `[limits]`, `[shutdown]` and `[proxy_protocol]`, and how long a target's sessions may last.

use std::time::Duration;

use sluicegate_net::{Limits, Network, Proxies, SessionLimits};

use super::{keys::with, *};

fn proxies(networks: &[&str]) -> Proxies {
    Proxies::new(networks.iter().map(|network| network.parse::<Network>().unwrap()).collect())
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = load(GOOD).config.unwrap();
    let expected = Limits { max_connections: 4096, max_starting: 1024, grace: Duration::from_secs(30) };
    assert_eq!(config.limits, expected);
    assert!(config.proxies.is_empty());
    assert_eq!(config.targets[0].session, SessionLimits::default());
    let few = load(&with("", "[limits]\nmax_connections = 10")).config.unwrap();
    assert_eq!((few.limits.max_connections, few.limits.max_starting), (10, 3));
}

#[test]
fn every_key_is_read() {
    let text = with(
        "idle_timeout = \"1h\"\nmax_session = \"12h\"",
        r#"[limits]
max_connections = 20000
max_starting = 500
[shutdown]
drain = "2m"
[admin]
admins = ["group:engineering"]
[proxy_protocol]
postgres = ["10.0.0.0/8", "2001:db8::7"]
admin = ["127.0.0.1"]
"#,
    );
    let Loaded { config, report, .. } = load(&text);
    assert_eq!(report.render(), "");
    let config = config.unwrap();
    let expected = Limits { max_connections: 20_000, max_starting: 500, grace: Duration::from_secs(120) };
    assert_eq!(config.limits, expected);
    assert_eq!(config.proxies["postgres"], proxies(&["10.0.0.0/8", "2001:db8::7"]));
    assert_eq!(config.proxies["admin"], proxies(&["127.0.0.1"]));
    let hours = |hours: u64| Some(Duration::from_secs(hours * 60 * 60));
    assert_eq!(config.targets[0].session, SessionLimits { idle: hours(1), longest: hours(12) });
}

#[test]
fn what_is_wrong_is_said() {
    for (target, sections, said) in [
        ("", "[limits]\nmax_connections = 0", "error: `max_connections` is between 1 and 100000, and this is 0"),
        (
            "",
            "[limits]\nmax_connections = 10\nmax_starting = 11",
            "error: `max_starting` is between 1 and 10, and this is 11",
        ),
        ("", "[limits]\nconnections = 10", "error: unknown key `connections` in [limits]"),
        ("", "[shutdown]\ndrain = \"3s\"", "error: `drain` is between 4s and 1h, and this is 3s"),
        ("", "[shutdown]\ndrain = 30", "error: invalid type: integer `30`, expected a length of time"),
        ("", "[proxy_protocol]\npostgres = \"10.0.0.0/8\"", "help: write `postgres = [\"10.0.0.0/8\"]`"),
        ("", "[proxy_protocol]\npostgres = []", "error: `postgres` names no proxy"),
        ("", "[proxy_protocol]\npostgres = [\"lb.internal\"]", "error: `lb.internal` is not a network"),
        ("", "[proxy_protocol]\npostgre = [\"10.0.0.1\"]", "help: did you mean `postgres`?"),
        ("idle_timeout = \"500ms\"", "", "error: `idle_timeout` is between 1s and 1year"),
        ("max_session = 12", "", "error: invalid type: integer `12`, expected a length of time"),
        ("idle_timeot = \"1h\"", "", "help: did you mean `idle_timeout`?"),
    ] {
        let text = with(target, sections);
        assert!(rendered(&text).contains(said) && load(&text).config.is_none(), "{}", rendered(&text));
    }
}

#[test]
fn proxies_before_nothing_are_a_warning() {
    let text = with("", "[proxy_protocol]\nadmin = [\"10.0.0.1\"]");
    let expected = "warning: nothing listens for `admin`, so no proxy comes before it\n";
    assert!(rendered(&text).starts_with(expected), "{}", rendered(&text));
    assert!(load(&text).config.is_some());
}
