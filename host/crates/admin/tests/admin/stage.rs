//! A gateway in small: real users, tokens, gate and approvals, the API on a listener and on the socket,
//! and policies that ask for what a test says.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sluicegate_admin::{Api, ApiParts, Door, Health, LoginIssuer, Policies, Rights, router, serve_tcp};
use sluicegate_core::{
    Access, AccessParts, Approval, Approvals, Authenticator, Basis, Batch, Command, Denial, DenialKind, DigestKey,
    Directory, Gate, GateParts, GatedSession, Halt, Hello, Logins, Phase, Principal, Proven, Requirement, ResultSchema,
    Rules, Session, TargetAccess, Verification,
    approvals::{Announcer, ApprovalLimits},
    identity::Tokens,
    policy::{Flight, PolicyEngine, PolicySession, ResultRuling, RowsRuling, Ruling},
    record::{Recorder, Recording},
};
use sluicegate_identity::{BuiltinUsers, SecretHash, SessionTokens, User, hash_secret};
use sluicegate_metrics::{Metrics, Sources};
use sluicegate_net::{Exposure, Limits, Listener, stop_channel};

use crate::{logs, record::Ledger, wire::Network};

/// Who there is, with their only group. Only `ann` is an admin.
pub const CAST: [(&str, &str); 5] =
    [("ann", "admin"), ("alice", "engineering"), ("bob", "dba"), ("carl", "dba"), ("eve", "sales")];

/// A user of the cast, whose secret is `pw-` and their name.
pub fn user(name: &str) -> User {
    let group = CAST.iter().find(|(known, _)| *known == name).unwrap().1;
    let secret_hash = SecretHash::from(hash_secret(secret(name)).unwrap());
    User::person(name, vec![group.to_owned()], secret_hash)
}

/// Their secret.
pub fn secret(name: &str) -> SecretString {
    format!("pw-{name}").into()
}

/// Their `authorization` header.
pub fn basic(name: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{}", secret(name).expose_secret())))
}

/// One approval by a DBA.
pub fn by_a_dba() -> Requirement {
    Requirement {
        policy: "hold-for-approval".to_owned(),
        module: "00".repeat(32),
        rule: Some("holds[0]".to_owned()),
        reason: "it deletes rows".to_owned(),
        approvers: vec![Principal::Group("dba".to_owned())],
        min_approvals: 1,
        reason_required: false,
        expires_in: None,
        remember: None,
    }
}

/// One approval by an admin.
pub fn by_an_admin() -> Requirement {
    Requirement { approvers: Vec::new(), ..by_a_dba() }
}

/// The users, who may be too busy to be verified.
struct Desk {
    users: Arc<BuiltinUsers>,
    busy: AtomicBool,
}

impl Authenticator for Desk {
    fn verify<'a>(
        &'a self,
        user: &'a str,
        secret: SecretString,
    ) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        if self.busy.load(Ordering::SeqCst) {
            return Box::pin(async { Verification::Busy });
        }
        self.users.verify(user, secret)
    }
}

struct Engine(Arc<Mutex<Vec<Requirement>>>);

