//! `[vault]`: where credentials are kept and lent, and the places in it that others name.

use std::{ops::Range, path::PathBuf};

use serde::Deserialize;
use sluicegate_core::secret::SecretSource;
use sluicegate_credentials::{VaultAddress, VaultConfig};
use toml::{Spanned, de::DeValue};

use super::{
    Approvals, Target, Vault,
    parse::{Reader, span_of},
    report::Problem,
    section,
};

const NAME: &str = "[vault]";
const TOKEN: &str = "write `token = { file = \"vault-token\" }`, or `env` or `exec` in the place of `file`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultSection {
    address: Spanned<String>,
    ca: Option<PathBuf>,
    namespace: Option<String>,
    token: Option<SecretSource>,
}

impl Reader<'_> {
    /// `[vault]`.
    pub(super) fn vault(&mut self, value: Spanned<DeValue<'_>>) -> Option<Vault> {
        let mut table = section::table(self.report, NAME, value)?;
        let (at, token_at) = (table.span(), span_of(&table, "token"));
        let absent = !table.get_ref().contains_key("token");
        if absent {
            self.report.push(Problem::error("missing key `token`").at(at.clone()).help(TOKEN).conceal());
        }
        self.secret_source("token", table.get_mut());
        let VaultSection { address, ca, namespace, token } = section::read(self.report, NAME, table, &[])?;
        let parsed = address.get_ref().parse::<VaultAddress>();
        if let Err(error) = &parsed {
            // A URL may hold a password, so its line is not shown.
            self.report.push(Problem::error(error.to_string()).at(at.clone()).conceal());
        }
        if let Some(SecretSource::Vault { .. }) = &token {
            let problem = Problem::error("the `token` of [vault] cannot be in Vault itself").at(token_at.clone());
            self.report.push(problem.help(TOKEN));
        }
        let mut config = VaultConfig { address: parsed.ok()?, ca, namespace, token: token? };
        config.resolve(&self.base);
        Some(Vault { config, at, token_at })
    }

    /// Names the places in Vault where there is none.
    pub(super) fn places_in_vault(&mut self, targets: &[(Target, Vec<Range<usize>>)], approvals: &Approvals) {
        for (target, _) in targets {
            let is_there = |source: &SecretSource| matches!(source, SecretSource::Vault { .. });
            let secrets = target.settings.secrets().into_iter().filter(|(_, source)| is_there(source));
            let keys = secrets.map(|(key, _)| key).chain(target.settings.leases().into_iter().map(|(key, _)| key));
            for key in keys {
                let at = target.spans.keys.iter().find(|(name, _)| name == key);
                self.no_vault(at.map_or_else(|| target.spans.name.clone(), |(_, at)| at.clone()));
            }
        }
        if let Some(webhook) = &approvals.webhook
            && matches!(webhook.secret, SecretSource::Vault { .. })
        {
            self.no_vault(webhook.secret_at.clone());
        }
    }

    fn no_vault(&mut self, at: Range<usize>) {
        let problem = Problem::error("this is a place in Vault, and there is no [vault]").at(at);
        let help = "add `[vault]` with `address = \"https://vault.example.com:8200\"` and `token = { file = \"vault-token\" }`";
        self.report.push(problem.help(help));
    }
}
