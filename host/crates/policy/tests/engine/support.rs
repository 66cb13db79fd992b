//! Builds the guests once, and makes engines, sessions, commands and results for the tests.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command as Process,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use serde_json::Value;
use sluicegate_core::{
    Batch, BatchColumn, Column, ColumnName, Command, Identity, Phase, RelationName, Resolution, ResultSchema, Session,
    SessionId,
    command::Parameter,
    identity::Kind,
    policy::{Binding, Flight, Mode, PolicyEngine, PolicySession, Ruling},
    sql::{Access, Classes, ColumnUse, FunctionUse, RelationUse, SqlFacts, Usage},
};
use sluicegate_policy_engine::{PolicyConfig, PolicyHost, PolicyStatus, TargetBindings};

/// The folder of the built guests: `probe.wasm` and `examples/narrow.wasm`.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = env!("CARGO_TARGET_TMPDIR").to_owned() + "/..";
        let status = Process::new(env!("CARGO"))
            .args(["build", "--quiet", "--profile", "policy", "--target", "wasm32-unknown-unknown"])
            .args([
                "-p",
                "sluicegate-test-guests",
                "-p",
                "pii-mask",
                "-p",
                "sql-guard",
                "-p",
                "hold-for-approval",
                "--lib",
                "--examples",
            ])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "the guests do not build; is the target wasm32-unknown-unknown installed?");
        Path::new(&target).join("wasm32-unknown-unknown/policy")
    })
}

pub fn probe() -> Vec<u8> {
    fs::read(built().join("probe.wasm")).unwrap()
}

pub fn narrow() -> Vec<u8> {
    fs::read(built().join("examples/narrow.wasm")).unwrap()
}

/// A shipped policy.
pub fn example(name: &str) -> Vec<u8> {
    fs::read(built().join(format!("{}.wasm", name.replace('-', "_")))).unwrap()
}

/// The same code under another digest: a custom section is added to the module.
pub fn renamed(mut module: Vec<u8>, mark: &str) -> Vec<u8> {
    let mark = mark.as_bytes();
    module.extend([0, u8::try_from(mark.len() + 1).unwrap(), u8::try_from(mark.len()).unwrap()]);
    module.extend(mark);
    module
}

/// An engine over folders of its own.
pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub host: Arc<PolicyHost>,
}

pub fn config(folder: &Path) -> PolicyConfig {
    let mut config = PolicyConfig::new(folder.join("policies"), folder.join("data"));
    // Tests run beside one another and beside compilers.
    config.deadline = Duration::from_millis(200);
    config
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut PolicyConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let host = PolicyHost::start(config).unwrap();
        Self { folder, host }
    }

    /// An engine with the probe in place, bound once.
    pub fn probing(settings: Value) -> Self {
        let fixture = Self::new();
        fixture.put("probe", &probe());
        fixture.bind(vec![binding("probe", Mode::Enforce, settings)]);
        fixture
    }

    pub fn put(&self, module: &str, bytes: &[u8]) {
        let policies = self.folder.path().join("policies");
        fs::write(policies.join("new"), bytes).unwrap();
        fs::rename(policies.join("new"), policies.join(format!("{module}.wasm"))).unwrap();
    }

    pub fn bind(&self, bindings: Vec<Binding>) {
        self.host.apply(targets(bindings)).unwrap();
    }

    pub fn open(&self) -> Box<dyn PolicySession> {
        self.host.open(session())
    }

    pub fn status(&self, module: &str) -> PolicyStatus {
        self.host.status().into_iter().find(|status| status.module == module).unwrap()
    }

    /// Waits for the watcher.
    pub fn wait(&self, what: &str, until: impl Fn(&PolicyStatus) -> bool) {
        let start = Instant::now();
        while !self.host.status().iter().any(&until) {
            assert!(start.elapsed() < Duration::from_secs(20), "waited in vain for: {what}; {:?}", self.host.status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn targets(bindings: Vec<Binding>) -> HashMap<String, TargetBindings> {
    HashMap::from([("orders".to_owned(), TargetBindings { protocol: "postgres".into(), bindings })])
}

pub fn binding(module: &str, mode: Mode, settings: Value) -> Binding {
    Binding { module: module.into(), mode, settings }
}

pub fn session() -> Arc<Session> {
    Arc::new(Session {
        id: SessionId(uuid::Uuid::nil()),
        identity: Identity {
            kind: Kind::Agent,
            owner: Some("olga".into()),
            actor: Some("bot".into()),
            ..Identity::builtin("alice", vec!["engineering".into(), "eu".into()])
        },
        roles: vec!["reader".into(), "writer".into()],
        ticket: None,
        target: "orders".into(),
        protocol: "postgres",
        client: "127.0.0.1:5000".parse().unwrap(),
        application: "psql".into(),
    })
}

fn column_name(column: &str) -> ColumnName {
    ColumnName { relation: RelationName { schema: "public".into(), name: "people".into() }, column: column.into() }
}

pub fn command(text: &str, classes: Classes) -> Arc<Command> {
    let relation = RelationName { schema: "public".into(), name: "people".into() };
    let facts = SqlFacts {
        classes,
        kinds: vec!["select".into()],
        statements: 1,
        relations: vec![RelationUse { name: relation, access: Access::READ, known: true, indirect: false }],
        reachable_columns: ["id", "name", "ssn", "note"].map(column_name).into(),
        reaches_unknown: true,
        columns: vec![ColumnUse { name: column_name("ssn"), usage: Usage::OUTPUT | Usage::FILTER }],
        functions: vec![FunctionUse { schema: "pg_catalog".into(), name: "lower".into(), builtin: true }],
        writes_without_where: true,
        unanalysable: None,
    };
    Arc::new(Command {
        verb: "query",
        phase: Phase::Run,
        text: text.into(),
        normalized: "select ?".into(),
        resources: Vec::new(),
        parameters: vec![Parameter::Text("seven".into()), Parameter::Null, Parameter::Opaque([0; 8].into())],
        wire: Default::default(),
        whole: true,
        context: "".into(),
        sql: Some(Arc::new(facts)),
    })
}

pub fn select() -> Arc<Command> {
    command("select * from people", Classes::READ)
}

/// Four columns: id, name, ssn, note.
pub fn schema() -> Arc<ResultSchema> {
    let column = |name: &str| Column {
        name: name.into(),
        type_name: "text".into(),
        resolution: Resolution::Stored,
        sources: vec![column_name(name)],
    };
    Arc::new(ResultSchema { statement: 0, columns: ["id", "name", "ssn", "note"].map(column).into() })
}

/// The given columns of as many rows as each has values.
pub fn batch(columns: &[(u32, &[&str])]) -> Arc<Batch> {
    let columns: Vec<_> = columns.iter().map(|(column, values)| values_of(*column, values)).collect();
    let rows = columns.first().map_or(0, |c| u32::try_from(c.offsets.len() - 1).unwrap());
    Arc::new(Batch { first_row: 0, rows, columns })
}

fn values_of(column: u32, values: &[&str]) -> BatchColumn {
    let mut offsets = vec![0];
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(value.as_bytes());
        offsets.push(u32::try_from(bytes.len()).unwrap());
    }
    BatchColumn { column, offsets, bytes, nulls: Vec::new() }
}

/// Asks about one command.
pub fn ask(session: &mut Box<dyn PolicySession>, command: &Arc<Command>) -> (Ruling, Box<dyn Flight>) {
    session.command(1, command)
}

pub fn reason(ruling: &Ruling) -> &str {
    &ruling.denial.as_ref().expect("it was not blocked").reason
}
