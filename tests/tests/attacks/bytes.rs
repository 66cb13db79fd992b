//! Bytes that are no protocol, lengths that are no lengths, and goodbyes in the middle of something.

use std::{io::Write, net::Shutdown};

use sluicegate_tests::{
    Bystander, Database,
    programs::eventually,
    wire::{Wire, bind, errors_of, execute, message, parse, sync, tags_of, zero_ended},
};

use crate::{SOON, error_in, last_words, noise, open};

const GIB: u32 = 1 << 30;

/// Sends bytes and nothing after them. The gateway may have closed before it has heard all of them.
fn blurt(wire: &mut Wire, bytes: &[u8]) {
    let _ = wire.stream().write_all(bytes);
    let _ = wire.stream().shutdown(Shutdown::Write);
}

/// Waits until the target has no sessions but the bystander's.
fn target_is_left(database: &Database) {
    eventually("the target's sessions are over", SOON, || database.connections() == 1);
}

#[test]
fn garbage_instead_of_a_login_is_refused_in_the_clients_own_protocol() {
    let (_database, gateway) = open();
    let mut bystander = Bystander::of(&gateway);
    let garbage: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        &[0xff; 64],
        &[0; 64],
        // A TLS ClientHello's beginning, where there is no TLS.
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        // A start-up packet of 12 bytes whose parameters do not end.
        &[0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r'],
        // One of 1 GiB.
        &[0x40, 0, 0, 0, 0, 3, 0, 0],
    ];
    for bytes in garbage {
        let mut wire = Wire::connect(gateway.port());
        wire.send_bytes(bytes);
        let words = last_words(&mut wire);
        assert_eq!(error_in(&words).0, "08P01", "{bytes:?}");
    }
    let mut old = Wire::connect(gateway.port());
    old.send_packet(&(2u32 << 16).to_be_bytes());
    let (code, text) = error_in(&last_words(&mut old));
    assert!(code == "0A000" && text.contains("2.0"), "{code} {text}");
    for seed in 0..50 {
        let mut wire = Wire::connect(gateway.port());
        blurt(&mut wire, &noise(seed).take(2000).collect::<Vec<_>>());
        assert!(wire.is_closed_by_server(), "{seed}");
    }
    bystander.is_unharmed();
}

#[test]
fn garbage_in_place_of_a_secret_is_refused() {
    let (_database, gateway) = open();
    let mut bystander = Bystander::of(&gateway);
    let secrets = [
        message('p', &[0xff, 0xfe, 0]),
        message('p', b"no zero at the end"),
        message('Q', b"SELECT 1\0"),
        [&b"p"[..], &GIB.to_be_bytes()].concat(),
        [&b"p"[..], &3u32.to_be_bytes()].concat(),
    ];
    for secret in secrets {
        let mut wire = Wire::connect(gateway.port());
        wire.start_up(&gateway.alice(), 3 << 16, &[]);
        wire.read_until("R");
        wire.send_bytes(&secret);
        assert_eq!(error_in(&last_words(&mut wire)).0, "08P01", "{secret:?}");
    }
    bystander.is_unharmed();
}

#[test]
fn garbage_in_a_session_ends_it_and_no_other() {
    let (database, gateway) = open();
    let mut bystander = Bystander::of(&gateway);
    for seed in 0..40 {
        let (mut wire, _) = Wire::login(&gateway.alice());
        // Some of it begins like a message.
        let tag = b"QPBEDCSHFfdcpX"[seed as usize % 14];
        let bytes: Vec<u8> = match seed % 3 {
            0 => noise(seed).take(3000).collect(),
            1 => [tag].into_iter().chain(noise(seed).take(3000)).collect(),
            _ => message(char::from(tag), &noise(seed).take(300).collect::<Vec<_>>()),
        };
        blurt(&mut wire, &bytes);
        for error in last_words(&mut wire).iter().filter(|message| message.tag == 'E') {
            assert!(error.field('C').is_some() && error.field('M').is_some(), "{seed}");
        }
    }
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[b'Q', 0xff, 0xff, 0xff, 0xff]);
    let (code, text) = error_in(&last_words(&mut wire));
    assert!(code == "08P01" && text.contains("the client broke the PostgreSQL protocol"), "{code} {text}");
    target_is_left(&database);
    bystander.is_unharmed();
}

