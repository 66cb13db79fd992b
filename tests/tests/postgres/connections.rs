//! The life of connections: behind a proxy that says who connects, and until they are idle or have lasted
//! for too long.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use sluicegate_tests::{
    Database, Gateway,
    programs::{eventually, outside_address},
    tls::Authority,
    wire::{Wire, code, errors_of, rows_of, tags_of},
};

use crate::{database, held, operations::signal, record::newest};

/// How a proxy begins that connects for a client over IPv4.
fn header(client: [u8; 4], port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    let addresses = [&client[..], &[192, 0, 2, 1], &port, &[0x15, 0x38]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &addresses].concat()
}

/// A gateway before which every local client is a proxy.
fn behind_proxy(database: &Database) -> Gateway {
    Gateway::before(database).table("proxy_protocol", "postgres = [\"127.0.0.0/8\"]").start()
}

/// Connects as a proxy that says this.
fn connect(gateway: &Gateway, beginning: &[u8]) -> Wire {
    let mut wire = Wire::connect(gateway.port());
    wire.send_bytes(beginning);
    wire
}

#[test]
fn the_client_that_a_proxy_names_is_recorded() {
    let database = database();
    let gateway = behind_proxy(&database);
    let mut wire = connect(&gateway, &header([127, 9, 8, 7], 54_321));
    wire.greet(&gateway.alice(), code::V3_0, &[]);
    assert_eq!(rows_of(&wire.query("SELECT 1")), [[Some("1".to_owned())]]);
    drop(wire);
    // It looks whether the gateway lives, and speaks for itself.
    let mut wire = connect(&gateway, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    wire.greet(&gateway.alice(), code::V3_0, &[]);
    drop(wire);
    eventually("both clients are recorded", Duration::from_secs(5), || {
        let clients = gateway.json(&["sessions", "list"]).to_string();
        clients.contains("127.9.8.7:54321") && clients.contains("127.0.0.1:")
    });
}

#[test]
fn a_client_that_the_proxy_reached_from_afar_needs_tls_all_the_same() {
    let database = database();
    let gateway = behind_proxy(&database);
    let mut wire = connect(&gateway, &header([203, 0, 113, 9], 54_321));
    wire.start_up(&gateway.alice(), code::V3_0, &[]);
    let said = wire.read_until("ER");
    assert_eq!((tags_of(&said).as_str(), errors_of(&said)), ("E", vec!["28000".to_owned()]));
}

#[test]
fn a_proxy_that_does_not_say_who_connects_is_refused() {
    let database = database();
    let gateway = behind_proxy(&database);
    for (beginning, said) in [
        (&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], "does not begin with a PROXY protocol header"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 54321 5432\r\n", "of version 1; have the proxy send version 2"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0", "names no client"),
    ] {
        let from = gateway.log().len();
        assert!(connect(&gateway, beginning).is_closed_by_server());
        gateway.wait_for_log(from, said);
        // A line of the kind is logged once a second.
        std::thread::sleep(Duration::from_millis(1100));
    }
}

#[test]
fn who_is_no_proxy_cannot_say_for_whom_it_connects() {
    let database = database();
    let lines = "postgres = [\"192.0.2.0/24\"]";
    let gateway = Gateway::before(&database).table("proxy_protocol", lines).start();
    assert_eq!(gateway.alice().psql("SELECT 1").ok().trim(), "1");
    assert!(connect(&gateway, &header([127, 9, 8, 7], 54_321)).is_closed_by_server());
    gateway.wait_for_log(0, "does not come from a configured proxy");
    let sessions = gateway.json(&["sessions", "list"]).to_string();
    assert!(!sessions.contains("127.9.8.7"), "{sessions}");

    // And where there are no proxies at all, it is garbage.
    let gateway = Gateway::before(&database).start();
    assert!(connect(&gateway, &header([127, 9, 8, 7], 54_321)).is_closed_by_server());
}

