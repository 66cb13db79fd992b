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

/// How many sessions the store holds before it is damaged.
const SESSIONS: usize = 20;

/// The files of the store.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder).expect("our own folder").flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.is_file() && path.file_name().is_some_and(|name| name != "lock"));
    found.sort();
    found
}

#[test]
fn a_damaged_store_is_refused_in_one_sentence_or_served_with_a_loud_line() {
    let database = database();
    let mut gateway = Gateway::before(&database).top("recording = \"strict\"").start();
    let sessions: Vec<_> = (0..SESSIONS as u64)
        .map(|session| {
            let (mut wire, _) = Wire::login(&gateway.alice());
            for text in 0..20 {
                wire.send('Q', &statement(session * 100 + text));
                wire.read_until("Z");
            }
            wire
        })
        .collect();
    // Two are open when the gateway is killed, so that there is something to put right.
    sessions.into_iter().skip(2).for_each(drop);
    gateway.kill();
    let folder = gateway.folder().join("data/record");
    let whole: Vec<_> =
        files(&folder).into_iter().map(|path| (path.clone(), fs::read(path).expect("our own"))).collect();
    assert!(whole.iter().any(|(path, bytes)| path.ends_with("db") && bytes.len() > 100_000), "the store holds little");
    for (path, bytes) in &whole {
        for (what, damage) in DAMAGES {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            fs::remove_dir_all(&folder).and_then(|()| fs::create_dir(&folder)).expect("our own folder");
            for (path, bytes) in &whole {
                fs::write(path, bytes).expect("our own folder");
            }
            let mut damaged = bytes.clone();
            damage(&mut damaged);
            fs::write(path, &damaged).expect("our own folder");
            let from = gateway.log().len();
            let serves = gateway.try_start_again("exec");
            let mut kept = 0;
            if serves {
                assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
                // What was just recorded is listed once it is written.
                for _ in 0..20 {
                    let listed = gateway.json(&["sessions", "list", "--limit", "1000"]);
                    kept = listed["items"].as_array().expect("items").len();
                    if kept > SESSIONS {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
                gateway.stop(SOON);
            }
            let said = gateway.log()[from..].to_owned();
            println!("{name}: {what}: serves {serves} with {kept} sessions");
            assert!(!said.contains("panicked"), "{name}: {what}: {said}");
            let last = said.lines().last().unwrap_or_default();
            if serves {
                assert!(kept >= SESSIONS || said.contains("ERROR"), "{name}: {what}: {said}");
            } else {
                assert!(
                    last.starts_with("error: ") && last.contains("restore the data folder from a backup"),
                    "{name}: {what}: {said}"
                );
            }
        }
    }
}
