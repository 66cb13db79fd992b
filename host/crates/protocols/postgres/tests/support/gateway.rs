//! A gateway before a temporary server. Its policies are a double that reads what to do from the text of
//! a command; its record stays in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::{backend::Message, frontend};
use secrecy::SecretString;
use sluicegate_core::{
    Access, AccessParts, Approval, ApprovalState, Approvals, Authenticator, Command, Denial, DenialKind, DigestKey,
    Directory, Gate, GateParts, Identity, Logins, Mask, Phase, Principal, Requirement, ResultSchema, Rules,
    TargetAccess, Verification,
    approvals::ApprovalLimits,
    policy::{Flight, Opinion, PolicyEngine, PolicySession, ResultRuling, RowsRuling, Ruling},
    record::{Appended, Entry, Event, Outcome, RecordFuture, Recorder, Recording},
};
use sluicegate_credentials::Credentials;
use sluicegate_net::{Exposure, Limits, Listener, Stopper, stop_channel};
use sluicegate_postgres::{HashKey, Server, ServerParts, Target};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, error::DbError};

pub struct Gateway {
    pub port: u16,
    pub approvals: Arc<Approvals>,
    pub double: Arc<Double>,
    record: Arc<Memory>,
    stopper: Stopper,
    server: Arc<Server>,
    /// The target without what each test adds.
    target: String,
}

/// What the policies do, beside what texts say.
#[derive(Default)]
pub struct Double {
    generation: AtomicU64,
    pub blocks: AtomicBool,
    pub may_mask: AtomicBool,
    /// What they were asked about last.
    pub asked: Mutex<Option<Arc<Command>>>,
}

impl Double {
    /// Other policies govern from now on.
    pub fn reload(&self, blocks: bool) {
        self.blocks.store(blocks, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Memory(Mutex<Vec<Entry>>);

impl Recorder for Memory {
    fn append(&self, entry: Entry) -> Appended<'_> {
        self.0.lock().unwrap().push(entry);
        Appended::Later(Box::pin(async { Ok(()) }))
    }

    fn flush(&self) -> RecordFuture<'_> {
        Box::pin(async { Ok(()) })
    }
}

/// A client, and the notices that it was sent.
pub struct Caller {
    pub client: Client,
    pub notices: Arc<Mutex<Vec<DbError>>>,
    pub notifications: Arc<Mutex<Vec<String>>>,
    /// Aborting it closes the socket.
    pub connection: JoinHandle<()>,
}

impl Gateway {
    pub async fn start(server: &super::server::Server, more: &str) -> Self {
        Self::before(&format!("address = \"localhost:{}\"", server.port), more).await
    }

    /// Before whatever is at this address, a line of the configuration.
    pub async fn before(address: &str, more: &str) -> Self {
        let record = Arc::new(Memory::default());
        let double = Arc::new(Double::default());
        let approvals = Approvals::new(ApprovalLimits::default(), record.clone(), None, DigestKey::derive(&[7; 32]));
        let access = Access::new(AccessParts {
            directory: Arc::new(Everybody),
            tickets: Arc::default(),
            approvals: approvals.clone(),
            recorder: record.clone(),
        });
        let gate = Gate::new(GateParts {
            logins: Arc::new(Logins::new(Arc::new(Everybody))),
            access: access.clone(),
            policies: Arc::new(Engine(double.clone())),
            recorder: record.clone(),
            recording: Recording::Ordered,
            max_output: 8192,
            approvals: approvals.clone(),
        });
        let allow = vec![Principal::Group("engineering".to_owned())];
        let place = TargetAccess { protocol: "postgres", allow, ..TargetAccess::default() };
        access.set_rules(Rules { targets: HashMap::from([("orders".to_owned(), place)]), roles: Vec::new() });
        let target = format!("{address}\ndatabase = \"postgres\"\nusername = \"postgres\"\n");
        let gateway = Server::new(ServerParts {
            gate: Arc::new(gate),
            hash_key: Arc::new(HashKey::new([7; 32])),
            tls: None,
            allow_plaintext: false,
        });
        let limits = Limits { max_connections: 100, max_starting: 100, grace: Duration::from_secs(5) };
        let listener = Listener::bind("postgres", "127.0.0.1:0", Exposure::LoopbackOnly, limits).await.unwrap();
        let port = listener.local_addr().port();
        let (stopper, stop) = stop_channel();
        let started = Self { port, approvals, double, record, stopper, server: Arc::clone(&gateway), target };
        started.reconfigure(more);
        tokio::spawn(gateway.serve(listener, stop));
        started
    }

    /// Users are about to change.
    pub fn forget_connections(&self) {
        self.server.forget_connections();
    }