#[test]
fn the_api_knows_its_clients_behind_a_proxy() {
    let database = database();
    let gateway = Gateway::before(&database).admin().table("proxy_protocol", "admin = [\"127.0.0.1\"]").start();
    let ask = |beginning: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.admin_port())).unwrap();
        let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(&[beginning, request].concat()).unwrap();
        let mut answer = String::new();
        // Bytes that nobody reads any more are answered with a reset.
        let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
        answer
    };
    assert!(ask(&header([127, 9, 8, 7], 54_321)).starts_with("HTTP/1.1 401"));
    assert_eq!(ask(b""), "");
    gateway.wait_for_log(0, "does not begin with a PROXY protocol header");
}

#[test]
fn places_to_log_in_are_shared_by_the_proxy_s_clients() {
    let database = database();
    let gateway = Gateway::before(&database)
        .table("proxy_protocol", "postgres = [\"127.0.0.1\"]")
        .table("limits", "max_connections = 100\nmax_starting = 4")
        .start();
    let silent = |client| {
        let mut wire = connect(&gateway, &header([127, 0, 0, client], 1));
        wire.start_up(&gateway.alice(), code::V3_0, &[]);
        wire
    };
    let mut greedy = [silent(2), silent(2)];
    for wire in &mut greedy {
        assert_eq!(tags_of(&wire.read_until("R")), "R");
    }
    assert!(connect(&gateway, &header([127, 0, 0, 2], 1)).is_closed_by_server());
    gateway.wait_for_log(0, "half of the places to log in are taken from one address");
    assert_eq!(tags_of(&silent(3).read_until("R")), "R");
}

#[test]
fn an_idle_session_ends_with_postgresql_s_own_error() {
    let database = database();
    let gateway = Gateway::before(&database).target_lines("idle_timeout = \"2s\"").start();
    let (mut idle, _) = Wire::login(&gateway.alice());
    let (mut in_transaction, _) = Wire::login(&gateway.alice());
    in_transaction.query("BEGIN");
    let (mut busy, _) = Wire::login(&gateway.alice());
    let begun = Instant::now();
    assert_eq!(rows_of(&busy.query("SELECT 1 FROM pg_sleep(4)")).len(), 1);
    assert!(begun.elapsed() >= Duration::from_secs(4));
    for (wire, code) in [(&mut idle, "57P05"), (&mut in_transaction, "25P03")] {
        let last = wire.read_until("E");
        assert_eq!(errors_of(&last), [code]);
        let text = last.last().unwrap().field('M').unwrap();
        assert!(text.contains("was idle for 2s"), "{text}");
        assert!(wire.is_closed_by_server());
    }
    assert_eq!(errors_of(&busy.read_until("E")), ["57P05"]);
    let last = newest(&gateway, 3)["entries"].to_string();
    assert!(last.contains("the session was idle for 2s"), "{last}");
}

#[test]
fn a_session_that_waits_for_people_is_not_idle() {
    let database = database();
    let gateway = held::before(&database, held::DELETES).target_lines("idle_timeout = \"2s\"").start();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send('Q', format!("{}\0", held::DELETE).as_bytes());
    let id = held::waiting_id(&gateway);
    std::thread::sleep(Duration::from_secs(4));
    held::approve(&gateway, &id);
    let answers = tags_of(&wire.read_until("Z"));
    assert!(answers.ends_with("CZ"), "{answers}");
}

#[test]
fn a_session_that_has_lasted_too_long_ends_and_so_does_what_it_runs() {
    let database = database();
    let gateway = Gateway::before(&database).target_lines("max_session = \"3s\"").start();
    let (mut idle, _) = Wire::login(&gateway.alice());
    let (mut busy, _) = Wire::login(&gateway.alice());
    busy.send('Q', b"UPDATE orders SET id = id WHERE pg_sleep(60) IS NULL\0");
    for wire in [&mut idle, &mut busy] {
        let last = wire.read_until("E");
        assert_eq!(errors_of(&last), ["57P01"]);
        let text = last.last().unwrap().field('M').unwrap();
        assert!(text.contains("the session has lasted 3s"), "{text}");
        assert!(wire.is_closed_by_server());
    }
    nothing_runs(&database, "UPDATE orders");
}

