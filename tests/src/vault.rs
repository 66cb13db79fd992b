//! A Vault: OpenBao, whose API it is, in its mode for development. It keeps all it knows in memory, so that what
//! it lent before it was stopped is forgotten when it comes back.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    Api,
    guard::Guarded,
    postgres::{APP, Database},
    programs::{eventually, free_port},
};

/// The token that may do everything.
const ROOT: &str = "the tests' own root token";

/// What a gateway needs to be allowed, and nothing more.
const POLICY: &str = r#"
path "secret/data/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"#;

/// One that runs, with a KV engine at `secret/` and a database engine at `database/`.
pub struct Vault {
    process: Guarded,
    port: u16,
    tls: bool,
}

impl Vault {
    /// Starts one on this machine, without TLS.
    pub fn start() -> Self {
        let vault = Self::launch(&[]);
        vault.call("POST", "sys/mounts/database", &json!({ "type": "database" }));
        vault.call("PUT", "sys/policies/acl/gateway", &json!({ "policy": POLICY }));
        vault
    }

    /// Starts one with TLS, whose authority is [`Vault::authority`], and of which no more is asked than that it
    /// says no.
    pub fn start_with_tls() -> Self {
        let mut vault = Self::launch(&["-dev-tls", "-dev-tls-cert-dir=."]);
        vault.tls = true;
        vault
    }

    fn launch(more: &[&str]) -> Self {
        let port = free_port();
        let folder = tempfile::Builder::new().prefix("sluicegate-vault-").tempdir().expect("a temporary folder").keep();
        let log = fs::File::create(folder.join("log")).expect("our own folder");
        let mut command = Command::new(program());
        command.args(["server", "-dev", "-dev-no-store-token", &format!("-dev-root-token-id={ROOT}")]);
        command.arg(format!("-dev-listen-address=127.0.0.1:{port}")).args(more).current_dir(&folder);
        command.env("HOME", &folder).stdout(log.try_clone().expect("a file handle can be doubled")).stderr(log);
        let vault = Self { process: Guarded::start(command, "TERM", &folder), port, tls: false };
        let said = || fs::read_to_string(vault.process.folder().join("log")).unwrap_or_default();
        eventually("Vault serves", Duration::from_secs(60), || said().contains("Root Token:"));
        vault
    }

    /// The lines of `[vault]` with this token, and the token's file for [`crate::builder::Builder::file`].
    pub fn lines(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("address = \"{scheme}://127.0.0.1:{}\"\ntoken = {{ file = \"vault-token\" }}", self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority of one with TLS, a PEM file.
    pub fn authority(&self) -> PathBuf {
        let names = fs::read_dir(self.process.folder()).expect("our own folder").flatten();
        let mut found = names.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with("-ca.pem"));
        found.next().expect("it makes its authority")
    }

    /// A token with what a gateway needs to be allowed.
    pub fn token(&self) -> String {
        let made = self.call("POST", "auth/token/create", &json!({ "policies": ["gateway"], "period": "1h" }));
        made["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    /// Takes back a token.
    pub fn withdraw(&self, token: &str) {
        self.call("POST", "auth/token/revoke-orphan", &json!({ "token": token }));
    }

    /// Takes back what was lent.
    pub fn revoke(&self, lease: &str) {
        self.call("PUT", "sys/leases/revoke", &json!({ "lease_id": lease, "sync": true }));
    }

    /// Keeps values at `secret/NAME`.
    pub fn keep(&self, name: &str, values: &Value) {
        self.call("POST", &format!("secret/data/{name}"), &json!({ "data": values }));
    }

    /// Lends roles of a database at `database/creds/NAME`, which can do what the application can: for so many
    /// seconds, and renewed up to so many.
    pub fn lends(&self, name: &str, database: &Database, seconds: u32, most: u32) {
        let (admin, password) = administrator(database);
        let url =
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{}", database.port(), database.name);
        let config = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
            "connection_url": format!("{url}?sslmode=disable"), "username": admin, "password": password,
        });
        self.call("POST", &format!("database/config/{name}"), &config);
        let create = format!(
            "CREATE ROLE \"{{{{name}}}}\" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}' IN ROLE {APP}"
        );
        let role = json!({
            "db_name": name, "creation_statements": [create],
            "revocation_statements": ["DROP ROLE IF EXISTS \"{{name}}\""],
            "default_ttl": format!("{seconds}s"), "max_ttl": format!("{most}s"),
        });
        self.call("POST", &format!("database/roles/{name}"), &role);
    }

    /// The ids of what is lent at `database/creds/NAME` now.
    pub fn leases(&self, name: &str) -> Vec<String> {
        let path = format!("database/creds/{name}");
        let answer =
            self.api().call("LIST", &format!("/v1/sys/leases/lookup/{path}"), &[("x-vault-token", ROOT)], "".into());
        if answer.status.as_u16() == 404 {
            return Vec::new();
        }
        let keys = answer.json()["data"]["keys"].as_array().expect("ids").clone();
        keys.iter().map(|key| format!("{path}/{}", key.as_str().expect("an id"))).collect()
    }

    /// Waits until nothing is lent there.
    pub fn wait_until_nothing_is_lent(&self, name: &str) {
        eventually("everything is given back", Duration::from_secs(20), || self.leases(name).is_empty());
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let headers = [("x-vault-token", ROOT), ("content-type", "application/json")];
        let answer = self.api().call(method, &format!("/v1/{path}"), &headers, body.to_string().into());
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    fn api(&self) -> Api {
        Api::on_port(self.port)
    }
}

/// A role of this test's own that may make others and give them the application's rights.
fn administrator(database: &Database) -> (String, &'static str) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (name, password) = (format!("vault_{}", NEXT.fetch_add(1, Ordering::Relaxed)), "what Vault logs in with");
    database.administer(&format!(
        "CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'; GRANT {APP} TO {name} WITH ADMIN OPTION"
    ));
    (name, password)
}

/// Where `just test` installs it.
fn program() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home folder")).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let program = cache.join("sluicegate-openbao/bin/bao");
    assert!(program.is_file(), "{} is missing; run the tests by `just test`, which installs it", program.display());
    program
}
