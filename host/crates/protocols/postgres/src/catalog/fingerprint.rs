//! What tells the target's catalog of one moment from that of another, cheaply: one query.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::{Cause, side::Side};

/// What changes whenever a catalog does; see [`Fingerprint`] for the three columns. Each row counts with
/// its identity and with the transaction that wrote it.
static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
    let hash = |identity: &str, of: &str| {
        format!("pg_catalog.hashint8extended({identity}, {of}xmin::pg_catalog.text::pg_catalog.int8)")
    };
    let sum =
        |identity: &str, from: &str| format!("(select pg_catalog.sum({}) from pg_catalog.{from})", hash(identity, ""));
    let by_oid = |from: &str| sum("oid::pg_catalog.int8", from);
    let split = |lasts: &str, row: String, from: &str| {
        format!(
            "(select pg_catalog.sum(h) filter (where l) as lasting, pg_catalog.sum(h) filter (where not l) as temporary \
             from (select {lasts} as l, {row} as h from {from}) x)"
        )
    };
    let code = ["pg_proc", "pg_rewrite", "pg_trigger", "pg_policy", "pg_operator", "pg_cast"].map(by_oid).join(", ");
    let row_security = by_oid("pg_class where relrowsecurity");
    let settings = sum("(setdatabase::pg_catalog.int8 << 32) | setrole::pg_catalog.int8", "pg_db_role_setting");
    let schemas = by_oid(&format!("pg_namespace where nspname !~ '{TEMPORARY}'"));
    let heirs = sum("(inhrelid::pg_catalog.int8 << 32) | inhparent::pg_catalog.int8", "pg_inherits");
    let relations = split("c.relpersistence <> 't'", hash("c.oid::pg_catalog.int8", "c."), "pg_catalog.pg_class c");
    let columns = split(
        "c.relpersistence <> 't'",
        hash("(a.attrelid::pg_catalog.int8 << 16) | a.attnum", "a."),
        "pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid where a.attnum > 0",
    );
    let types = split(
        &format!("n.nspname !~ '{TEMPORARY}'"),
        hash("t.oid::pg_catalog.int8", "t."),
        "pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace",
    );
    format!(
        "select pg_catalog.concat_ws('/', {code}, {row_security}, {settings}), \
         pg_catalog.concat_ws('/', r.lasting, a.lasting, t.lasting, {schemas}, {heirs}), \
         pg_catalog.concat_ws('/', r.temporary, a.temporary, t.temporary) \
         from {relations} r, {columns} a, {types} t"
    )
});

/// The schemas of temporary objects.
const TEMPORARY: &str = "^pg_(toast_)?temp_";

/// A short text for each part of a catalog, that differs from before if the part does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Functions, rules of views, triggers, row security, operators, casts, and the settings that roles
    /// and databases begin with.
    pub code: String,
    /// Relations, their columns, types and schemas, but temporary ones.
    pub names: String,
    /// What is temporary.
    temporary: String,
}

/// What tells the catalog of this moment from any other.
pub(super) async fn read(side: &mut Side) -> Result<Fingerprint, Cause> {
    let mut found = None;
    side.query(&FINGERPRINT, |row| {
        let [code, names, temporary] =
            [row.text(0)?, row.text(1)?, row.text(2)?].map(|sums| short_hash(sums.as_bytes()));
        found = Some(Fingerprint { code, names, temporary });
        Ok(())
    })
    .await?;
    found.ok_or(Cause::Answer("there is no fingerprint"))
}

/// The first 64 bits of a SHA-256, in hexadecimal.
pub fn short_hash(bytes: &[u8]) -> String {
    sluicegate_core::hex(&Sha256::digest(bytes)).chars().take(16).collect()
}
