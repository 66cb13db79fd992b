//! A way to the target that a test can break: it passes bytes on in both directions, until the target is to
//! die, to stall or to speak garbage.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::postgres::Database;

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The target closes the connection.
    Close,
    /// The target says nothing more, and keeps the connection.
    Stall,
    /// The target says this, and nothing of its own after it.
    Say(Vec<u8>),
}

/// Relays connections to a database's server until the test ends.
pub struct Relay {
    port: u16,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    /// How many bytes of the server still pass on each connection, and what happens then.
    fault: Mutex<Option<(usize, Fault)>>,
    /// Counts the faults that were planned: each connection begins to count its bytes anew.
    planned: AtomicUsize,
    happened: AtomicUsize,
}

impl Relay {
    /// A relay to this database's server, in which nothing is broken yet.
    pub fn before(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (plan, server) = (Arc::<Plan>::default(), database.port());
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let plan = Arc::clone(&shared);
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { continue };
                thread::spawn(move || copy(from_client, to_server));
                thread::spawn(move || plan.answer(server, client));
            }
        });
        Self { port, plan }
    }

    /// Where the gateway finds it, as a target's `address`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on, every connection that brings `after` further bytes from the server has this fault.
    pub fn breaks(&self, after: usize, fault: Fault) {
        *self.plan.fault.lock().expect("nobody panics with it") = Some((after, fault));
        self.plan.planned.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on nothing is broken; what stalled goes on.
    pub fn heals(&self) {
        *self.plan.fault.lock().expect("nobody panics with it") = None;
        self.plan.planned.fetch_add(1, Ordering::SeqCst);
    }

    /// How many connections had a fault.
    pub fn happened(&self) -> usize {
        self.plan.happened.load(Ordering::SeqCst)
    }
}

impl Plan {
    fn answer(&self, mut server: TcpStream, mut client: TcpStream) {
        let (mut seen, mut passed) = (0, 0);
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = server.read(&mut buffer) {
            let planned = self.planned.load(Ordering::SeqCst);
            if planned != seen {
                (seen, passed) = (planned, 0);
            }
            let fault = self.fault.lock().expect("nobody panics with it").clone();
            let room = fault.as_ref().map_or(count, |(after, _)| after.saturating_sub(passed).min(count));
            passed += room;
            if client.write_all(&buffer[..room]).is_err() {
                break;
            }
            let Some((_, fault)) = fault.filter(|_| room < count) else { continue };
            self.happened.fetch_add(1, Ordering::SeqCst);
            match fault {
                Fault::Close => break,
                Fault::Stall => {
                    while self.planned.load(Ordering::SeqCst) == planned {
                        thread::sleep(Duration::from_millis(20));
                    }
                    if client.write_all(&buffer[room..count]).is_err() {
                        break;
                    }
                }
                Fault::Say(bytes) => {
                    // The other end may close before it has read all of it.
                    let _ = client.write_all(&bytes);
                    while let Ok(1..) = server.read(&mut buffer) {}
                    break;
                }
            }
        }
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    }
}

/// Passes on what the gateway says, and its end.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    // Whichever end fails, the connection is over.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