    /// Puts the target in force with these lines.
    pub fn reconfigure(&self, more: &str) {
        let config = toml::from_str(&format!("{}{more}", self.target)).unwrap();
        self.server.set_targets(HashMap::from([(
            "orders".to_owned(),
            Target::prepare(&config, &Credentials::new()).unwrap(),
        )]));
    }

    pub fn stop(&self) {
        self.stopper.stop();
    }

    pub async fn connect(&self) -> Caller {
        self.connect_with("").await
    }

    pub async fn connect_with(&self, options: &str) -> Caller {
        let text = format!("host=127.0.0.1 port={} user=alice password=x dbname=orders {options}", self.port);
        let (client, mut connection) = text.parse::<Config>().unwrap().connect(NoTls).await.unwrap();
        let (notices, notifications) = (Arc::<Mutex<Vec<DbError>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (noted, heard) = (Arc::clone(&notices), Arc::clone(&notifications));
        let connection = tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    AsyncMessage::Notice(notice) => noted.lock().unwrap().push(notice),
                    AsyncMessage::Notification(news) => heard.lock().unwrap().push(news.payload().to_owned()),
                    _ => {}
                }
            }
        });
        Caller { client, notices, notifications, connection }
    }

    /// The approval that is waited for, once there is one.
    pub async fn pending(&self) -> Approval {
        eventually("nobody waits for an approval", || self.approvals.pending().pop()).await
    }

    pub async fn nobody_waits(&self) {
        eventually("somebody still waits", || self.approvals.pending().is_empty().then_some(())).await;
    }

    pub async fn answer(&self, approved: bool) -> Approval {
        let id = self.pending().await.id;
        let bob = Identity::builtin("bob", vec!["dba".to_owned()]);
        self.approvals.answer(id, &bob, &[], approved, "as agreed").await.unwrap()
    }

    pub fn events(&self) -> Vec<Event> {
        self.record.0.lock().unwrap().iter().map(|entry| entry.event.clone()).collect()
    }

    /// How the holds so far ended.
    pub fn ended(&self) -> Vec<ApprovalState> {
        let state = |event: Event| if let Event::HoldEnded(ended) = event { Some(ended.state) } else { None };
        self.events().into_iter().filter_map(state).collect()
    }

    /// The outcome of the newest command with this text, once there is one.
    pub async fn outcome(&self, text: &str) -> Outcome {
        let found = || {
            let events = self.events();
            let sequence = events.iter().rev().find_map(|event| match event {
                Event::Command(command) if command.text.contains(text) => Some(command.sequence),
                _ => None,
            })?;
            events.into_iter().rev().find_map(|event| match event {
                Event::Outcome(outcome) if outcome.sequence == sequence => Some(outcome),
                _ => None,
            })
        };
        eventually("there is no outcome", found).await
    }
}

pub async fn eventually<T>(otherwise: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{otherwise}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Everybody;

impl Directory for Everybody {
    fn standing(&self, identity: &Identity, _: u64) -> Option<Identity> {
        Some(identity.clone())
    }

    fn called(&self, _: &str) -> Option<(Identity, u64)> {
        None
    }
}

impl Authenticator for Everybody {
    fn verify<'a>(
        &'a self,
        user: &'a str,
        _secret: SecretString,
    ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        let identity = Identity::builtin(user, vec!["engineering".to_owned()]);
        Box::pin(async move { Verification::Verified(identity.into()) })
    }
}

struct Engine(Arc<Double>);

impl PolicyEngine for Engine {
    fn open(&self, _session: Arc<sluicegate_core::Session>) -> Box<dyn PolicySession> {
        Box::new(Policies { double: self.0.clone(), seen: 0 })
    }
}

struct Policies {
    double: Arc<Double>,
    seen: u64,
}

impl PolicySession for Policies {
    fn decides_commands(&self) -> bool {
        true
    }

    fn generation(&self) -> u64 {
        self.seen
    }

    fn is_outdated(&self) -> bool {
        self.double.generation.load(Ordering::SeqCst) != self.seen
    }

    fn may_mask(&self) -> bool {
        self.double.may_mask.load(Ordering::SeqCst)
    }

    fn governing(&self) -> Vec<(String, String)> {
        vec![("double".to_owned(), self.seen.to_string())]
    }

    fn opened(&mut self) -> Ruling {
        Ruling::default()
    }

