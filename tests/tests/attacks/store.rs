//! A disk that fills up.

use std::process::Command;

use sluicegate_tests::{
    programs::eventually,
    wire::{Wire, zero_ended},
};

use crate::{SOON, error_in, last_words, noise, open};

/// What makes a disk small: a file system of 4 MiB where this user may mount one, or else a bound for each file
/// (in units of 512 bytes) of which the gateway is told by an error.
fn small_disk() -> &'static str {
    let may_mount = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if may_mount.is_ok_and(|run| run.status.success()) {
        // In a namespace of its own, so that it goes with the gateway.
        r#"exec unshare --mount sh -ec 'mount -t tmpfs -o size=4m,mode=700 tmpfs data; exec "$0" "$@"'"#
    } else {
        "ulimit -f 4096; trap '' XFSZ; exec"
    }
}

/// A statement of some 4000 characters that do not compress.
fn statement(number: u64) -> Vec<u8> {
    let text: String = noise(number).take(4000).map(|byte| char::from(b'a' + byte % 26)).collect();
    zero_ended(&format!("SELECT '{text}'"))
}

#[test]
fn a_full_disk_is_told_to_every_session_and_ends_the_gateway() {
    let (database, mut gateway) = open();
    assert!(gateway.stop(SOON));
    assert!(gateway.try_start_again(small_disk()), "{}", gateway.log());
    let from = gateway.log().len();
    let (mut idle, _) = Wire::login(&gateway.alice());
    let (mut wire, _) = Wire::login(&gateway.alice());
    let mut number = 0;
    let words = loop {
        number += 1;
        assert!(number < 20_000, "the disk is never full");
        if wire.try_send('Q', &statement(number)).is_err() {
            break last_words(&mut wire);
        }
        let answer: Vec<_> = std::iter::from_fn(|| wire.read().ok().filter(|message| message.tag != 'Z')).collect();
        if answer.iter().any(|message| message.tag == 'E') || answer.is_empty() {
            break answer;
        }
    };
    let (code, text) = error_in(&words);
    assert!(["58030", "57P01"].contains(&code.as_str()), "{code} {text}");
    let (code, text) = error_in(&last_words(&mut idle));
    assert_eq!(code, "57P01", "{text}");
    eventually("the gateway ends", SOON, || !gateway.is_running());
    let said = gateway.log()[from..].to_owned();
    assert!(said.contains("the gateway ends, because it cannot record what passes"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    eventually("the target's sessions are over", SOON, || database.connections() == 0);
    gateway.start_again();
    gateway.alice().psql("SELECT 1").ok();
}
