//! Listeners under pressure: floods, connections that are gone before they are served, and proxies that
//! say nothing.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::net::sockopt;
use sluicegate_net::{Exposure, Limits, Listener, Proxies, Stopper, stop_channel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

const LIMITS: Limits = Limits { max_connections: 8, max_starting: 8, grace: Duration::from_millis(300) };

/// Greets each client by the address that it is known by, and waits until it goes.
async fn greeting(limits: Limits, proxies: &[&str]) -> (SocketAddr, Stopper, JoinHandle<()>) {
    let proxies = Proxies::new(proxies.iter().map(|network| network.parse().unwrap()).collect());
    let listener = Listener::bind("test", "127.0.0.1:0", Exposure::LoopbackOnly, limits).await.unwrap();
    let (address, listener) = (listener.local_addr(), listener.behind(proxies));
    let (stopper, stop) = stop_channel();
    let serving = tokio::spawn(listener.run(stop, |mut stream, client, slot, _stop| async move {
        slot.admitted();
        let _ = stream.write_all(client.to_string().as_bytes()).await;
        let _ = stream.read(&mut [0]).await;
    }));
    (address, stopper, serving)
}

/// Connects, says this, and hears how it is greeted; empty where it is turned away.
async fn greeted(address: SocketAddr, says: &[u8]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Who is turned away cannot say anything.
    let _ = stream.write_all(says).await;
    let mut heard = [0; 64];
    let count = stream.read(&mut heard).await.unwrap_or(0);
    (stream, String::from_utf8_lossy(heard.get(..count).unwrap()).into_owned())
}

async fn end(stopper: Stopper, serving: JoinHandle<()>) {
    stopper.stop();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_flood_is_turned_away_and_then_others_are_served() {
    let (address, stopper, serving) = greeting(LIMITS, &[]).await;
    let mut held = Vec::new();
    let mut turned_away = 0;
    for _ in 0..1000 {
        let (stream, heard) = greeted(address, b"").await;
        if heard.is_empty() {
            turned_away += 1;
        } else {
            held.push(stream);
        }
    }
    assert_eq!((held.len(), turned_away), (8, 992));
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while greeted(address, b"").await.1.is_empty() {
        assert!(Instant::now() < deadline, "the places are not free again");
    }
    end(stopper, serving).await;
}

#[tokio::test]
async fn connections_that_are_reset_at_once_do_no_harm() {
    let (address, stopper, serving) = greeting(LIMITS, &[]).await;
    for _ in 0..200 {
        let stream = TcpStream::connect(address).await.unwrap();
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while greeted(address, b"").await.1.is_empty() {
        assert!(Instant::now() < deadline, "the places are not free again");
    }
    end(stopper, serving).await;
}

const FROM_AFAR: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x01\xd4\x31\x15\x38";

#[tokio::test]
async fn whom_a_proxy_connects_for_is_served_in_its_stead() {
    let (address, stopper, serving) = greeting(LIMITS, &["127.0.0.0/8"]).await;
    assert_eq!(greeted(address, FROM_AFAR).await.1, "203.0.113.9:54321");
    let own = greeted(address, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await;
    assert_eq!(own.1, own.0.local_addr().unwrap().to_string());
    assert_eq!(greeted(address, b"\0\0\0\x08\x04\xd2\x16\x2f").await.1, "");
    end(stopper, serving).await;

    let (address, stopper, serving) = greeting(LIMITS, &["192.0.2.0/24"]).await;
    assert_eq!(greeted(address, FROM_AFAR).await.1, "");
    let plain = greeted(address, b"hello").await;
    assert_eq!(plain.1, plain.0.local_addr().unwrap().to_string());
    end(stopper, serving).await;
}

#[tokio::test]
async fn proxies_that_say_nothing_do_not_keep_their_places() {
    let limits = Limits { max_starting: 2, ..LIMITS };
    let (address, stopper, serving) = greeting(limits, &["127.0.0.0/8"]).await;
    let mut silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    assert_eq!(greeted(address, FROM_AFAR).await.1, "");
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while greeted(address, FROM_AFAR).await.1.is_empty() {
        assert!(Instant::now() < deadline, "the places are not free again");
    }
    end(stopper, serving).await;
}
