//! An issuer of tokens: the certified `oidc-provider`, run by node, as tests/oidc has it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    Api,
    guard::Guarded,
    programs::{eventually, free_port},
};

/// An issuer that runs.
pub struct Issuer {
    process: Guarded,
    port: u16,
}

impl Issuer {
    /// Starts one, whose first key is called `first`.
    pub fn start() -> Self {
        let port = free_port();
        let folder =
            tempfile::Builder::new().prefix("sluicegate-issuer-").tempdir().expect("a temporary folder").keep();
        let issuer = Self { process: Guarded::start(command(port, &folder), "TERM", &folder), port };
        issuer.wait();
        issuer
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The lines of `[[identity.oidc]]`, and further ones.
    pub fn lines(&self, more: &str) -> String {
        format!("issuer = \"{}\"\naudience = \"sluicegate\"\n{more}", self.url())
    }

    /// The access token that a job asks it for.
    pub fn job(&self) -> String {
        self.ask("/test/job", &json!({}))
    }

    /// A token with these claims beside those that every token has, for five minutes; or with others of those.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({}), claims, "issuer")
    }

    /// The same with this in the header, and signed by the `issuer` or by a `stranger`.
    pub fn sign(&self, header: &Value, claims: &Value, by: &str) -> String {
        let now = now();
        let mut all =
            json!({ "iss": self.url(), "aud": "sluicegate", "sub": "248289761001", "iat": now, "exp": now + 300 });
        merge(&mut all, claims);
        self.ask("/test/sign", &json!({ "header": header, "claims": all, "by": by }))
    }

    /// Logs `account` in as a browser does that is sent to `url`, and returns what it saw last: `url`, `status` and
    /// `page`. The parameters of `there` are changed on the way to the issuer, those of `back` on the way back.
    pub fn browse(&self, url: &str, account: &str, there: &Value, back: &Value) -> Value {
        let seen = self.ask("/test/browse", &json!({ "url": url, "account": account, "there": there, "back": back }));
        serde_json::from_str(&seen).expect("it answers with JSON")
    }

    /// How long the ID tokens live that it gives from now on.
    pub fn set_lifetime(&self, seconds: u32) {
        self.ask("/test/lifetime", &json!({ "seconds": seconds }));
    }

    /// How often it gave tokens by this grant.
    pub fn grants(&self, kind: &str) -> u64 {
        let grants: Value = serde_json::from_str(&self.ask("/test/grants", &json!({}))).expect("it answers with JSON");
        grants[kind].as_u64().unwrap_or_default()
    }

    /// Has it sign with a new key of this name.
    pub fn rotate(&self, kid: &str) {
        self.ask("/test/rotate", &json!({ "kid": kid }));
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was, with new keys.
    pub fn start_again(&mut self) {
        let folder = self.process.folder().to_owned();
        self.process.again(command(self.port, &folder));
        self.wait();
    }

    fn wait(&self) {
        let there = || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        eventually("the issuer listens", Duration::from_secs(20), there);
    }

    fn ask(&self, path: &str, body: &Value) -> String {
        let answer = Api::on_port(self.port).post(path, body);
        assert!(answer.status.is_success(), "the issuer does not do {path}: {answer:?}");
        String::from_utf8(answer.body.to_vec()).expect("it answers with text")
    }
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970").as_secs()
}

/// Claims that are null are left out.
fn merge(all: &mut Value, claims: &Value) {
    let all = all.as_object_mut().expect("claims are an object");
    for (name, value) in claims.as_object().expect("claims are an object") {
        match value {
            Value::Null => all.remove(name),
            value => all.insert(name.clone(), value.clone()),
        };
    }
}

fn command(port: u16, folder: &Path) -> Command {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("oidc/provider.mjs");
    assert!(
        script.with_file_name("node_modules").is_dir(),
        "oidc-provider is missing; run the tests by `just test`, which installs it"
    );
    let log = fs::File::create(folder.join("log")).expect("our own folder");
    let mut command = Command::new("node");
    command
        .arg(script)
        .arg(port.to_string())
        .stdout(log.try_clone().expect("a file handle can be doubled"))
        .stderr(log);
    command
}