impl PolicyEngine for Engine {
    fn open(&self, _: Arc<Session>) -> Box<dyn PolicySession> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

impl PolicySession for Engine {
    fn may_mask(&self) -> bool {
        false
    }
    fn decides_commands(&self) -> bool {
        true
    }
    fn generation(&self) -> u64 {
        1
    }
    fn is_outdated(&self) -> bool {
        false
    }
    fn governing(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn opened(&mut self) -> Ruling {
        Ruling::default()
    }
    fn command(&mut self, _: u64, _: &Arc<Command>) -> (Ruling, Box<dyn Flight>) {
        let requirements = self.0.lock().unwrap().clone();
        (Ruling { requirements, ..Ruling::default() }, Box::new(Quiet))
    }
    fn closed(&mut self) {}
}

struct Quiet;

impl Flight for Quiet {
    fn sees_results(&self) -> bool {
        false
    }
    fn result(&mut self, _: &Arc<ResultSchema>) -> ResultRuling {
        ResultRuling::default()
    }
    fn rows(&mut self, _: &Arc<Batch>) -> RowsRuling {
        RowsRuling::default()
    }
}

struct Modules;

impl Policies for Modules {
    fn status(&self) -> Vec<Value> {
        vec![json!({"module": "pii-mask", "state": {"kind": "active"}})]
    }
}

/// Whether it says that it stops.
#[derive(Default)]
pub struct Stopping(AtomicBool);

impl Health for Stopping {
    fn unready(&self) -> Vec<&'static str> {
        if self.0.load(Ordering::SeqCst) { vec!["the gateway stops"] } else { Vec::new() }
    }
}

/// A gateway in small.
pub struct Stage {
    pub api: Api,
    pub users: Arc<BuiltinUsers>,
    pub tokens: Arc<SessionTokens>,
    pub ledger: Arc<Ledger>,
    pub approvals: Arc<Approvals>,
    gate: Arc<Gate>,
    desk: Arc<Desk>,
    asks: Arc<Mutex<Vec<Requirement>>>,
    stopping: Arc<Stopping>,
}

impl Stage {
    pub fn new() -> Self {
        Self::announcing(None)
    }

    pub fn announcing(announcer: Option<Arc<dyn Announcer>>) -> Self {
        logs::keep();
        let users = Arc::new(BuiltinUsers::new(&CAST.map(|(name, _)| user(name))).unwrap());
        let tokens = Arc::new(SessionTokens::new(Arc::clone(&users)));
        let ledger = Arc::new(Ledger::default());
        let recorder: Arc<dyn Recorder> = Arc::clone(&ledger) as _;
        let approvals =
            Approvals::new(ApprovalLimits::default(), Arc::clone(&recorder), announcer, DigestKey::derive(&[7; 32]));
        let asks = Arc::new(Mutex::new(Vec::new()));
        let desk = Arc::new(Desk { users: Arc::clone(&users), busy: AtomicBool::new(false) });
        let access = Access::new(AccessParts {
            directory: Arc::clone(&users) as _,
            tickets: Arc::default(),
            approvals: Arc::clone(&approvals),
            recorder: Arc::clone(&recorder),
        });
        let gate = Arc::new(Gate::new(GateParts {
            access: Arc::clone(&access),
            logins: Arc::new(Logins::new(Arc::clone(&desk) as _)),
            policies: Arc::new(Engine(Arc::clone(&asks))),
            recorder,
            recording: Recording::Ordered,
            max_output: 0,
            approvals: Arc::clone(&approvals),
        }));
        let allow = CAST.map(|(_, group)| Principal::Group(group.to_owned())).to_vec();
        let target = TargetAccess { protocol: "test", allow, ..TargetAccess::default() };
        let targets = ["orders", "stock"].map(|name| (name.to_owned(), target.clone())).into();
        access.set_rules(Rules { targets, roles: Vec::new() });
        let stopping = Arc::new(Stopping::default());
        let api = Api::new(ApiParts {
            sessions: Arc::clone(&ledger) as _,
            history: Arc::clone(&ledger) as _,
            approvals: Arc::clone(&approvals),
            policies: Arc::new(Modules),
            gate: Arc::clone(&gate),
            tokens: Arc::clone(&tokens) as _,
            health: Arc::clone(&stopping) as _,
            metrics: Metrics::new(&Sources {
                version: "1.2.3",
                gate: Arc::clone(gate.metrics()),
                policies: Arc::default(),
                holds: Arc::clone(approvals.metrics()),
                record: Arc::default(),
            }),
            rights: Rights {
                admins: vec![Principal::Group("admin".to_owned())],
                scrapers: vec![Principal::User("eve".to_owned())],
            },
            issuers: vec![LoginIssuer {
                issuer: "https://id.example.com".to_owned(),
                client_id: "sluicegate".to_owned(),
                scopes: vec!["openid".to_owned()],
            }],
        });
        api.set_ports([("test", 4711)].into());
        Self { api, users, tokens, ledger, approvals, gate, desk, asks, stopping }
    }

