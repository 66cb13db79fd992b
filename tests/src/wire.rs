//! A frontend that sends exactly the messages a test wants, in the order it wants them: for what no
//! well-behaved client would do. Formats are those of the PostgreSQL manual, "Message Formats":
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, TcpStream},
    time::Duration,
};

use crate::client::Endpoint;

/// The codes that stand where a start-up packet has its protocol version.
pub mod code {
    /// SSLRequest.
    pub const SSL: u32 = 80_877_103;
    /// GSSENCRequest.
    pub const GSS: u32 = 80_877_104;
    /// CancelRequest.
    pub const CANCEL: u32 = 80_877_102;
    /// Protocol 3.0.
    pub const V3_0: u32 = 3 << 16;
    /// Protocol 3.2.
    pub const V3_2: u32 = (3 << 16) | 2;
}

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type byte.
    pub tag: char,
    /// What follows its length.
    pub body: Vec<u8>,
}

/// A connection that no login has touched yet, or one that is past it.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Connects to a port of 127.0.0.1 and says nothing.
    pub fn connect(port: u16) -> Self {
        Self::connect_to(IpAddr::from([127, 0, 0, 1]), port)
    }

    /// Connects to a port of another address of this machine and says nothing.
    pub fn connect_to(address: IpAddr, port: u16) -> Self {
        let stream = TcpStream::connect((address, port)).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes the option");
        Self { stream }
    }

    /// Connects from another of this machine's loopback addresses, as somebody else would.
    pub fn connect_from(source: IpAddr, port: u16) -> Self {
        let connecting = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((source, 0).into())?;
            socket.connect(([127, 0, 0, 1], port).into()).await?.into_std()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let stream = runtime.and_then(|runtime| runtime.block_on(connecting)).expect("somebody listens");
        stream.set_nonblocking(false).expect("a socket takes the option");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
        Self { stream }
    }

    /// Connects and logs in; returns what the server said from its greeting to ReadyForQuery.
    pub fn login(endpoint: &Endpoint) -> (Self, Vec<Message>) {
        Self::login_with(endpoint, code::V3_0, &[])
    }

    /// Connects and logs in; none where nobody listens or the connection ends before the session begins.
    pub fn try_login(endpoint: &Endpoint) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", endpoint.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let mut wire = Self { stream };
        let who = [("user", endpoint.user.as_str()), ("database", endpoint.database.as_str())];
        let who: Vec<u8> =
            who.iter().flat_map(|(name, value)| [zero_ended(name), zero_ended(value)].concat()).collect();
        let body = [&code::V3_0.to_be_bytes()[..], &who, &[0]].concat();
        wire.stream.write_all(&[length(body.len() + 4), body].concat()).ok()?;
        loop {
            match wire.read().ok()? {
                Message { tag: 'R', body } if body == [0, 0, 0, 3] => {
                    wire.try_send('p', &zero_ended(&endpoint.password)).ok()?;
                }
                Message { tag: 'Z', .. } => return Some(wire),
                Message { tag: 'E', .. } => return None,
                _ => {}
            }
        }
    }

    /// Logs in with further start-up parameters.
    pub fn login_with(endpoint: &Endpoint, version: u32, parameters: &[(&str, &str)]) -> (Self, Vec<Message>) {
        let mut wire = Self::connect(endpoint.port);
        let greeting = wire.greet(endpoint, version, parameters);
        (wire, greeting)
    }

    /// Logs in on a connection that has said nothing yet.
    pub fn greet(&mut self, endpoint: &Endpoint, version: u32, parameters: &[(&str, &str)]) -> Vec<Message> {
        self.start_up(endpoint, version, parameters);
        let mut greeting = self.read_until("RZE");
        if greeting.last().is_some_and(|message| message.tag == 'R') {
            self.password(&endpoint.password);
            greeting.extend(self.read_until("ZE"));
        }
        greeting
    }

    /// Sends the start-up packet.
    pub fn start_up(&mut self, endpoint: &Endpoint, version: u32, parameters: &[(&str, &str)]) {
        let mut body = version.to_be_bytes().to_vec();
        let who = [("user", endpoint.user.as_str()), ("database", endpoint.database.as_str())];
        for (name, value) in who.iter().chain(parameters) {
            body.extend(zero_ended(name));
            body.extend(zero_ended(value));
        }
        body.push(0);
        self.send_packet(&body);
    }

    /// Sends a PasswordMessage.
    pub fn password(&mut self, password: &str) {
        self.send('p', &zero_ended(password));
    }

    /// Sends a packet that has a length and no type.
    pub fn send_packet(&mut self, body: &[u8]) {
        let mut packet = length(body.len() + 4);
        packet.extend(body);
        self.send_bytes(&packet);
    }

    /// Sends one message.
    pub fn send(&mut self, tag: char, body: &[u8]) {
        self.send_bytes(&message(tag, body));
    }

    /// The connection itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends one message, if somebody is still there.
    pub fn try_send(&mut self, tag: char, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(&message(tag, body))
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends a Query and reads up to ReadyForQuery.
    pub fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send('Q', &zero_ended(sql));
        self.read_until("Z")
    }

    /// Reads one message; an error where the server closed the connection or is silent for too long.
    pub fn read(&mut self) -> io::Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [tag, size @ ..] = head;
        let size = u32::from_be_bytes(size) as usize;
        let mut body = vec![0; size.checked_sub(4).expect("a length counts itself")];
        self.stream.read_exact(&mut body)?;
        Ok(Message { tag: char::from(tag), body })
    }

    /// Reads up to and with the first message of one of these types.
    pub fn read_until(&mut self, tags: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.read() {
                Ok(message) => messages.push(message),
                Err(error) => panic!("waiting for one of {tags}, after {}: {error}", tags_of(&messages)),
            }
            if messages.last().is_some_and(|message| tags.contains(message.tag)) {
                return messages;
            }
        }
    }

    /// Reads a line, for what is no PostgreSQL.
    pub fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(self.read_byte());
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Reads a single byte: the answer to SSLRequest.
    pub fn read_byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).expect("an answer of one byte");
        byte[0]
    }

    /// Whether the server closes the connection, whatever it says before.
    pub fn is_closed_by_server(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

impl Message {
    /// A field of an ErrorResponse or NoticeResponse by its type; `C` is the SQLSTATE.
    pub fn field(&self, tag: char) -> Option<String> {
        let mut fields = self.body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        let field = fields.find(|field| field.first() == Some(&(tag as u8)))?;
        Some(String::from_utf8_lossy(field.get(1..)?).into_owned())
    }

    /// The values of a DataRow.
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.tag, 'D', "only a DataRow has values");
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        let mut rest = &self.body[2..];
        let mut values = Vec::new();
        for _ in 0..count {
            let (size, after) = rest.split_first_chunk::<4>().expect("a length for each value");
            let size = i32::from_be_bytes(*size);
            let (value, after) = after.split_at(usize::try_from(size).unwrap_or(0));
            values.push((size >= 0).then(|| value.to_vec()));
            rest = after;
        }
        assert!(rest.is_empty(), "a DataRow ends with its last value");
        values
    }
}

