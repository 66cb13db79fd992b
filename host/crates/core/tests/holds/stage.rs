//! What the gate stands on in these tests: a record in memory, policies whose answers the test sets,
//! and sessions of the cast.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use secrecy::SecretString;
use sluicegate_core::{
    Access, AccessParts, Approvals, Authenticator, Batch, Command, Denial, DenialKind, DigestKey, Directory, Gate,
    GateParts, GatedSession, Hello, Identity, Logins, Phase, Principal, Requirement, ResultSchema, Session,
    TargetAccess, Verification,
    approvals::ApprovalLimits,
    command::Parameter,
    policy::{Flight, PolicyEngine, PolicySession, ResultRuling, RowsRuling, Ruling},
    record::{Appended, Entry, Event, RecordError, RecordFuture, Recorder, Recording},
};

use crate::cast;

/// A target.
pub const ORDERS: &str = "orders";
/// Another one.
pub const BILLING: &str = "billing";

/// A record in memory.
#[derive(Default)]
pub struct Ledger {
    entries: Mutex<Vec<Entry>>,
    flushed: AtomicUsize,
    broken: AtomicBool,
    disk: Mutex<Duration>,
}

impl Ledger {
    /// Everything recorded so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// Whether an entry that has to be on disk is not.
    pub fn owes_the_disk(&self) -> bool {
        let entries = self.entries.lock().unwrap();
        let late = entries.iter().skip(self.flushed.load(Ordering::SeqCst));
        late.into_iter().any(|e| matches!(e.event, Event::Held(_) | Event::Answered(_) | Event::HoldEnded(_)))
    }

    /// From now on nothing can be written, or again.
    pub fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// From now on the disk takes this long.
    pub fn slow_down(&self, disk: Duration) {
        *self.disk.lock().unwrap() = disk;
    }

    fn state(&self) -> Result<(), RecordError> {
        if self.broken.load(Ordering::SeqCst) { Err(RecordError("the disk is full".to_owned())) } else { Ok(()) }
    }
}

impl Recorder for Ledger {
    fn append(&self, entry: Entry) -> Appended<'_> {
        Appended::Later(Box::pin(async move {
            // A queue has its moment too, in which others go on.
            tokio::task::yield_now().await;
            self.state()?;
            self.entries.lock().unwrap().push(entry);
            Ok(())
        }))
    }

    fn flush(&self) -> RecordFuture<'_> {
        Box::pin(async move {
            self.state()?;
            let so_far = self.entries.lock().unwrap().len();
            let disk = *self.disk.lock().unwrap();
            if disk.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(disk).await;
            }
            self.flushed.fetch_max(so_far, Ordering::SeqCst);
            Ok(())
        })
    }
}

/// What the policies answer at the moment.
#[derive(Debug, Default)]
pub struct Rules {
    requirements: Vec<Requirement>,
    blocks: bool,
    generation: u64,
}

struct Engine(Arc<Mutex<Rules>>);

struct EngineSession {
    rules: Arc<Mutex<Rules>>,
    seen: u64,
}

struct Quiet;

impl PolicyEngine for Engine {
    fn open(&self, _: Arc<Session>) -> Box<dyn PolicySession> {
        let seen = self.0.lock().unwrap().generation;
        Box::new(EngineSession { rules: Arc::clone(&self.0), seen })
    }
}

impl PolicySession for EngineSession {
    fn may_mask(&self) -> bool {
        false
    }

    fn decides_commands(&self) -> bool {
        true
    }

    fn generation(&self) -> u64 {
        self.seen
    }

    fn is_outdated(&self) -> bool {
        self.rules.lock().unwrap().generation != self.seen
    }

    fn governing(&self) -> Vec<(String, String)> {
        vec![("policy".to_owned(), self.seen.to_string())]
    }

    fn opened(&mut self) -> Ruling {
        Ruling::default()
    }

    fn command(&mut self, _: u64, _: &Arc<Command>) -> (Ruling, Box<dyn Flight>) {
        let rules = self.rules.lock().unwrap();
        self.seen = rules.generation;
        let no = || Denial::of(DenialKind::Policy, "never");
        let requirements = rules.requirements.clone();
        (Ruling { denial: rules.blocks.then(no), requirements, opinions: Vec::new() }, Box::new(Quiet))
    }

    fn closed(&mut self) {}
}

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

/// Knows the cast, whatever their secret.
struct Doorman;

impl Directory for Doorman {
    fn standing(&self, identity: &Identity, _: u64) -> Option<Identity> {
        Some(identity.clone())
    }

    fn called(&self, _: &str) -> Option<(Identity, u64)> {
        None
    }
}

impl Authenticator for Doorman {
    fn verify<'a>(&'a self, user: &'a str, _: SecretString) -> Pin<Box<dyn Future<Output = Verification> + Send + 'a>> {
        Box::pin(async move { Verification::Verified(cast::person(user).into()) })
    }
}

