//! Listeners on real sockets: limits, exposure and the end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sluicegate_net::{BindError, Exposure, Limits, Listener, Slot, Stop, stop_channel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LIMITS: Limits = Limits { max_connections: 2, max_starting: 4, grace: Duration::from_millis(300) };

async fn listener(limits: Limits) -> Listener {
    Listener::bind("test", "127.0.0.1:0", Exposure::LoopbackOnly, limits).await.unwrap()
}

/// Says hello, then waits until the client hangs up.
async fn greet(mut stream: TcpStream, _peer: SocketAddr, _slot: Slot, _stop: Stop) {
    stream.write_all(b"hello").await.unwrap();
    let _ = stream.read(&mut [0]).await;
}

async fn greeted(address: SocketAddr) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut heard = vec![0; 5];
    let count = stream.read(&mut heard).await.unwrap_or(0);
    heard.truncate(count);
    (stream, heard)
}

#[tokio::test]
async fn the_surplus_is_closed_and_room_is_made_again() {
    let listener = listener(LIMITS).await;
    let address = listener.local_addr();
    let (stopper, stop) = stop_channel();
    let serving = tokio::spawn(listener.run(stop, greet));
    let (first, heard) = greeted(address).await;
    let (_second, heard_too) = greeted(address).await;
    assert_eq!((&heard[..], &heard_too[..]), (&b"hello"[..], &b"hello"[..]));
    assert_eq!(greeted(address).await.1, b"");

    drop(first);
    let deadline = Instant::now() + Duration::from_secs(5);
    while greeted(address).await.1.is_empty() {
        assert!(Instant::now() < deadline, "the slot is not free again");
    }
    stopper.stop();
    serving.await.unwrap();
}

#[tokio::test]
async fn those_who_never_say_who_they_are_keep_nobody_out() {
    let listener = listener(Limits { max_connections: 100, max_starting: 4, ..LIMITS }).await;
    let address = listener.local_addr();
    let (stopper, stop) = stop_channel();
    let serving = tokio::spawn(listener.run(stop, |mut stream, _peer, slot, _stop| async move {
        stream.write_all(b"hello").await.unwrap();
        if stream.read_u8().await.is_ok_and(|said| said == b'!') {
            slot.admitted();
            let _ = stream.write_all(b"in").await;
            let _ = stream.read_u8().await;
        }
    }));
    let mut admitted = Vec::new();
    let mut admit = async || {
        let (mut stream, heard) = greeted(address).await;
        if heard.is_empty() {
            return false;
        }
        stream.write_all(b"!").await.unwrap();
        stream.read_exact(&mut [0; 2]).await.unwrap();
        admitted.push(stream);
        true
    };
    for _ in 0..10 {
        assert!(admit().await, "an admitted connection holds no place to begin");
    }
    let silent = [greeted(address).await, greeted(address).await];
    assert!(silent.iter().all(|(_, heard)| heard == b"hello"));
    assert!(!admit().await, "half of the places to begin are one address's at most");
    drop(silent);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !admit().await {
        assert!(Instant::now() < deadline, "the places are not free again");
    }
    drop(admitted);
    stopper.stop();
    serving.await.unwrap();
}

#[tokio::test]
async fn without_tls_only_loopback_is_served() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = Listener::bind("test", address, Exposure::LoopbackOnly, LIMITS).await.err().unwrap();
        assert!(matches!(refused, BindError::Plaintext(_)), "{refused}");
    }
    for exposure in [Exposure::Tls, Exposure::Plaintext] {
        assert!(Listener::bind("test", "0.0.0.0:0", exposure, LIMITS).await.is_ok());
    }
    assert!(matches!(Listener::bind("test", "no-port", Exposure::Tls, LIMITS).await, Err(BindError::Resolve { .. })));
    let taken = listener(LIMITS).await;
    let again = Listener::bind("test", &taken.local_addr().to_string(), Exposure::Tls, LIMITS).await;
    assert!(matches!(again, Err(BindError::Bind { .. })));
}

