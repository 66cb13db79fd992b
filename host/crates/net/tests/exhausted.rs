//! A gateway that runs out of file descriptors goes on once there are some again. Alone in its
//! process, since the limit is the process's.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sluicegate_net::{Exposure, Limits, Listener, stop_channel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

#[tokio::test]
async fn accepting_survives_too_many_open_files() {
    let limits = Limits { max_connections: 10, max_starting: 10, grace: Duration::ZERO };
    let listener = Listener::bind("test", "127.0.0.1:0", Exposure::Tls, limits).await.unwrap();
    let address = listener.local_addr();
    let (stopper, stop) = stop_channel();
    let serving = tokio::spawn(listener.run(stop, |mut stream, _peer, _slot, _stop| async move {
        stream.write_all(b"x").await.unwrap();
    }));
    let client = TcpSocket::new_v4().unwrap();

    let before = getrlimit(Resource::Nofile);
    // The standard streams hold all that are below.
    let none_left = Rlimit { current: Some(3), ..before };
    setrlimit(Resource::Nofile, none_left).unwrap();
    let mut client = client.connect(address).await.unwrap();
    let mut byte = [0];
    let waited = tokio::time::timeout(Duration::from_millis(300), client.read(&mut byte)).await;
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(waited.is_err(), "the connection could not have been accepted");
    assert_eq!(client.read(&mut byte).await.unwrap(), 1);
    stopper.stop();
    serving.await.unwrap();
}
