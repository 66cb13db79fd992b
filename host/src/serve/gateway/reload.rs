//! What a changed configuration changes while the gateway runs, and what has to wait for a restart.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sluicegate_admin::WebhookUrl;
use sluicegate_core::{Rules, TargetAccess, secret::SecretSource};
use sluicegate_policy_engine::ApplyError;
use tokio::task::block_in_place;

use super::{Gateway, bindings, supervisor, vault};
use crate::config::{self, Config, Loaded, Target};

/// A certificate that holds for less than this should have been renewed by whoever does that.
const RENEWAL: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Gateway {
    /// Reads the file again. Whatever is wrong with it, what is in force stays in force.
    pub(super) fn reload(&mut self) {
        supervisor::reloading();
        match block_in_place(|| self.try_reload()) {
            Ok(()) => tracing::info!(
                targets = self.config.targets.len(),
                users = self.config.users.len(),
                "configuration reloaded"
            ),
            Err(why) => {
                tracing::error!("the changed configuration is refused, and the one before stays in force\n{why}")
            }
        }
        supervisor::ready();
    }

    fn try_reload(&mut self) -> Result<(), String> {
        let Loaded { config, mut report, .. } = config::load(&self.config.path).map_err(|error| error.to_string())?;
        let Some(config) = config else { return Err(report.plain()) };
        config::check_files(&config, &mut report);
        if !report.is_empty() {
            tracing::warn!("the configuration is taken with these problems\n{}", report.plain());
        }
        let put_in_force = self.prepare(&config).map_err(|error| format!("{error:#}"))?;
        if let Err(ApplyError { problems }) = self.policies.apply(bindings(&config.targets)) {
            config::explain(&config, &mut report, &problems);
            return Err(report.plain());
        }
        self.servers.iter().for_each(|server| server.forget());
        self.users.replace(&config.users).map_err(|error| error.to_string())?;
        self.everybody.set_issuers(&config.issuers);
        put_in_force();
        self.administration.set_rights(&config);
        self.keep(&config);
        for part in needs_restart(&self.started, &config) {
            tracing::warn!("a change of {part} is in force only after a restart");
        }
        self.config = config;
        Ok(())
    }

    /// Reads what targets need, and returns what puts them in force: Vault and protocols first, so that the
    /// gate admits nobody to a target that cannot be dialled yet.
    pub(super) fn prepare(&self, config: &Config) -> anyhow::Result<impl FnOnce() + use<>> {
        let vault = vault(config, &self.credentials)?;
        let prepared = self.servers.iter().map(|server| Arc::clone(server).prepare(&config.targets, &self.credentials));
        let prepared: Vec<_> = prepared.collect::<anyhow::Result<_>>()?;
        let rules = rules(config);
        let access = Arc::clone(self.gate.access());
        Ok(move || {
            vault();
            prepared.into_iter().for_each(|put_in_force| put_in_force());
            access.set_rules(rules);
        })
    }

    /// Tells the recorder how long what is kept.
    pub(super) fn keep(&self, config: &Config) {
        let own = |target: &Target| Some((target.name.clone(), target.retention?));
        self.recorder.set_retention(config.record.retention, config.targets.iter().filter_map(own).collect());
    }

    pub(super) fn reload_certificates(&self) {
        for tls in &self.certificates {
            if let Err(error) = block_in_place(|| tls.reload()) {
                let error = sluicegate_core::Chain(&error);
                tracing::error!(%error, "the changed certificate is refused, and the one before stays in force");
            }
        }
    }

    /// Says again what is wrong with the certificate, since it may take weeks until somebody feels it.
    pub(super) fn remind_of_certificates(&self) {
        self.reload_certificates();
        // All have the same.
        let expires = self.certificates.first().and_then(|tls| tls.expires());
        if let Some(at) = expires.filter(|at| *at < SystemTime::now() + RENEWAL) {
            let expires = humantime::format_rfc3339_seconds(at);
            tracing::warn!(%expires, "the TLS certificate is about to expire, or has: replace its files");
        }
    }

    /// What is to be reloaded when it changes: the certificate that the gateway was started with, and its key.
    pub(super) fn certificate_files(&self) -> impl Iterator<Item = &Path> {
        self.started.tls.iter().flat_map(|tls| [tls.cert.as_path(), tls.key.as_path()])
    }
}

/// Who may use what, as the gate needs to know it.
fn rules(config: &Config) -> Rules {
    let access = |target: &Target| TargetAccess {
        protocol: target.protocol.name,
        allow: target.allow.clone(),
        labels: target.labels.clone(),
    };
    let targets = config.targets.iter().map(|target| (target.name.clone(), access(target))).collect();
    Rules { targets, roles: config.roles.clone() }
}