#[tokio::test]
async fn stopping_lets_sessions_end_themselves_and_cuts_the_others() {
    let listener = listener(LIMITS).await;
    let address = listener.local_addr();
    let (stopper, stop) = stop_channel();
    let said_goodbye = Arc::new(AtomicBool::new(false));
    let handle = {
        let said_goodbye = Arc::clone(&said_goodbye);
        move |mut stream: TcpStream, _peer: SocketAddr, _slot: Slot, mut stop: Stop| {
            let said_goodbye = Arc::clone(&said_goodbye);
            async move {
                stream.write_all(b"hello").await.unwrap();
                let mut wish = [0];
                let _ = stream.read_exact(&mut wish).await;
                stop.asked().await;
                if wish == *b"p" {
                    said_goodbye.store(true, Ordering::SeqCst);
                } else {
                    std::future::pending::<()>().await;
                }
            }
        }
    };
    let serving = tokio::spawn(listener.run(stop.clone(), handle));
    let (mut polite, _) = greeted(address).await;
    let (mut stubborn, _) = greeted(address).await;
    polite.write_all(b"p").await.unwrap();
    stubborn.write_all(b"s").await.unwrap();
    assert!(!stop.is_asked());

    let asked = Instant::now();
    drop(stopper);
    assert!(stop.is_asked());
    serving.await.unwrap();
    assert!(asked.elapsed() >= LIMITS.grace && said_goodbye.load(Ordering::SeqCst));
    assert_eq!(stubborn.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

/// A client that vanished without a word is found by the system, after a minute and four probes.
#[tokio::test]
async fn clients_are_served_on_sockets_that_are_kept_alive() {
    use rustix::net::sockopt;
    let listener = listener(LIMITS).await;
    let address = listener.local_addr();
    let (stopper, stop) = stop_channel();
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let serving = tokio::spawn(listener.run(stop, move |stream, _peer, _slot, _stop| {
        let tell = tell.clone();
        async move {
            let probes = (sockopt::tcp_keepidle(&stream), sockopt::tcp_keepintvl(&stream));
            let set = (sockopt::socket_keepalive(&stream), probes, sockopt::tcp_keepcnt(&stream), stream.nodelay());
            tell.send(set).await.unwrap();
        }
    }));
    let _client = TcpStream::connect(address).await.unwrap();
    let (kept_alive, (idle, interval), probes, nodelay) = told.recv().await.unwrap();
    assert_eq!((kept_alive, nodelay.unwrap()), (Ok(true), true));
    let seconds = Duration::from_secs;
    assert_eq!((idle, interval, probes), (Ok(seconds(60)), Ok(seconds(15)), Ok(4)));
    stopper.stop();
    serving.await.unwrap();
}

/// Serves a session that ends only when it is overdue. Says how long that took from the word to stop.
async fn overdue_after(limits: Limits, stopping: impl AsyncFnOnce(&sluicegate_net::Stopper)) -> Duration {
    let listener = listener(limits).await;
    let address = listener.local_addr();
    let (stopper, stop) = stop_channel();
    let serving = tokio::spawn(listener.run(stop, |mut stream, _peer, _slot, mut stop| async move {
        stream.write_all(b"hello").await.unwrap();
        stop.overdue().await;
        stream.write_all(b"bye").await.unwrap();
    }));
    let (mut client, _) = greeted(address).await;
    let asked = Instant::now();
    stopping(&stopper).await;
    let mut last_words = String::new();
    client.read_to_string(&mut last_words).await.unwrap();
    assert_eq!(last_words, "bye");
    serving.await.unwrap();
    asked.elapsed()
}

#[tokio::test]
async fn sessions_have_their_last_words_before_the_grace_is_over() {
    let took = overdue_after(LIMITS, async |stopper| stopper.stop()).await;
    assert!(took >= LIMITS.grace / 2, "{took:?}");
}

#[tokio::test]
async fn a_second_word_ends_sessions_at_once() {
    let limits = Limits { grace: Duration::from_secs(3600), ..LIMITS };
    let stopping = async |stopper: &sluicegate_net::Stopper| {
        stopper.stop();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stopper.now();
    };
    assert!(overdue_after(limits, stopping).await < Duration::from_secs(60));
}

#[tokio::test]
async fn a_failing_session_ends_alone() {
    let listener = listener(LIMITS).await;
    let address = listener.local_addr();
    let (stopper, stop) = stop_channel();
    let serving = tokio::spawn(listener.run(stop, |mut stream, _peer, _slot, _stop| async move {
        let mut wish = [0];
        stream.read_exact(&mut wish).await.unwrap();
        assert_ne!(wish, *b"x");
        stream.write_all(&wish).await.unwrap();
    }));
    for wish in [b"x", b"y", b"x", b"x", b"z"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(wish).await.unwrap();
        let count = client.read(&mut [0]).await.unwrap_or(0);
        assert_eq!(count, usize::from(wish != b"x"));
    }
    stopper.stop();
    serving.await.unwrap();
}