    fn command(&mut self, _sequence: u64, command: &Arc<Command>) -> (Ruling, Box<dyn Flight>) {
        self.seen = self.double.generation.load(Ordering::SeqCst);
        *self.double.asked.lock().unwrap() = Some(Arc::clone(command));
        let says = |word: &str| command.text.contains(word);
        let mut ruling = Ruling::default();
        if command.phase == Phase::Run && (says("/* hold") || command.verb == "function-call") {
            ruling.requirements.push(Requirement {
                policy: "double".to_owned(),
                module: String::new(),
                rule: None,
                reason: "it says so".to_owned(),
                approvers: vec![Principal::Group("dba".to_owned())],
                min_approvals: 1,
                reason_required: false,
                expires_in: says("expire").then_some(1),
                remember: says("remember").then_some(60),
            });
            if self.double.blocks.load(Ordering::SeqCst) {
                let reason = "the policy changed its mind".to_owned();
                ruling.denial = Some(Denial { kind: DenialKind::Policy, policy: Some("double".to_owned()), reason });
            }
        }
        (ruling, Box::new(Results { sees: says("/* sees */") || self.may_mask() }))
    }

    fn closed(&mut self) {}
}

struct Results {
    sees: bool,
}

impl Flight for Results {
    fn sees_results(&self) -> bool {
        self.sees
    }

    /// Masks columns by their names: `masked_x`, and spares `spared_x`.
    fn result(&mut self, schema: &Arc<ResultSchema>) -> ResultRuling {
        let mut ruling = ResultRuling::default();
        for (index, column) in (0_u32..).zip(&schema.columns) {
            if column.name.starts_with("masked") {
                ruling.plan.mask(index, schema.columns.len(), Mask::Redact).unwrap();
            }
            if column.name.starts_with("spared") {
                ruling.plan.spare(index, schema.columns.len()).unwrap();
            }
        }
        ruling.opinions = Vec::<Opinion>::new();
        ruling
    }

    fn rows(&mut self, _batch: &Arc<sluicegate_core::Batch>) -> RowsRuling {
        RowsRuling::default()
    }
}

/// A client that writes messages as it likes.
pub struct Wire {
    stream: tokio::net::TcpStream,
    buffer: bytes::BytesMut,
}

impl Wire {
    pub async fn connect(gateway: &Gateway) -> Self {
        Self::greeted(gateway, &[]).await.1
    }

    /// With these start-up parameters; returns the settings that are reported, too.
    pub async fn greeted(gateway: &Gateway, more: &[(&str, &str)]) -> (Vec<(String, String)>, Self) {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let mut wire = Self { stream, buffer: bytes::BytesMut::new() };
        let mut out = bytes::BytesMut::new();
        let parameters = [("user", "alice"), ("database", "orders")].into_iter().chain(more.iter().copied());
        frontend::startup_message(parameters, &mut out).unwrap();
        frontend::password_message(b"x", &mut out).unwrap();
        wire.stream.write_all(&out).await.unwrap();
        let mut reported = Vec::new();
        loop {
            match Message::parse(&mut wire.buffer).unwrap() {
                Some(Message::ReadyForQuery(_)) => return (reported, wire),
                Some(Message::ParameterStatus(body)) => {
                    reported.push((body.name().unwrap().to_owned(), body.value().unwrap().to_owned()));
                }
                Some(Message::ErrorResponse(_)) => panic!("the login is refused"),
                Some(_) => {}
                None => assert_ne!(wire.stream.read_buf(&mut wire.buffer).await.unwrap(), 0, "the gateway closed"),
            }
        }
    }

    /// Parse, Bind and Execute of each text, and one Sync.
    pub async fn batch(&mut self, texts: &[&str]) {
        let mut out = bytes::BytesMut::new();
        for text in texts {
            frontend::parse("", text, [], &mut out).unwrap();
            let bound = frontend::bind("", "", [], [0_u8; 0], |_, _| Ok(postgres_protocol::IsNull::Yes), [], &mut out);
            assert!(bound.is_ok());
            frontend::execute("", 0, &mut out).unwrap();
        }
        frontend::sync(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    pub async fn function_call(&mut self, function: u32) {
        let body = [&function.to_be_bytes()[..], &[0; 6]].concat();
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.stream.write_all(&[b"F", &length[..], &body].concat()).await.unwrap();
    }

    /// The SQLSTATEs of the errors until the server is ready again.
    pub async fn errors_until_ready(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        loop {
            match Message::parse(&mut self.buffer).unwrap() {
                Some(Message::ReadyForQuery(_)) => return errors,
                Some(Message::ErrorResponse(body)) => {
                    let mut fields = body.fields();
                    while let Some(field) = fields.next().unwrap() {
                        if field.type_() == b'C' {
                            errors.push(String::from_utf8_lossy(field.value_bytes()).into_owned());
                        }
                    }
                }
                Some(_) => {}
                None => assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the gateway closed"),
            }
        }
    }
}
