//! PostgreSQL through the gate, end to end: real servers, real clients, the real binary.

mod access;
mod agreement;
mod approvals;
mod conditions;
mod connections;
mod copy;
mod crashes;
mod credentials;
mod cursors;
mod denials;
mod extended;
mod guard;
mod held;
mod holds;
mod holds_around;
mod holds_change;
mod large;
mod leaks;
mod leaks_more;
mod login;
mod masking;
mod metrics;
mod operations;
mod proof;
mod record;
mod reload;
mod secrets;
mod simple;
mod startup;
mod supervised;
mod tls;
mod tokens;
mod tools;
mod traces;
mod upstream;
mod vault;

use sluicegate_tests::{Database, Gateway, Postgres};

/// A database with the sample data.
pub fn database() -> Database {
    Postgres::shared().database()
}

/// A database, and a gateway before it that masks every column called `ssn` and nothing else.
pub fn masking_ssn() -> (Database, Gateway) {
    masking(r#"columns = ["*.ssn"], except = ["admin"]"#)
}

/// A database, and a gateway before it with `pii-mask` and these settings.
pub fn masking(settings: &str) -> (Database, Gateway) {
    let database = database();
    let gateway = Gateway::before(&database).policy("pii-mask", settings).start();
    (database, gateway)
}

/// A database, and a gateway before it with `sql-guard` and these settings.
pub fn guarded(settings: &str) -> (Database, Gateway) {
    let database = database();
    let gateway = Gateway::before(&database).policy("sql-guard", settings).start();
    (database, gateway)
}

/// A database, and a gateway before it without policies.
pub fn open() -> (Database, Gateway) {
    let database = database();
    let gateway = Gateway::before(&database).start();
    (database, gateway)
}
