//! The start of a connection: TLS, the start-up packet, the secret, and the settings that the client
//! starts with. It ends with an admitted client, or with a cancel request.

use std::{net::SocketAddr, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use secrecy::SecretString;
use sluicegate_core::{
    Command, Denial, DenialKind, Gate, GatedSession, Halt, Hello, Phase, ResultSummary, SessionPermit, scope,
};
use sluicegate_net::{MaybeTls, ServerTls};
use sluicegate_sql::{Analyser, Catalog, Context};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    PROTOCOL,
    codec::{
        message,
        startup::{self, Opening, StartupError},
    },
    config::ALPN,
    error::SessionError,
    upstream::StartupParams,
};

/// The longest secret or token that a client may send.
const MAX_SECRET: usize = 16 * 1024;

/// So long a client may take to read why it is refused.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The first byte of a TLS handshake record: a client that speaks TLS at once.
const TLS_HANDSHAKE: u8 = 0x16;

/// Why a start-up setting that needs an approval is refused.
const NO_WAIT: &str = "it needs an approval, which a start-up setting cannot wait for; connect without it and use SET";

/// What a client wants.
pub enum Request {
    /// To open a session.
    Session {
        /// Its connection.
        stream: MaybeTls,
        /// What it says.
        start: Start,
    },
    /// To cancel what another connection runs.
    Cancel {
        /// That connection's process id, as it was told.
        pid: u32,
        /// That connection's key, as it was told.
        key: Bytes,
    },
}

/// A start-up message, taken apart.
pub struct Start {
    minor: u16,
    unknown: Vec<String>,
    user: String,
    database: String,
    application: String,
    settings: Vec<(String, String)>,
}

impl Start {
    /// The database that the client wants, unless it named none: then it is the user's name.
    pub fn wanted(&self) -> Option<&str> {
        (self.database != self.user).then_some(&*self.database)
    }

    /// What was said, but as another user who wants another database.
    pub fn redirected<'s>(&'s self, user: &'s str, database: &'s str) -> Vec<(&'s str, &'s str)> {
        let said = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let application = ("application_name", self.application.as_str());
        [("user", user), ("database", database), application].into_iter().chain(said).collect()
    }
}

/// Reads until it is known what the client wants, which it has to say before the `deadline`. `plaintext`
/// says that it may do without TLS. A client that is refused is told why, as far as it may know.
pub async fn receive(
    socket: TcpStream,
    tls: Option<&ServerTls>,
    plaintext: bool,
    deadline: Instant,
) -> Result<Request, SessionError> {
    let mut first = [0];
    let peeked = timeout_at(deadline, socket.peek(&mut first)).await.map_err(|_| SessionError::Timeout)?;
    peeked.map_err(SessionError::Client)?;
    let mut stream = match (first, tls) {
        ([TLS_HANDSHAKE], Some(tls)) => {
            let stream = tls.accept(socket).await?;
            // Without ALPN the bytes could be meant for another protocol (ALPACA).
            if stream.alpn() != Some(ALPN) {
                return Err(SessionError::Unsupported("direct TLS needs the ALPN protocol postgresql".into()));
            }
            stream
        }
        _ => MaybeTls::Plain(socket),
    };
    loop {
        let opening = timeout_at(deadline, opening(&mut stream)).await.unwrap_or(Err(SessionError::Timeout));
        let opening = match opening {
            Ok(opening) => opening,
            Err(error) => {
                refuse(&mut stream, &error).await;
                return Err(error);
            }
        };
        match (opening, stream) {
            (Opening::Cancel { pid, key }, _) => return Ok(Request::Cancel { pid, key }),
            (Opening::Ssl, MaybeTls::Plain(mut socket)) => match tls {
                Some(tls) => {
                    socket.write_all(b"S").await.map_err(SessionError::Client)?;
                    stream = tls.accept(socket).await?;
                }
                None => {
                    socket.write_all(b"N").await.map_err(SessionError::Client)?;
                    stream = MaybeTls::Plain(socket);
                }
            },
            (Opening::GssEnc, MaybeTls::Plain(mut socket)) => {
                socket.write_all(b"N").await.map_err(SessionError::Client)?;
                stream = MaybeTls::Plain(socket);
            }
            (Opening::Ssl | Opening::GssEnc, mut stream) => {
                let error = SessionError::from(StartupError::Malformed);
                refuse(&mut stream, &error).await;
                return Err(error);
            }
            (Opening::Startup { minor, parameters }, mut stream) => {
                if !stream.is_encrypted() && !plaintext {
                    refuse(&mut stream, &SessionError::Plaintext).await;
                    return Err(SessionError::Plaintext);
                }
                return match take_apart(minor, parameters) {
                    Ok(start) => Ok(Request::Session { stream, start }),
                    Err(error) => {
                        refuse(&mut stream, &error).await;
                        Err(error)
                    }
                };
            }
        }
    }
}

/// Tells the client why its connection ends, as far as it may know.
pub async fn refuse(stream: &mut MaybeTls, error: &SessionError) {
    if let Some((code, text)) = error.client_message() {
        let bytes = crate::deny::fatal(code, &text, "");
        // The client may be gone already, or read nothing; there is nobody else to tell.
        let _ = timeout(LAST_WORDS, async {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        })
        .await;
    }
}

async fn opening(stream: &mut MaybeTls) -> Result<Opening, SessionError> {
    Ok(startup::parse(&packet(stream).await?)?)
}

