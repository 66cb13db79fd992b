//! What everything is measured on: one PostgreSQL with its data, and the three that stand before it.

use sluicegate_tests::{Database, Endpoint, Gateway, Postgres, builder::Builder};

use crate::rivals::Rival;

/// pgbench's scale: a million accounts.
const SCALE: &str = "10";

/// How many rows the large table has.
pub const ROWS: u64 = 1_000_000;

/// A server without a disk to wait for hides nothing of what proxies cost. No TLS, and nothing that would
/// disturb one run and not another: checkpoints, scans that begin where another one is, lines in the log.
const SERVER: [&str; 8] = [
    "ssl=off",
    "max_connections=1200",
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "checkpoint_timeout=1h",
    "synchronize_seqscans=off",
    "autovacuum=off",
    "log_connections=off",
];

/// Columns with a name and a text, and texts as people write them: one in fifty holds a card number or an address.
const TABLE: &str = "
CREATE TABLE measured AS
    SELECT n AS id, n % 1000 AS bucket, 'label ' || n AS label,
           CASE n % 100 WHEN 17 THEN 'Paid with 4111 1111 1111 1111 at the door'
                        WHEN 67 THEN 'Write to customer.' || n || '@example.com please'
                        ELSE 'Order ' || n || ' was shipped to depot ' || n % 97 END AS note,
           date '2020-01-01' + n % 2000 AS seen
    FROM generate_series(1, 1000000) n;
VACUUM (FREEZE, ANALYZE) measured;
";

/// The gateway's targets, which are all the same database.
pub mod target {
    /// The demo's policies: they mask some columns, and look into the texts of all others.
    pub const DEMO: &str = sluicegate_tests::gateway::TARGET;
    /// No policies.
    pub const BARE: &str = "bare";
    /// The demo's policies, looking into nothing.
    pub const PLAIN: &str = "plain";
    /// The demo's policies, and connections that are used again.
    pub const REUSING: &str = "reusing";
    /// The same as `PLAIN`, and `label` is masked.
    pub const MASKED: &str = "masked";
}

// The demo's settings, and what differs for other targets.
const GUARD: &str = r#"deny = ["drop", "truncate"], require_where = true"#;
const HOLD: &str =
    r#"when = { kinds = ["delete"], tables = ["orders"] }, approvers = ["group:admin"], expires = "10m""#;
const MASK: &str =
    r#"columns = ["*.ssn", "*.phone"], detect = ["card", "email"], style = "partial", except = ["admin"]"#;
const MASK_NOTHING: &str = r#"columns = ["*.ssn", "*.phone"], style = "partial", except = ["admin"]"#;
const MASK_LABEL: &str = r#"columns = ["*.ssn", "*.label"], style = "partial", except = ["admin"]"#;

/// The server and those before it.
pub struct Stage {
    // Dropped in this order: the server last.
    gateway: Gateway,
    /// HAProxy.
    pub haproxy: Rival,
    /// PgBouncer.
    pub pgbouncer: Rival,
    database: Database,
    _server: Postgres,
}

impl Stage {
    /// Starts everything and fills the database.
    pub fn set() -> Self {
        let server = Postgres::start_with(&SERVER);
        let database = server.empty_database();
        let direct = plaintext(database.direct());
        direct.pgbench(&["-i", "-s", SCALE, "-q"]).ok();
        direct.psql(TABLE).ok();
        let gateway = gateway(&database).start();
        let (haproxy, pgbouncer) = (Rival::haproxy(&database), Rival::pgbouncer(&database));
        Self { gateway, haproxy, pgbouncer, database, _server: server }
    }

    /// The way to the server itself.
    pub fn direct(&self) -> Endpoint {
        plaintext(self.database.direct())
    }

    /// The way through HAProxy.
    pub fn through_haproxy(&self) -> Endpoint {
        Endpoint { port: self.haproxy.port, ..self.direct() }
    }

    /// The way through PgBouncer.
    pub fn through_pgbouncer(&self) -> Endpoint {
        Endpoint { port: self.pgbouncer.port, ..self.direct() }
    }

    /// The way to one of the targets through the gateway that everything but memory is measured on.
    pub fn through_sluicegate(&self, target: &str) -> Endpoint {
        self.through(&self.gateway, target)
    }

    /// The way to one of the targets of any such gateway.
    pub fn through(&self, gateway: &Gateway, target: &str) -> Endpoint {
        Endpoint { database: target.to_owned(), ..plaintext(gateway.alice()) }
    }

    /// Another gateway like the first, which nobody has used yet.
    pub fn fresh_gateway(&self) -> Gateway {
        gateway(&self.database).start()
    }

    /// Has every run of pgbench begin alike: without dead rows, and with nothing left to write.
    pub fn tidy(&self) {
        self.database.administer(
            "TRUNCATE pgbench_history; VACUUM pgbench_branches, pgbench_tellers, pgbench_accounts; CHECKPOINT",
        );
    }
}

/// The gateway: all three policies on each target but one.
fn gateway(database: &Database) -> Builder {
    let bound = |builder: Builder, mask| {
        builder.policy("pii-mask", mask).policy("sql-guard", GUARD).policy("hold-for-approval", HOLD)
    };
    let builder = bound(Gateway::before(database).top("recording = \"ordered\""), MASK);
    let builder = builder.target(target::BARE, database);
    let builder = bound(builder.target(target::REUSING, database).target_lines("reuse = \"1min\""), MASK);
    let builder = bound(builder.target(target::PLAIN, database), MASK_NOTHING);
    bound(builder.target(target::MASKED, database), MASK_LABEL)
}

/// Nobody here speaks TLS, so nobody is to ask for it.
fn plaintext(endpoint: Endpoint) -> Endpoint {
    Endpoint { sslmode: "disable", ..endpoint }
}