/// The types of messages, one letter each: `TDDCZ`.
pub fn tags_of(messages: &[Message]) -> String {
    messages.iter().map(|message| message.tag).collect()
}

/// The SQLSTATEs of the errors among messages.
pub fn errors_of(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.tag == 'E').filter_map(|message| message.field('C')).collect()
}

/// The values of the rows among messages, as text; NULL is `None`.
pub fn rows_of(messages: &[Message]) -> Vec<Vec<Option<String>>> {
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let rows = messages.iter().filter(|message| message.tag == 'D');
    rows.map(|row| row.values().into_iter().map(|value| value.map(text)).collect()).collect()
}

/// Whether any message holds these bytes.
pub fn holds(messages: &[Message], bytes: &str) -> bool {
    messages.iter().any(|message| message.body.windows(bytes.len()).any(|window| window == bytes.as_bytes()))
}

/// One message as bytes.
pub fn message(tag: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag as u8];
    bytes.extend(length(body.len() + 4));
    bytes.extend(body);
    bytes
}

/// Parse, with no parameter types.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message('P', &[zero_ended(name), zero_ended(sql), vec![0, 0]].concat())
}

/// Bind with text parameters; `binary` asks for every result column in binary.
pub fn bind(portal: &str, statement: &str, parameters: &[&str], binary: bool) -> Vec<u8> {
    let mut body = [zero_ended(portal), zero_ended(statement), vec![0, 0]].concat();
    body.extend((parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        body.extend(length(parameter.len()));
        body.extend(parameter.as_bytes());
    }
    body.extend(if binary { vec![0, 1, 0, 1] } else { vec![0, 0] });
    message('B', &body)
}

/// Describe a statement (`S`) or a portal (`P`).
pub fn describe(kind: char, name: &str) -> Vec<u8> {
    message('D', &[vec![kind as u8], zero_ended(name)].concat())
}

/// Execute a portal; 0 rows means all.
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message('E', &[zero_ended(portal), rows.to_be_bytes().to_vec()].concat())
}

/// Close a statement (`S`) or a portal (`P`).
pub fn close(kind: char, name: &str) -> Vec<u8> {
    message('C', &[vec![kind as u8], zero_ended(name)].concat())
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message('S', &[])
}

/// Text with the zero byte that ends it.
pub fn zero_ended(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn length(size: usize) -> Vec<u8> {
    u32::try_from(size).expect("a small message").to_be_bytes().to_vec()
}