    /// A command of this user's that waits for what is required.
    pub async fn hold(&self, requester: &str, target: &str, requirements: &[Requirement]) -> Held {
        *self.asks.lock().unwrap() = requirements.to_vec();
        let hello = Hello {
            protocol: "test",
            user: requester.to_owned(),
            target: target.to_owned(),
            client: ([127, 0, 0, 1], 5).into(),
            application: "test".to_owned(),
        };
        let (_, mut session) = self.gate.admit(hello, secret(requester)).await.unwrap();
        assert!(matches!(session.decide(command()).await, Err(Halt::Suspended)));
        let approval = session.hold(false).await.unwrap();
        Held { session, approval }
    }

    /// A token of this user's.
    pub fn token(&self, name: &str) -> SecretString {
        let group = user(name).groups;
        let (identity, life) = self.users.called(name).unwrap();
        assert_eq!(identity.groups, group);
        self.tokens.issue(&Proven { identity, basis: Basis { life, ..Basis::default() } }).unwrap().0
    }

    /// Says that too much else is being verified, or not any more.
    pub fn busy(&self, busy: bool) {
        self.desk.busy.store(busy, Ordering::SeqCst);
    }

    /// Lets everybody use `orders`, and only this group the other target.
    pub fn only(&self, target: &str, group: &str) {
        let access = |groups: &[&str]| TargetAccess {
            protocol: "test",
            allow: groups.iter().map(|group| Principal::Group((*group).to_owned())).collect(),
            ..TargetAccess::default()
        };
        let everybody = CAST.map(|(_, group)| group);
        let targets = [("orders".to_owned(), access(&everybody)), (target.to_owned(), access(&[group]))].into();
        self.gate.access().set_rules(Rules { targets, roles: Vec::new() });
    }

    /// Says that it stops.
    pub fn stop(&self) {
        self.stopping.0.store(true, Ordering::SeqCst);
    }

    /// The API on a listener of this machine.
    pub async fn listen(&self) -> Network {
        self.listen_with(Limits { max_connections: 64, max_starting: 64, grace: Duration::from_secs(4) }).await
    }

    pub async fn listen_with(&self, limits: Limits) -> Network {
        let listener = Listener::bind("admin", "127.0.0.1:0", Exposure::LoopbackOnly, limits).await.unwrap();
        let address = listener.local_addr();
        let (stopper, stop) = stop_channel();
        let door = Door::Network { listen: format!("gate.internal:{}", address.port()), loopback: true };
        let served = tokio::spawn(serve_tcp(listener, None, router(self.api.clone(), door), stop));
        Network { address, stopper, served }
    }
}

/// A command that waits.
pub struct Held {
    session: GatedSession,
    pub approval: Approval,
}

impl Held {
    /// The path of its approval.
    pub fn path(&self) -> String {
        format!("/api/v1/approvals/{}", self.approval.id)
    }

    /// What came of it, once somebody answered.
    pub async fn outcome(mut self) -> Result<(), Halt> {
        tokio::time::timeout(Duration::from_secs(5), self.session.hold_over()).await.unwrap();
        self.session.decide(command()).await.map(drop)
    }

    /// The client cancels.
    pub async fn cancel(mut self) {
        self.session.end_hold(Denial::of(DenialKind::Cancelled, "the client cancelled"));
        self.outcome().await.unwrap_err();
    }
}

fn command() -> Command {
    Command {
        verb: "query",
        phase: Phase::Run,
        text: Arc::from("delete from orders"),
        normalized: Arc::from("delete from orders"),
        resources: vec!["public.orders".to_owned()],
        parameters: Vec::new(),
        wire: Default::default(),
        whole: true,
        context: Default::default(),
        sql: None,
    }
}
