//! The demo gateway's folder: a configuration, the policies, and later the record.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use sluicegate_identity::hash_secret;
use tempfile::TempDir;

use super::postgres::{DATABASE, ROLE};

/// Where psql connects, unless somebody else listens there.
const PORT: u16 = 15432;
/// The same for the API.
const API_PORT: u16 = 7400;
/// The modules that the demo binds.
const MODULES: [&str; 3] = ["hold-for-approval", "pii-mask", "sql-guard"];

/// The folder. Dropping it removes it.
pub struct Stage {
    folder: TempDir,
    port: u16,
    api_port: u16,
}

impl Stage {
    /// Fills a temporary folder: a configuration for the server on `server_port`, and the modules of
    /// `policies`.
    pub fn prepare(server_port: u16, password: &str, policies: Option<&Path>) -> anyhow::Result<Self> {
        let modules = find_policies(policies)?;
        let folder = tempfile::Builder::new().prefix("sluicegate-demo-").tempdir()?;
        let (port, api_port) = free_ports()?;
        fs::create_dir(folder.path().join("policies"))?;
        for name in MODULES {
            let file = format!("{name}.wasm");
            fs::copy(modules.join(&file), folder.path().join("policies").join(&file))
                .with_context(|| format!("the policy `{file}` cannot be copied from {}", modules.display()))?;
        }
        fs::write(folder.path().join("password"), password)?;
        let stage = Self { folder, port, api_port };
        fs::write(stage.config(), stage.configuration(server_port)?)?;
        Ok(stage)
    }

    /// The configuration's path.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("sluicegate.toml")
    }

    /// The public key with which its exports are verified.
    pub fn public_key(&self) -> PathBuf {
        self.folder.path().join("data").join(sluicegate_recorder::PUBLIC_KEY_FILE)
    }

    /// A module's path in the watched folder.
    pub fn module(&self, name: &str) -> PathBuf {
        self.folder.path().join("policies").join(name).with_extension("wasm")
    }

    /// The gateway's TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its API is.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// What psql needs to go through the gateway as a user. Each user's secret is the user's name.
    pub fn connection(&self, user: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} password={user} dbname={DATABASE}", self.port)
    }

    fn configuration(&self, server_port: u16) -> anyhow::Result<String> {
        let Self { port, api_port, .. } = self;
        let alice = hash_secret("alice".into())?;
        let dba = hash_secret("dba".into())?;
        Ok(format!(
            r#"# The demo's configuration. Change it while the demo runs: it is read again at once.
data_dir = "data"

[listen]
postgres = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:{api_port}"
admins = ["group:admin"]

[policies]
dir = "policies"

[[identity.user]]
name = "alice"
groups = ["engineering"]
secret_hash = "{alice}"

[[identity.user]]
name = "dba"
groups = ["admin"]
secret_hash = "{dba}"

[[target]]
name = "{DATABASE}"
protocol = "postgres"
address = "127.0.0.1:{server_port}"
database = "{DATABASE}"
username = "{ROLE}"
password = {{ file = "password" }}
allow = ["group:engineering", "group:admin"]

[[target.policy]]
module = "pii-mask"
settings = {{ columns = ["*.ssn", "*.phone"], detect = ["card", "email"], style = "partial", except = ["admin"] }}

[[target.policy]]
module = "sql-guard"
settings = {{ deny = ["drop", "truncate"], require_where = true }}

[[target.policy]]
module = "hold-for-approval"
settings = {{ when = {{ kinds = ["delete"], tables = ["orders"] }}, approvers = ["group:admin"], expires = "10m" }}
"#
        ))
    }
}

/// Two ports that nobody listens on now: the ones that the demo prefers, where they are free.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let listen = |port| TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    // Both are open at once, so that they are two.
    let (first, second) = (listen(PORT)?, listen(API_PORT)?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// The folder with the built policies: the one named, or where `just policies` puts them.
fn find_policies(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let complete = |folder: &Path| MODULES.iter().all(|name| folder.join(name).with_extension("wasm").is_file());
    if let Some(folder) = named {
        let help = "build them with `just policies`";
        ensure!(complete(folder), "{} does not hold {}; {help}", folder.display(), MODULES.join(", "));
        return Ok(folder.to_owned());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/policies");
    let executable = std::env::current_exe().unwrap_or_default();
    let beside = executable.ancestors().skip(1).take(2).map(|folder| folder.join("policies"));
    let candidates = [PathBuf::from("target/policies"), workspace].into_iter().chain(beside);
    candidates.into_iter().find(|folder| complete(folder)).context(
        "the shipped policies were not found; build them with `just policies`, or name their folder with `--policies`",
    )
}
