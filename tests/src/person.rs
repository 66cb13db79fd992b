//! A person on their own machine: a folder for what is kept, the command line, and a browser that logs them in.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Gateway, Issuer,
    programs::{Run, Running, eventually, postgres_program, run, sluicegate_program},
};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A person who uses one gateway.
pub struct Person {
    home: TempDir,
    url: String,
    ca: Option<PathBuf>,
}

impl Person {
    /// Somebody who has not logged in yet.
    pub fn new(gateway: &Gateway) -> Self {
        let home = tempfile::Builder::new().prefix("sluicegate-person-").tempdir().expect("a temporary folder");
        Self { home, url: format!("http://127.0.0.1:{}", gateway.admin_port()), ca: None }
    }

    /// The same, where the gateway has a certificate of this authority.
    pub fn trusting(gateway: &Gateway, authority: &str) -> Self {
        let person = Self::new(gateway);
        let file = person.home.path().join("ca.pem");
        std::fs::write(&file, authority).expect("our own folder");
        Self { url: person.url.replace("http:", "https:"), ca: Some(file), ..person }
    }

    /// The gateway's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder with what is kept of them.
    pub fn kept(&self) -> PathBuf {
        self.home.path().join("config/sluicegate")
    }

    /// A command of theirs, with nothing in its environment that says who they are.
    pub fn command(&self, args: &[&str]) -> Command {
        let psql = postgres_program("psql");
        let mut path = std::ffi::OsString::from(psql.parent().unwrap_or(Path::new("/")));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(sluicegate_program());
        command.args(args).env("XDG_CONFIG_HOME", self.home.path().join("config")).current_dir(self.home.path());
        command.env("PATH", path).env("PSQLRC", "/dev/null").env("PGCONNECT_TIMEOUT", "20");
        for name in ["SLUICEGATE_URL", "SLUICEGATE_SECRET", "SLUICEGATE_TOKEN", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        run(self.command(args), "", LIMIT)
    }

    /// Begins a login, and returns it with the address that it prints.
    pub fn begin(&self, args: &[&str]) -> (Running, String) {
        let mut command = self.command(&["login", "--url", &self.url]);
        command.args(args);
        if let Some(ca) = &self.ca {
            command.arg("--ca").arg(ca);
        }
        let mut login = Running::start(command, "");
        let mut address = String::new();
        eventually("the login says where to go", Duration::from_secs(20), || {
            assert!(login.is_running(), "the login ended: {}", login.output());
            let printed = login.output();
            // The last one: that of a device's login has the code in it.
            let mut found = printed.lines().flat_map(str::split_whitespace).filter(|word| word.starts_with("http"));
            address = found.next_back().unwrap_or_default().to_owned();
            printed.ends_with("\n\n") && !address.is_empty()
        });
        (login, address)
    }

    /// Logs in by browser, as this account of the issuer.
    pub fn log_in(&self, issuer: &Issuer, account: &str) -> Run {
        self.log_in_changed(issuer, account, &json!({}))
    }

    /// The same, with these parameters changed on the way to the issuer.
    pub fn log_in_changed(&self, issuer: &Issuer, account: &str, there: &Value) -> Run {
        let (login, address) = self.begin(&[]);
        let seen = issuer.browse(&address, account, there, &json!({}));
        assert_eq!(seen["status"], 200, "{seen}");
        login.finish(LIMIT)
    }

    /// The token that they would be let in with now.
    pub fn token(&self) -> String {
        self.run(&["token"]).ok().trim().to_owned()
    }
}
