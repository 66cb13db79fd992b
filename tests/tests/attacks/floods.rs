//! Clients that come in numbers, or that never finish what they say.

use std::{io::Write, time::Instant};

use sluicegate_tests::{
    Bystander, Gateway,
    tls::Authority,
    wire::{Wire, code},
};

use crate::{database, error_in, last_words, open};

/// How many of each kind of slow client there are.
const SLOW: usize = 10;

#[test]
fn clients_that_never_finish_their_login_are_dropped_and_keep_nobody_out() {
    let database = database();
    let tls = Authority::new();
    let gateway = Gateway::before(&database).tls(tls.issue("127.0.0.1")).start();
    let mut bystander = Bystander::of(&gateway);
    let started = Instant::now();
    let alice = gateway.alice();
    let half_packet = [&200u32.to_be_bytes()[..], &code::V3_0.to_be_bytes(), b"user\0al"].concat();
    let mut silent = Vec::new();
    let mut told = Vec::new();
    for _ in 0..SLOW {
        silent.push(Wire::connect(gateway.port()));
        let mut hello = Wire::connect(gateway.port());
        hello.send_packet(&code::SSL.to_be_bytes());
        assert_eq!(hello.read_byte(), b'S');
        hello.send_bytes(&[0x16, 3, 1, 2, 0]);
        silent.push(hello);
        let mut length = Wire::connect(gateway.port());
        length.send_bytes(&[0, 0]);
        told.push(length);
        let mut packet = Wire::connect(gateway.port());
        packet.send_bytes(&half_packet);
        told.push(packet);
        let mut secret = Wire::connect(gateway.port());
        secret.start_up(&alice, code::V3_0, &[]);
        secret.read_until("R");
        told.push(secret);
        let mut half_secret = Wire::connect(gateway.port());
        half_secret.start_up(&alice, code::V3_0, &[]);
        half_secret.read_until("R");
        half_secret.send_bytes(&[b'p', 0, 0, 0, 20, b'c']);
        told.push(half_secret);
    }
    // Others come and go meanwhile. One byte now and then buys no time.
    while started.elapsed().as_secs() < 25 {
        bystander.works();
        assert_eq!(alice.psql("SELECT 1").ok().trim(), "1");
        for wire in told.iter_mut().skip(1).step_by(4) {
            let _ = wire.stream().write_all(b"x");
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    for wire in &mut told {
        let (code, text) = error_in(&last_words(wire));
        assert!(code == "08P01" && text.contains("took too long"), "{code} {text}");
    }
    for wire in &mut silent {
        assert!(wire.is_closed_by_server());
    }
    assert!(started.elapsed().as_secs() < 60, "they were dropped after {:?}", started.elapsed());
    bystander.is_unharmed();
}

#[test]
fn a_flood_of_connections_meets_its_bound_and_passes() {
    let (_database, gateway) = open();
    let mut bystander = Bystander::of(&gateway);
    // One address has half of the 1024 places of those who have not logged in.
    let mut flood: Vec<_> = (0..540).map(|_| Wire::connect(gateway.port())).collect();
    gateway.wait_for_log(0, "half of the places to log in are taken from one address: refused");
    bystander.works();
    assert!(gateway.open_files() < 600, "{} files", gateway.open_files());
    let refused = flood.split_off(512);
    for mut wire in refused {
        assert!(wire.is_closed_by_server());
    }
    drop(flood);
    let log = gateway.log();
    let mentions = log.lines().filter(|line| line.contains("half of the places")).count();
    assert!(mentions < 10, "a flood is logged {mentions} times");
    // Those that come and go at once leave nothing either.
    for _ in 0..2000 {
        drop(std::net::TcpStream::connect(("127.0.0.1", gateway.port())));
    }
    bystander.is_unharmed();
}
