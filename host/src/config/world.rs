//! What a configuration points to: secrets, certificates, and policy modules with their settings.

use std::{ops::Range, path::PathBuf};

use sluicegate_admin::WebhookConfig;
use sluicegate_core::{Chain, secret::SecretSource};
use sluicegate_credentials::Credentials;
use sluicegate_net::{ServerTls, TlsError, TlsFiles};

use super::{Config, Problem, Report, Target};
use crate::serve::gateway::bindings;

const PATHS: &str = "paths start from the configuration's folder";

/// Checks the files: certificates, secrets, modules.
pub fn files(config: &Config, report: &mut Report) {
    needed(config, report);
    if let Some(vault) = &config.vault {
        secret(&vault.config.token, &vault.token_at, report);
    }
    for target in &config.targets {
        secrets(target, report);
    }
    modules(config, report);
}

/// Checks those without which a gateway does not start.
pub fn needed(config: &Config, report: &mut Report) {
    certificate(config, report);
    webhook(config, report);
    if let Some(vault) = &config.vault
        && let Err(error) = Credentials::new().prepare_vault(&vault.config)
    {
        report.push(Problem::error(Chain(&error).to_string()).at(vault.at.clone()).help(PATHS));
    }
    for target in &config.targets {
        if let Err(error) = target.settings.try_out() {
            report.push(tls_problem(&error).at(place(target, "ca")));
        }
    }
}

/// Loads the policies and tries their settings, as a gateway would. Modules that are not there are for
/// [`files`] to report.
pub fn policies(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let mut engine = config.policy_engine();
    // A check leaves no data folder behind where there is none yet.
    let scratch = tempfile::tempdir()?;
    if !engine.data_dir.is_dir() {
        engine.data_dir = scratch.path().to_owned();
    }
    let mut problems = sluicegate_policy_engine::check(&engine, &bindings(&config.targets))?;
    let present = modules_in(&config.policies.dir).unwrap_or_default();
    problems.retain(|problem| present.contains(&problem.module));
    explain(config, report, &problems);
    Ok(())
}

/// Gives the policy engine's problems their places.
pub fn explain(config: &Config, report: &mut Report, problems: &[sluicegate_policy_engine::Problem]) {
    for problem in problems {
        let target = config.targets.iter().find(|target| target.name == problem.target);
        let spans = target.and_then(|target| target.spans.bindings.get(problem.index));
        let message = format!("the policy `{}` is refused: {}", problem.module, problem.reason);
        let found = Problem::error(message);
        report.push(spans.map_or(found.clone(), |spans| found.at(spans.settings.clone())));
    }
}

fn certificate(config: &Config, report: &mut Report) {
    let Some(tls) = &config.tls else { return };
    let files = TlsFiles { cert: tls.cert.clone(), key: tls.key.clone() };
    if let Err(error) = ServerTls::load(files, &[]) {
        let at = match file_of(&error) {
            Some(path) if *path == tls.cert => tls.cert_span.clone(),
            _ => tls.key_span.clone(),
        };
        report.push(tls_problem(&error).at(at));
    }
}

fn webhook(config: &Config, report: &mut Report) {
    let Some(webhook) = &config.approvals.webhook else { return };
    // What a helper or Vault gives is looked at when the gateway starts.
    let Some(read) = sluicegate_credentials::at_hand(&webhook.secret) else {
        return secret(&webhook.secret, &webhook.secret_at, report);
    };
    let problem = match read {
        Err(error) => error.to_string(),
        Ok(secret) => match (WebhookConfig { url: webhook.url.clone(), secret }).check() {
            Err(error) => error.to_string(),
            Ok(()) => return,
        },
    };
    report.push(Problem::error(problem).at(webhook.secret_at.clone()));
}

fn secrets(target: &Target, report: &mut Report) {
    for (key, source) in target.settings.secrets() {
        secret(source, &place(target, key), report);
    }
}

/// Whether a secret is there, as far as can be told without running or asking anybody.
fn secret(source: &SecretSource, at: &Range<usize>, report: &mut Report) {
    if let Err(error) = sluicegate_credentials::check(source) {
        // A helper's arguments are not shown, whatever somebody wrote there.
        report.push(Problem::error(Chain(&error).to_string()).at(at.clone()).conceal());
    }
}

fn tls_problem(error: &TlsError) -> Problem {
    let problem = Problem::error(Chain(error).to_string());
    if file_of(error).is_some() { problem.help(PATHS) } else { problem }
}

/// The file that an error is about.
fn file_of(error: &TlsError) -> Option<&PathBuf> {
    match error {
        TlsError::Read { path, .. } | TlsError::Pem { path, .. } => Some(path),
        _ => None,
    }
}

fn place(target: &Target, key: &str) -> Range<usize> {
    let found = target.spans.keys.iter().find(|(name, _)| name == key);
    found.map_or_else(|| target.spans.name.clone(), |(_, span)| span.clone())
}

fn modules(config: &Config, report: &mut Report) {
    let dir = &config.policies.dir;
    let present = match modules_in(dir) {
        Ok(present) => present,
        Err(error) => {
            let problem = Problem::error(format!("the policies folder cannot be read: {}: {error}", dir.display()));
            let at = config.policies.span.clone();
            let bound = config.targets.iter().any(|t| !t.bindings.is_empty());
            if bound || at.is_some() {
                report.push(
                    at.map_or(problem.clone(), |span| problem.at(span))
                        .help("create it, or correct `dir` in [policies]"),
                );
            }
            return;
        }
    };
    for target in &config.targets {
        for (binding, at) in target.bindings.iter().zip(&target.spans.bindings) {
            if present.contains(&binding.module) {
                continue;
            }
            let message = format!("there is no module `{}` in {}", binding.module, dir.display());
            let names: Vec<&str> = present.iter().map(String::as_str).collect();
            let help = match super::section::meant(&binding.module, &names) {
                _ if names.is_empty() => {
                    "the folder holds no modules; `just policies` builds the shipped ones".to_owned()
                }
                Some(meant) => format!("did you mean `{meant}`? There are: {}", super::section::list(&names)),
                None => format!("there are: {}", super::section::list(&names)),
            };
            report.push(Problem::error(message).at(at.module.clone()).help(help));
        }
    }
}

fn modules_in(dir: &std::path::Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "wasm") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