#[test]
fn a_length_of_a_gigabyte_takes_no_memory() {
    let (database, gateway) = open();
    let mut bystander = Bystander::of(&gateway);
    let before = gateway.peak_memory();
    let megabyte = vec![b' '; 1 << 20];
    let mut wires = Vec::new();
    for tag in *b"QPBEDCFd" {
        for _ in 0..4 {
            let (mut wire, _) = Wire::login(&gateway.alice());
            // Some of them end the session before all of it is sent.
            let _ = wire.stream().write_all(&[&[tag], &(GIB - 1).to_be_bytes()[..], &megabyte].concat());
            wires.push(wire);
        }
    }
    bystander.works();
    let grown = gateway.peak_memory().saturating_sub(before) >> 20;
    assert!(grown < 96, "the gateway grew by {grown} MiB");
    drop(wires);
    // One byte more is no length at all.
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send_bytes(&[&b"Q"[..], &GIB.to_be_bytes()].concat());
    assert_eq!(error_in(&last_words(&mut wire)).0, "08P01");
    target_is_left(&database);
    bystander.is_unharmed();
}

#[test]
fn a_statement_that_is_too_long_is_refused_and_the_session_goes_on() {
    let (_database, gateway) = open();
    let mut bystander = Bystander::of(&gateway);
    let (mut wire, _) = Wire::login(&gateway.alice());
    let long = format!("SELECT '{}'", "x".repeat(8 << 20));
    assert_eq!(errors_of(&wire.query(&long)).len(), 1);
    wire.send_bytes(&[parse("", &long), bind("", "", &[], false), execute("", 0), sync()].concat());
    assert_eq!(errors_of(&wire.read_until("Z")).len(), 1);
    assert_eq!(tags_of(&wire.query("SELECT 1")), "TDCZ");
    bystander.is_unharmed();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_anything_leaves_nothing() {
    let (database, gateway) = open();
    database.direct().psql("CREATE TABLE kept (t text)").ok();
    let mut bystander = Bystander::of(&gateway);
    let terminate = message('X', &[]);
    // A Bind of 8 MiB, of which one is sent: it is passed on as it comes.
    let large = bind("", "", &[&"x".repeat(8 << 20)], false);
    let half = [&parse("", "SELECT $1::text"), &large[..1 << 20]].concat();
    let query = message('Q', &zero_ended("INSERT INTO kept VALUES ('half')"));
    let copy = message('Q', b"COPY kept FROM STDIN\0");
    let cases: [(&str, Vec<u8>); 9] = [
        ("at once", Vec::new()),
        ("in a message's header", query[..3].to_vec()),
        ("in a Query", query[..20].to_vec()),
        ("in a large Bind", half),
        ("between Bind and Sync", [parse("", "SELECT 1"), bind("", "", &[], false)].concat()),
        ("while a Query runs", message('Q', b"SELECT pg_sleep(600)\0")),
        ("while a result flows", message('Q', b"SELECT repeat('x', 1000) FROM generate_series(1, 1000000)\0")),
        ("in a COPY", [copy.clone(), message('d', b"one\n")].concat()),
        ("in CopyData", [&copy, &message('d', &vec![b'x'; 4 << 20])[..1 << 20]].concat()),
    ];
    for (what, bytes) in &cases {
        for goodbye in [&b""[..], &terminate] {
            let (mut wire, _) = Wire::login(&gateway.alice());
            let _ = wire.stream().write_all(bytes);
            // In the middle of a message a Terminate is more of that message.
            let _ = wire.stream().write_all(goodbye);
            let _ = wire.stream().shutdown(Shutdown::Both);
            drop(wire);
        }
        bystander.works();
        eventually(&format!("{what}: the target's sessions are over"), SOON, || database.connections() == 1);
    }
    assert_eq!(database.direct().psql("SELECT count(*) FROM kept").ok().trim(), "0", "nothing that was cut off ran");
    bystander.is_unharmed();
}
