//! Somebody guesses secrets.

use std::{net::IpAddr, thread, time::Duration};

use sluicegate_tests::{
    Bystander, Endpoint, Gateway,
    gateway::TARGET,
    programs::eventually,
    wire::{Message, Wire, code},
};

use crate::{SOON, open};

/// Guesses that are made at the same time.
const AT_ONCE: usize = 60;

/// How a login ends that is made from one of this machine's addresses.
fn login(endpoint: &Endpoint, source: IpAddr) -> Message {
    let mut wire = Wire::connect_from(source, endpoint.port);
    wire.greet(endpoint, code::V3_0, &[]).pop().expect("an answer")
}

/// The SQLSTATE and text of a refusal, without how long to wait.
fn refusal(message: &Message) -> (String, String) {
    let text = message.field('M').expect("a refusal has a text");
    let wait = text.split("try again in").next().unwrap_or_default();
    (message.field('C').expect("and a SQLSTATE"), wait.to_owned())
}

fn guesses(gateway: &Gateway, user: &str, source: IpAddr) -> Vec<(String, String)> {
    let guess = Endpoint::new(gateway.port(), user, "a guess", TARGET);
    thread::scope(|scope| {
        let tries: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| refusal(&login(&guess, source)))).collect();
        tries.into_iter().map(|guess| guess.join().expect("an answer")).collect()
    })
}

#[test]
fn guessing_is_slowed_down_tells_nothing_and_keeps_nobody_out_elsewhere() {
    let (_database, gateway) = open();
    let mut bystander = Bystander::of(&gateway);
    let [attacker, elsewhere] = [IpAddr::from([127, 0, 0, 66]), IpAddr::from([127, 0, 0, 1])];
    let (known, unknown) = (guesses(&gateway, "alice", attacker), guesses(&gateway, "mallory", attacker));
    let mut kinds = Vec::new();
    for answers in [known, unknown] {
        let looked_at = answers.iter().filter(|(code, _)| code == "28P01").count();
        // More than five only where the others came so late that the first waits were over.
        assert!((5..12).contains(&looked_at), "{looked_at} of {AT_ONCE} guesses were looked at");
        let mut texts = answers;
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert_eq!(texts[0].0, "28000");
        kinds.push(texts);
    }
    assert_eq!(kinds[0], kinds[1], "an unknown user reads as a known one");
    assert_eq!(login(&gateway.alice(), elsewhere).tag, 'Z', "alice herself is let in elsewhere");

    // Each is logged and recorded that was looked at, and one of those that were not, between two of them.
    let log = gateway.log();
    let lines = |what: &str| log.lines().filter(|line| line.contains("mallory") && line.contains(what)).count();
    assert!(lines("session refused") < 25 && lines("refused unheard") >= 1, "{log}");
    let listed = || gateway.json(&["sessions", "list", "--user", "mallory", "--limit", "1000"]);
    let recorded = || listed()["items"].as_array().expect("items").len();
    eventually("the refusals are in the record", SOON, || recorded() >= 6);
    assert!(recorded() < 25, "{} of {AT_ONCE} are recorded", recorded());

    // Whoever knows the secret gets in once the wait is over, and the log tells what came before.
    eventually("the wait is over", SOON, || {
        let answer = login(&gateway.alice(), attacker);
        thread::sleep(Duration::from_millis(200));
        assert!(answer.tag == 'Z' || refusal(&answer).0 == "28000", "a right secret is never called wrong");
        answer.tag == 'Z'
    });
    assert!(gateway.log().contains("a login succeeded after many wrong secrets"));
    bystander.is_unharmed();
}
