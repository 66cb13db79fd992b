//! A client that takes a result and looks at none of it, so that what is measured is the server and
//! what stands before it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use sluicegate_tests::{
    Endpoint,
    client::explain,
    wire::{message, zero_ended},
};
use tokio_postgres::NoTls;

/// How much is read at once.
const BUFFER: usize = 256 * 1024;

/// A session past its login.
pub struct Drain {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Drain {
    /// Logs in. tokio-postgres knows every way that somebody may ask for; what comes after is read here.
    pub fn connect(endpoint: &Endpoint) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let stream = TcpStream::connect(("127.0.0.1", endpoint.port)).expect("somebody listens");
        let ours = stream.try_clone().expect("a socket can be doubled");
        runtime.block_on(async {
            stream.set_nonblocking(true).expect("a socket takes the option");
            let stream = tokio::net::TcpStream::from_std(stream).expect("a socket that does not block");
            let logged_in = endpoint.config().connect_raw(stream, NoTls).await;
            // Both halves go here without having said a word more.
            drop(logged_in.unwrap_or_else(|error| panic!("no login on port {}: {}", endpoint.port, explain(&error))));
        });
        ours.set_nonblocking(false).expect("a socket takes the option");
        ours.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
        ours.set_nodelay(true).expect("a socket takes the option");
        Self { stream: ours, buffer: vec![0; BUFFER] }
    }

    /// Sends a query and reads up to ReadyForQuery; says how many rows came, by SELECT or by COPY.
    pub fn rows(&mut self, sql: &str) -> u64 {
        self.stream.write_all(&message('Q', &zero_ended(sql))).expect("the server reads");
        let (mut rows, mut filled) = (0, 0);
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).expect("a result within a minute");
            assert!(read > 0, "the connection ended within a result");
            filled += read;
            let mut rest = &self.buffer[..filled];
            while let Some((tag, body, after)) = first_message(rest) {
                match tag {
                    b'D' | b'd' => rows += 1,
                    b'E' => panic!("{sql}: {}", String::from_utf8_lossy(body)),
                    b'Z' => return rows,
                    _ => {}
                }
                rest = after;
            }
            let left = rest.len();
            self.buffer.copy_within(filled - left..filled, 0);
            filled = left;
        }
    }
}

/// A session that is over says so, as clients do.
impl Drop for Drain {
    fn drop(&mut self) {
        // Who has closed the connection already does not need to hear it.
        let _ = self.stream.write_all(&message('X', &[]));
    }
}

/// Rows per second of a query, run again and again for a while, each time with as many rows as it must have.
pub fn speed(endpoint: &Endpoint, sql: &str, expected: u64, length: Duration) -> f64 {
    let mut drain = Drain::connect(endpoint);
    drain.rows("SELECT 1");
    let (started, mut rows) = (Instant::now(), 0);
    while started.elapsed() < length {
        let came = drain.rows(sql);
        assert_eq!(came, expected, "{sql} has another number of rows");
        rows += came;
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

fn first_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, _) = bytes.split_first_chunk::<5>()?;
    let [tag, size @ ..] = *head;
    let size = u32::from_be_bytes(size) as usize;
    let (message, rest) = bytes.split_at_checked(1 + size)?;
    Some((tag, &message[5..], rest))
}
