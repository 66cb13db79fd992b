//! A disk that fills up, and a store that is no longer what was written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sluicegate_tests::{
    Gateway,
    programs::eventually,
    wire::{Wire, zero_ended},
};

use crate::{SOON, database, error_in, last_words, noise, open};

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

/// What is done to a file.
type Damage = fn(&mut Vec<u8>);

const DAMAGES: [(&str, Damage); 7] = [
    ("its beginning is overwritten", |bytes| bytes.iter_mut().take(64).for_each(|byte| *byte = 0xff)),
    ("its middle is overwritten", |bytes| {
        let middle = bytes.len() / 2;
        bytes.iter_mut().skip(middle).take(4096).for_each(|byte| *byte = 0x55);
    }),
    ("a byte in each block is another", |bytes| bytes.iter_mut().skip(100).step_by(512).for_each(|byte| *byte ^= 0x40)),
    ("half of it is gone", |bytes| bytes.truncate(bytes.len() / 2)),
    ("its end is gone", |bytes| bytes.truncate(bytes.len().saturating_sub(100))),
    ("all of it is zero", |bytes| bytes.fill(0)),
    ("it is empty", Vec::clear),
];

/// How many sessions the store holds before it is damaged, each with this many commands.
const SESSIONS: u64 = 20;
const COMMANDS: u64 = 20;

/// The files of the store, and its mark.
fn files(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(data.join("record"))
        .expect("our own folder")
        .map(|entry| entry.expect("our own folder").path())
        .filter(|path| path.is_file() && !path.ends_with("lock"))
        .chain([data.join("record.mark")])
        .collect();
    found.sort();
    found.into_iter().map(|path| (path.clone(), fs::read(&path).expect("our own file"))).collect()
}

/// How many commands the record has, of all sessions that are listed.
fn recorded(gateway: &Gateway) -> u64 {
    let listed = gateway.json(&["sessions", "list", "--limit", "1000"]);
    listed["items"].as_array().expect("items").iter().filter_map(|session| session["commands"].as_u64()).sum()
}

#[test]
fn a_damaged_store_is_refused_in_one_sentence_or_served_with_a_loud_line() {
    let database = database();
    let mut gateway = Gateway::before(&database).top("recording = \"strict\"").start();
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|session| {
            let (mut wire, _) = Wire::login(&gateway.alice());
            for text in 0..COMMANDS {
                wire.send('Q', &statement(session * 100 + text));
                wire.read_until("Z");
            }
            wire
        })
        .collect();
    // Two are open when the gateway is killed, so that there is something to put right.
    sessions.into_iter().skip(2).for_each(drop);
    gateway.kill();
    let data = gateway.folder().join("data");
    let whole = files(&data);
    assert!(whole.iter().any(|(path, bytes)| path.ends_with("db") && bytes.len() > 100_000), "the store holds little");
    let restore = || {
        fs::remove_dir_all(data.join("record"))
            .and_then(|()| fs::create_dir(data.join("record")))
            .expect("our own folder");
        whole.iter().for_each(|(path, bytes)| fs::write(path, bytes).expect("our own file"));
    };
    for (path, bytes) in &whole {
        for (what, damage) in DAMAGES {
            restore();
            let mut damaged = bytes.clone();
            damage(&mut damaged);
            fs::write(path, &damaged).expect("our own file");
            let from = gateway.log().len();
            let serves = gateway.try_start_again("exec");
            let kept = if serves { recorded(&gateway) } else { 0 };
            if serves {
                assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
                gateway.stop(SOON);
            }
            let said = gateway.log()[from..].to_owned();
            let case = format!("{}: {what}: serves {serves} with {kept} commands: {said}", path.display());
            assert!(!said.contains("panicked"), "{case}");
            if serves {
                assert!(kept == SESSIONS * COMMANDS || said.contains("ERROR"), "{case}");
            } else {
                let last = said.lines().last().unwrap_or_default();
                assert!(
                    last.starts_with("error: ") && last.contains("restore the data folder from a backup"),
                    "{case}"
                );
            }
        }
    }
    restore();
    let from = gateway.log().len();
    gateway.start_again();
    assert_eq!(recorded(&gateway), SESSIONS * COMMANDS);
    assert!(!gateway.log()[from..].contains("ERROR"), "what is whole is not told to be damaged");
}