/// A gate with its surroundings.
pub struct Stage {
    gate: Gate,
    limits: ApprovalLimits,
    rules: Arc<Mutex<Rules>>,
    /// The record.
    pub ledger: Arc<Ledger>,
    /// The approvals that are waited for.
    pub approvals: Arc<Approvals>,
}

/// Limits that a handful of sessions reach.
pub fn narrow() -> ApprovalLimits {
    ApprovalLimits { max_pending: 3, max_pending_per_identity: 2, ..ApprovalLimits::default() }
}

impl Stage {
    /// A gate without policies.
    pub fn new(limits: ApprovalLimits) -> Self {
        let (rules, ledger) = (Arc::new(Mutex::new(Rules::default())), Arc::new(Ledger::default()));
        let (gate, approvals) = gate(limits, &rules, &ledger);
        Self { gate, limits, rules, ledger, approvals }
    }

    /// Starts the gate anew before the same record, as after a crash: of what was live nothing is left.
    pub fn restart(&mut self) {
        (self.gate, self.approvals) = gate(self.limits, &self.rules, &self.ledger);
    }

    /// Sets what the policies ask for from now on: an index of [`cast::ASKS`], or [`cast::BLOCK`].
    pub fn govern(&self, asks: usize) {
        let mut rules = self.rules.lock().unwrap();
        rules.generation += 1;
        let module = rules.generation.to_string();
        rules.blocks = asks == cast::BLOCK;
        rules.requirements = cast::requirements(cast::ASKS.get(asks).copied().unwrap_or_default(), &module);
    }

    /// Changes every requirement of the moment, without a change of policies.
    pub fn adjust(&self, change: impl Fn(&mut Requirement)) {
        self.rules.lock().unwrap().requirements.iter_mut().for_each(change);
    }

    /// Opens a session.
    pub async fn open(&self, user: &str, target: &str) -> GatedSession {
        let client = "127.0.0.1:4000".parse().unwrap();
        let (user, target, application) = (user.to_owned(), target.to_owned(), String::new());
        let hello = Hello { protocol: "test", user, target, client, application };
        self.gate.admit(hello, SecretString::from("")).await.unwrap().1
    }

    /// Somebody's answer.
    pub async fn answer(&self, id: sluicegate_core::ApprovalId, who: &str, yes: bool, note: &str) -> Answered {
        let identity: Identity = cast::person(who);
        self.approvals.answer(id, &identity, &cast::admins(), yes, note).await
    }
}

fn gate(limits: ApprovalLimits, rules: &Arc<Mutex<Rules>>, ledger: &Arc<Ledger>) -> (Gate, Arc<Approvals>) {
    let recorder: Arc<dyn Recorder> = Arc::clone(ledger) as _;
    let approvals = Approvals::new(limits, Arc::clone(&recorder), None, DigestKey::derive(&[7; 32]));
    let access = Access::new(AccessParts {
        directory: Arc::new(Doorman),
        tickets: Arc::default(),
        approvals: Arc::clone(&approvals),
        recorder: Arc::clone(&recorder),
    });
    let gate = Gate::new(GateParts {
        access: Arc::clone(&access),
        logins: Arc::new(Logins::new(Arc::new(Doorman))),
        policies: Arc::new(Engine(Arc::clone(rules))),
        recorder,
        recording: Recording::Ordered,
        max_output: 0,
        approvals: Arc::clone(&approvals),
    });
    let allow = vec![Principal::Group("engineering".to_owned())];
    let place = TargetAccess { protocol: "test", allow, ..TargetAccess::default() };
    let targets = [ORDERS, BILLING].map(|target| (target.to_owned(), place.clone())).into();
    access.set_rules(sluicegate_core::Rules { targets, roles: Vec::new() });
    (gate, approvals)
}

/// What came of an answer.
pub type Answered = Result<sluicegate_core::Approval, sluicegate_core::approvals::AnswerError>;

/// A command; the same number is the same text, and `twisted` is read by other settings.
pub fn command(number: u8, twisted: bool) -> Command {
    Command {
        verb: "query",
        phase: Phase::Run,
        text: format!("DELETE FROM t{number}").into(),
        normalized: format!("DELETE FROM t{number}").into(),
        resources: Vec::new(),
        parameters: vec![Parameter::Text("1".into()), Parameter::Null],
        wire: Default::default(),
        whole: true,
        context: if twisted { "search_path=hr" } else { "search_path=public" }.into(),
        sql: None,
    }
}

/// Whether a session's wait is over now.
pub fn is_over(session: &mut GatedSession) -> bool {
    let mut wait = std::pin::pin!(session.hold_over());
    wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Waits until a session's wait is over.
pub async fn over(session: &mut GatedSession) {
    tokio::time::timeout(Duration::from_secs(10), session.hold_over()).await.expect("the wait ends");
}