/// Reads what a COPY without end brings, until the connection ends, and returns the end of it.
fn stream_to_the_end(gateway: &Gateway) -> String {
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send('Q', b"COPY (SELECT repeat('x', 100), n FROM generate_series(1, 3000000000) n) TO STDOUT\0");
    let (begun, mut end, mut buffer) = (Instant::now(), Vec::new(), vec![0; 65_536]);
    while let Ok(count @ 1..) = wire.stream().read(&mut buffer) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it goes on");
        end.extend_from_slice(&buffer[..count]);
        end.drain(..end.len().saturating_sub(1000));
    }
    String::from_utf8_lossy(&end).into_owned()
}

#[test]
fn a_session_that_never_rests_ends_when_it_has_lasted_too_long() {
    let gateway = Gateway::before(&database()).target_lines("max_session = \"2s\"").start();
    let end = stream_to_the_end(&gateway);
    assert!(end.contains("the session has lasted 2s"), "{end}");
}

#[test]
fn a_session_that_never_rests_ends_with_the_drain() {
    let mut gateway = Gateway::before(&database()).table("shutdown", "drain = \"4s\"").start();
    let end = std::thread::scope(|scope| {
        let streaming = scope.spawn(|| stream_to_the_end(&gateway));
        std::thread::sleep(Duration::from_secs(1));
        signal(&gateway, "TERM");
        streaming.join().expect("it ends")
    });
    assert!(end.contains("57P01"), "{end}");
    eventually("the gateway ends", Duration::from_secs(20), || !gateway.is_running());
    assert!(!gateway.log().contains("after the grace are cut"), "{}", gateway.log());
}

#[test]
fn who_has_not_logged_in_holds_up_no_stop() {
    let mut gateway = Gateway::before(&database()).start();
    let _silent = Wire::connect(gateway.port());
    let mut asked = Wire::connect(gateway.port());
    asked.start_up(&gateway.alice(), code::V3_0, &[]);
    asked.read_until("R");
    let begun = Instant::now();
    assert!(gateway.stop(Duration::from_secs(20)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(errors_of(&asked.read_until("E")), ["57P01"]);
}

#[test]
fn a_batch_that_is_left_open_does_not_keep_a_session() {
    let gateway = Gateway::before(&database()).target_lines("idle_timeout = \"2s\"").start();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.query("BEGIN");
    wire.send('P', b"\0SELECT 1\0\0\0");
    assert_eq!(errors_of(&wire.read_until("E")), ["25P03"]);
}

#[test]
fn a_held_command_ends_with_the_longest_session() {
    let database = database();
    let gateway = held::before(&database, held::DELETES).target_lines("max_session = \"8s\"").start();
    let (mut wire, _) = Wire::login(&gateway.alice());
    wire.send('Q', format!("{}\0", held::DELETE).as_bytes());
    let id = held::waiting_id(&gateway);
    let last = wire.read_until("E");
    assert_eq!(errors_of(&last), ["57P01"]);
    let text = last.last().unwrap().field('M').unwrap();
    assert!(text.contains("the command that waited for approval did not run"), "{text}");
    held::ended(&gateway, &id, "abandoned");
}

/// Waits until no session of a database runs what begins like this.
pub fn nothing_runs(database: &Database, begins: &str) {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '{begins}%'");
    eventually("the server has cancelled what ran", Duration::from_secs(10), || {
        database.administer(&count).trim() == "0"
    });
}

/// A proxy off this machine must not make a client look as if it were on it.
#[test]
fn a_proxy_from_afar_needs_tls_for_a_client_that_was_next_to_it() {
    let Some(outside) = outside_address() else {
        println!("this machine has no address but loopback, so there is no proxy from afar");
        return;
    };
    let database = database();
    let authority = Authority::new();
    let gateway = Gateway::before(&database)
        .tls(authority.issue("127.0.0.1"))
        .listen("0.0.0.0")
        .table("proxy_protocol", &format!("postgres = [\"{outside}\"]"))
        .start();
    let mut wire = Wire::connect_to(outside, gateway.port());
    wire.send_bytes(&header([127, 0, 0, 1], 54_321));
    wire.start_up(&gateway.alice(), code::V3_0, &[]);
    assert_eq!(errors_of(&wire.read_until("ER")), ["28000"]);
}