async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, SessionError> {
    let mut packet = BytesMut::zeroed(4);
    stream.read_exact(&mut packet).await.map_err(SessionError::Client)?;
    let length = startup::length(&packet)?.ok_or(StartupError::Length)?;
    packet.resize(length, 0);
    let body = packet.get_mut(4..).ok_or(StartupError::Length)?;
    stream.read_exact(body).await.map_err(SessionError::Client)?;
    Ok(packet.freeze())
}

fn take_apart(minor: u16, parameters: Vec<(String, String)>) -> Result<Start, SessionError> {
    let mut start = Start {
        minor,
        unknown: Vec::new(),
        user: String::new(),
        database: String::new(),
        application: String::new(),
        settings: Vec::new(),
    };
    for (name, value) in parameters {
        match name.as_str() {
            "user" => start.user = value,
            "database" => start.database = value,
            "application_name" => start.application = value,
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => {
                let text = "replication connections do not pass this gateway; connect without `replication`";
                return Err(SessionError::Unsupported(text.into()));
            }
            "options" => start.settings.extend(startup::options(&value).map_err(|_| {
                SessionError::Unsupported("only `-c name=value` and `--name=value` are understood in `options`".into())
            })?),
            name if name.starts_with("_pq_.") => start.unknown.push(name.to_owned()),
            _ => start.settings.push((name, value)),
        }
    }
    if start.user.is_empty() {
        return Err(SessionError::Unsupported("the start-up message names no user".into()));
    }
    if start.database.is_empty() {
        start.database.clone_from(&start.user);
    }
    Ok(start)
}

/// Asks for the secret, and lets the client in or not. Every setting it starts with is decided as
/// the SET that it is.
pub async fn admit(
    stream: &mut MaybeTls,
    start: Start,
    client: SocketAddr,
    gate: &Gate,
    analyser: &Analyser,
) -> Result<(SessionPermit, GatedSession, StartupParams), SessionError> {
    let secret = ask(stream, &start).await?;
    let hello =
        Hello { protocol: PROTOCOL, user: start.user, target: start.database, client, application: start.application };
    let (permit, mut gated) = gate.admit(hello, secret).await?;
    let session = gated.session().id;
    for (name, value) in &start.settings {
        let decided = decide_setting(&mut gated, analyser, name, value);
        if let Err(denial) = scope::in_session(session, decided).await {
            gated.close("a start-up setting was denied").await;
            return Err(SessionError::Setting(denial));
        }
    }
    Ok((permit, gated, StartupParams { settings: start.settings }))
}

/// Asks for the secret. The protocol is negotiated down to 3.0 before, where the client wants more.
pub async fn ask(stream: &mut MaybeTls, start: &Start) -> Result<SecretString, SessionError> {
    let mut out = BytesMut::new();
    if start.minor > 0 || !start.unknown.is_empty() {
        startup::negotiate(&start.unknown.iter().map(String::as_str).collect::<Vec<_>>(), &mut out);
    }
    // AuthenticationCleartextPassword: over TLS or loopback, and the only way to carry tokens.
    message::put(&mut out, b'R', |out| out.put_u32(3));
    stream.write_all(&out).await.map_err(SessionError::Client)?;
    stream.flush().await.map_err(SessionError::Client)?;
    secret(stream).await
}

async fn secret(stream: &mut MaybeTls) -> Result<SecretString, SessionError> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).await.map_err(SessionError::Client)?;
    let [tag, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if tag != b'p' || !(5..=MAX_SECRET).contains(&length) {
        return Err(StartupError::Malformed.into());
    }
    let mut body = zeroize::Zeroizing::new(vec![0; length - 4]);
    stream.read_exact(&mut body).await.map_err(SessionError::Client)?;
    match body.split_last() {
        Some((0, text)) => {
            let text = std::str::from_utf8(text).map_err(|_| StartupError::Malformed)?;
            Ok(SecretString::from(text))
        }
        _ => Err(StartupError::Malformed.into()),
    }
}

async fn decide_setting(gated: &mut GatedSession, analyser: &Analyser, name: &str, value: &str) -> Result<(), Denial> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let usable = !name.is_empty() && name.len() <= 63 && name.chars().all(is_name);
    let text = format!("SET {name} TO '{}'", value.replace('\'', "''"));
    let nothing = std::collections::HashMap::new();
    let context = Context {
        catalog: &Catalog::empty(),
        search_path: &[],
        standard_conforming_strings: true,
        prepared: &nothing,
        cursors: &nothing,
    };
    let analysis = analyser.analyse(&text, &context);
    let command = Command {
        verb: "query",
        phase: Phase::Run,
        text: text.into(),
        normalized: analysis.normalized.clone(),
        resources: Vec::new(),
        parameters: Vec::new(),
        wire: Default::default(),
        whole: true,
        context: "".into(),
        sql: Some(analysis.facts.clone()),
    };
    if !usable {
        let denial = Denial::gate("a start-up parameter has a name that no setting has");
        return Err(gated.refuse(command, denial).await);
    }
    // The setting travels in the StartupMessage that dialling sends.
    let flight = match gated.decide(command).await {
        Ok(permit) => permit.redeem(),
        Err(Halt::Denied(denial)) => return Err(denial),
        // Who starts a session has no way to hear that it waits.
        Err(Halt::Suspended) => {
            let denial = Denial::of(DenialKind::Cancelled, NO_WAIT);
            gated.give_up(denial.clone()).await?;
            return Err(denial);
        }
    };
    let summary = ResultSummary { status: "SET at start-up".into(), ..ResultSummary::default() };
    Ok(flight.finish(summary).await?)
}
