//! `[admin]` and `[approvals]`: who runs the gateway, where its API listens, and how long commands wait
//! for people.

use std::ops::Range;

use serde::Deserialize;
use sluicegate_admin::WebhookUrl;
use sluicegate_core::{Principal, approvals::ApprovalLimits, secret::SecretSource};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Admin, Approvals, Webhook,
    amounts::{Time, within},
    parse::{Reader, span_of},
    report::Problem,
    section,
    targets::{wrong_lease, wrong_source},
};

/// Where the API listens unless `listen` says otherwise.
const LISTEN: &str = "127.0.0.1:7400";
/// The most commands that may be held at a time.
pub const MAX_PENDING: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalsSection {
    expires: Option<Spanned<Time>>,
    max_pending: Option<Spanned<u64>>,
    max_pending_per_identity: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookSection {
    url: Spanned<String>,
    secret: Option<SecretSource>,
}

impl Reader<'_> {
    /// `[admin]`. Without `exposed` it listens on loopback addresses only.
    pub(super) fn admin(&mut self, value: Spanned<DeValue<'_>>, exposed: bool) -> Option<Admin> {
        let table = section::table(self.report, "[admin]", value)?;
        let (span, mut table) = (table.span(), table.into_inner());
        let listen_at = table.get("listen").map_or(span.clone(), Spanned::span);
        let listen = match table.remove("listen") {
            Some(value) => self.listen_address(value, exposed),
            None => LISTEN.parse().ok(),
        };
        let (admins, admins_at) = self.principals("admins", table.remove("admins"));
        let (scrapers, scrapers_at) = self.principals("metrics", table.remove("metrics"));
        for (key, _) in table {
            section::unknown_key(self.report, "[admin]", key.get_ref(), key.span(), &["listen", "admins", "metrics"]);
        }
        Some(Admin { listen: listen?, admins, scrapers, at: span, listen_at, admins_at, scrapers_at })
    }

    /// A list of users and groups, each with its place.
    pub(super) fn principals(
        &mut self,
        key: &str,
        value: Option<Spanned<DeValue<'_>>>,
    ) -> (Vec<Principal>, Vec<Range<usize>>) {
        if let Some(value) = &value
            && let DeValue::String(one) = value.get_ref()
        {
            let problem = Problem::error(format!("`{key}` is a list")).at(value.span());
            // A bare name is most often a group's.
            let kind = if one.parse::<Principal>().is_ok() { "" } else { "group:" };
            self.report.push(problem.help(format!("write `{key} = [\"{kind}{}\"]`", one.escape_debug())));
            return (Vec::new(), Vec::new());
        }
        let texts: Option<Vec<Spanned<String>>> = value.and_then(|value| section::value(self.report, value));
        let mut principals = Vec::new();
        for text in texts.into_iter().flatten() {
            match text.get_ref().parse::<Principal>() {
                Ok(principal) => principals.push((principal, text.span())),
                Err(error) => self.report.push(Problem::error(error.to_string()).at(text.span())),
            }
        }
        principals.into_iter().unzip()
    }

    /// `[approvals]`.
    pub(super) fn approvals(&mut self, value: Option<Spanned<DeValue<'_>>>) -> Approvals {
        let mut limits = ApprovalLimits::default();
        let Some(table) = value.and_then(|value| section::table(self.report, "[approvals]", value)) else {
            return Approvals { limits, webhook: None };
        };
        let (span, mut table) = (table.span(), table.into_inner());
        let webhook = table.remove("webhook").and_then(|webhook| self.webhook(webhook));
        let table = Spanned::new(span, table);
        let Some(section) = section::read::<ApprovalsSection>(self.report, "[approvals]", table, &["webhook"]) else {
            return Approvals { limits, webhook };
        };
        let longest = Time(limits.max_expires);
        if let Some(Time(expires)) = within(self.report, "expires", section.expires, Time::seconds(1)..=longest) {
            limits.expires = expires;
        }
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        if let Some(most) = within(self.report, "max_pending", section.max_pending, 1..=MAX_PENDING as u64) {
            limits.max_pending = count(most);
        }
        let (key, bounds) = ("max_pending_per_identity", 1..=limits.max_pending as u64);
        limits.max_pending_per_identity = match within(self.report, key, section.max_pending_per_identity, bounds) {
            Some(most) => count(most),
            None => limits.max_pending_per_identity.min(limits.max_pending),
        };
        Approvals { limits, webhook }
    }

    fn webhook(&mut self, value: Spanned<DeValue<'_>>) -> Option<Webhook> {
        const NAME: &str = "[approvals.webhook]";
        let mut table = section::table(self.report, NAME, value)?;
        let secret_at = span_of(&table, "secret");
        let url_key = key_of(table.get_ref(), "url");
        if !table.get_ref().contains_key("secret") {
            let problem = Problem::error("missing key `secret`").at(table.span());
            self.report
                .push(problem.help("requests are signed with it: write `secret = { env = \"NAME\" }`").conceal());
        }
        self.secret_source("secret", table.get_mut());
        let WebhookSection { url, secret } = section::read(self.report, NAME, table, &[])?;
        match url.get_ref().parse::<WebhookUrl>() {
            Ok(url) => {
                let mut secret = secret?;
                secret.resolve(&self.base);
                Some(Webhook { url, secret, secret_at })
            }
            Err(error) => {
                // A URL may hold a password, so its line is not shown.
                let at = url_key.unwrap_or_else(|| url.span());
                self.report.push(Problem::error(error.to_string()).at(at).help(error.help()).conceal());
                None
            }
        }
    }

    /// A secret written into the file is named and never shown, so serde must not see it.
    pub(super) fn secret_source(&mut self, key: &str, table: &mut DeTable<'_>) {
        self.source(key, table, wrong_source);
    }

    /// The same where credentials are lent.
    pub(super) fn lease_source(&mut self, key: &str, table: &mut DeTable<'_>) {
        self.source(key, table, wrong_lease);
    }

    fn source(
        &mut self,
        key: &str,
        table: &mut DeTable<'_>,
        wrong: fn(&str, &DeValue<'_>) -> Option<(String, String)>,
    ) {
        let Some((message, help)) = table.get(key).and_then(|value| wrong(key, value.get_ref())) else { return };
        let Some(value) = table.remove(key) else { return };
        self.report.push(Problem::error(message).at(value.span()).help(help).conceal());
    }
}

/// Where a key itself stands.
fn key_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    table.keys().find(|found| found.get_ref() == key).map(Spanned::span)
}