/// The parts of a configuration that are other than those that the gateway was started with, and are in
/// force only after a restart.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("`data_dir`", old.data_dir != new.data_dir),
        ("`recording`", old.recording != new.recording),
        ("[limits]", counts(old) != counts(new)),
        ("[shutdown]", old.limits.grace != new.limits.grace),
        ("[proxy_protocol]", old.proxies != new.proxies),
        ("[listen]", listen(old) != listen(new) || old.allow_plaintext != new.allow_plaintext),
        ("[admin] `listen`", old.admin.as_ref().map(|a| a.listen) != new.admin.as_ref().map(|a| a.listen)),
        ("[approvals]", old.approvals.limits != new.approvals.limits),
        ("[approvals.webhook]", webhook(old) != webhook(new)),
        ("[log]", old.log != new.log),
        ("[record] `output`", old.record.output != new.record.output),
        ("[telemetry]", old.telemetry != new.telemetry),
        ("[tls]", old.tls.as_ref().map(|t| (&t.cert, &t.key)) != new.tls.as_ref().map(|t| (&t.cert, &t.key))),
        ("[policies]", (&old.policies.dir, old.policies.deadline) != (&new.policies.dir, new.policies.deadline)),
    ];
    changed.into_iter().filter_map(|(part, changed)| changed.then_some(part)).collect()
}

fn listen(config: &Config) -> Vec<(&'static str, SocketAddr)> {
    config.listen.iter().map(|listen| (listen.protocol.name, listen.address)).collect()
}

fn counts(config: &Config) -> (usize, usize) {
    (config.limits.max_connections, config.limits.max_starting)
}

fn webhook(config: &Config) -> Option<(&WebhookUrl, &SecretSource)> {
    config.approvals.webhook.as_ref().map(|webhook| (&webhook.url, &webhook.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: &str = r#"
[listen]
postgres = "127.0.0.1:1"
[admin]
admins = ["group:admin"]
[approvals]
expires = "1h"
[approvals.webhook]
url = "https://chat.example.com/"
secret = { env = "HOOK" }
[record]
output = "1KiB"
retention = { age = "90d" }
[[target]]
name = "orders"
protocol = "postgres"
address = "127.0.0.1:5432"
database = "orders"
username = "app"
hold_in_transaction = "allow"
"#;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sluicegate.toml");
        std::fs::write(&path, text).unwrap();
        let Loaded { config, report, .. } = config::load(&path).unwrap();
        let mut config = config.unwrap_or_else(|| panic!("{}", report.plain()));
        config.data_dir = config.data_dir.strip_prefix(folder.path()).unwrap().to_owned();
        config.policies.dir = Path::new("policies").to_owned();
        config
    }

    #[test]
    fn a_change_that_needs_a_restart_is_named() {
        let old = config(SECTIONS);
        for (was, is, part) in [
            ("\n[listen]", "data_dir = \"state\"\n[listen]", "`data_dir`"),
            ("\n[listen]", "recording = \"strict\"\n[listen]", "`recording`"),
            ("\n[listen]", "allow_plaintext = true\n[listen]", "[listen]"),
            ("127.0.0.1:1\"", "127.0.0.1:2\"", "[listen]"),
            ("[admin]", "[limits]\nmax_connections = 5000\n[admin]", "[limits]"),
            ("[admin]", "[limits]\nmax_starting = 5\n[admin]", "[limits]"),
            ("[admin]", "[shutdown]\ndrain = \"5s\"\n[admin]", "[shutdown]"),
            ("[admin]", "[proxy_protocol]\npostgres = [\"10.0.0.0/8\"]\n[admin]", "[proxy_protocol]"),
            ("[admin]", "[admin]\nlisten = \"127.0.0.1:2\"", "[admin] `listen`"),
            ("[admin]\nadmins = [\"group:admin\"]\n", "", "[admin] `listen`"),
            ("\"1h\"", "\"2h\"", "[approvals]"),
            ("chat.example", "hooks.example", "[approvals.webhook]"),
            ("HOOK", "HOOKS", "[approvals.webhook]"),
            ("[record]", "[log]\nlevel = \"warn\"\n[record]", "[log]"),
            ("1KiB", "2KiB", "[record] `output`"),
            ("[record]", "[tls]\ncert = \"a\"\nkey = \"b\"\n[record]", "[tls]"),
            ("[record]", "[telemetry]\notlp_endpoint = \"http://127.0.0.1:4318\"\n[record]", "[telemetry]"),
            ("[record]", "[policies]\ndeadline_ms = 30\n[record]", "[policies]"),
        ] {
            assert!(SECTIONS.contains(was), "{was}");
            let new = config(&SECTIONS.replacen(was, is, 1));
            assert_eq!(needs_restart(&old, &new), [part], "{is}");
            assert_eq!(needs_restart(&new, &old), [part], "{is}");
        }
    }

    #[test]
    fn a_change_that_is_in_force_at_once_is_not() {
        let old = config(SECTIONS);
        for (was, is) in [
            ("group:admin", "user:dba"),
            ("90d", "30d"),
            ("\"allow\"", "\"allow\"\nidle_timeout = \"1h\"\nmax_session = \"12h\""),
            ("\"allow\"", "\"deny\"\nretention = { size = \"1GiB\" }"),
            ("\n[listen]", "# A line above all others.\n[listen]"),
        ] {
            assert!(SECTIONS.contains(was), "{was}");
            assert!(needs_restart(&old, &config(&SECTIONS.replacen(was, is, 1))).is_empty(), "{is}");
        }
    }
}
