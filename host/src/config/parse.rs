//! From the file's text to a [`Config`]: what can be known without looking at anything else.

use std::{
    collections::HashMap,
    net::{Ipv6Addr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use sluicegate_identity::{BuiltinUsers, Issuer, User};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Config, Listen, Loaded, Policies, Tls,
    cross::Callers,
    report::{Problem, Report},
    section,
};
use crate::serve::PROTOCOLS;

const DATA_DIR: &str = "data";

/// Syntax errors beyond this many are usually the same one again.
const MAX_SYNTAX_ERRORS: usize = 3;

pub(super) type Table<'i> = Spanned<DeTable<'i>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoliciesSection {
    dir: Option<PathBuf>,
    deadline_ms: Option<Spanned<u64>>,
}

/// Reads a text. Whatever is wrong with it stands in the report, and then there is no config.
pub fn parse(path: &Path, text: String) -> Loaded {
    let mut report = Report::new(path, text.clone());
    let (root, errors) = DeTable::parse_recoverable(&text);
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        let problem = Problem::error(error.message());
        report.push(error.span().map_or(problem.clone(), |span| problem.at(span)));
    }
    if !errors.is_empty() {
        return Loaded { config: None, refused: None, report };
    }
    let read = Reader { report: &mut report, base: base(path).to_owned() }.config(path, &text, root.into_inner());
    let (config, refused) = if report.errors() == 0 { (read, None) } else { (None, read) };
    Loaded { config, refused, report }
}

/// The data folder alone, whatever else is wrong with the text. None where it may be the very thing
/// that is wrong.
pub fn data_dir(path: &Path, text: &str) -> Option<PathBuf> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let is_it = |line: &str| line.trim_start().trim_start_matches(['"', '\'']).starts_with("data_dir");
    let line_at = |at: usize| text.get(..at).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    if errors.iter().any(|error| error.span().is_none_or(|span| is_it(line_at(span.end)))) {
        return None;
    }
    match root.get_ref().get("data_dir").map(Spanned::get_ref) {
        Some(DeValue::String(data_dir)) => Some(base(path).join(data_dir.as_ref())),
        None if errors.is_empty() || !text.lines().any(is_it) => Some(base(path).join(DATA_DIR)),
        _ => None,
    }
}

/// What paths in the file start from.
fn base(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

/// Goes through a file; `targets` is the other half.
pub(super) struct Reader<'r> {
    pub(super) report: &'r mut Report,
    /// What paths in the file start from.
    pub(super) base: PathBuf,
}

impl Reader<'_> {
    fn config(mut self, path: &Path, text: &str, mut root: DeTable<'_>) -> Option<Config> {
        let data_dir =
            root.remove("data_dir").map_or(Some(PathBuf::from(DATA_DIR)), |v| section::value(self.report, v));
        let recording = root.remove("recording").map_or(Some(Default::default()), |v| section::value(self.report, v));
        let tls = root.remove("tls").and_then(|v| self.tls(v));
        let allow_plaintext = root.remove("allow_plaintext").and_then(|v| section::value(self.report, v));
        let allow_plaintext = allow_plaintext.unwrap_or(false);
        let exposed = tls.is_some() || allow_plaintext;
        let listen = self.listen(root.remove("listen"), exposed);
        let admin = root.remove("admin").and_then(|v| self.admin(v, exposed));
        let limits = self.limits(root.remove("limits"), root.remove("shutdown"));
        let proxies = self.proxies(root.remove("proxy_protocol"), &listen, admin.is_some());
        let approvals = self.approvals(root.remove("approvals"));
        let log = self.log(root.remove("log"));
        let record = self.record(root.remove("record"));
        let vault = root.remove("vault").map(|v| self.vault(v));
        let telemetry = root.remove("telemetry").and_then(|v| self.telemetry(v));
        let policies = self.policies(root.remove("policies"));
        let (users, issuers) = self.identity(root.remove("identity"));
        let roles = self.roles(root.remove("role"));
        let targets = self.targets(root.remove("target"));
        if vault.is_none() {
            self.places_in_vault(&targets, &approvals);
        }
        for (key, _) in root {
            section::unknown_key(self.report, "", key.get_ref(), key.span(), section::TOP);
        }
        if self.report.errors() == 0 {
            let callers = Callers { users: &users, issuers: &issuers };
            self.cross_check(&callers, &roles, &targets, &listen, admin.as_ref());
        }
        Some(Config {
            path: path.to_owned(),
            text: text.to_owned(),
            data_dir: self.base.join(data_dir?),
            recording: recording?,
            tls,
            allow_plaintext,
            listen,
            limits,
            proxies,
            admin,
            approvals,
            log,
            record,
            telemetry,
            vault: vault.flatten(),
            policies: policies?,
            users,
            issuers,
            roles: roles.into_iter().map(|read| read.role).collect(),
            targets: targets.into_iter().map(|(target, _)| target).collect(),
        })
    }

    fn tls(&mut self, value: Spanned<DeValue<'_>>) -> Option<Tls> {
        let table = section::table(self.report, "[tls]", value)?;
        let (cert_span, key_span) = (span_of(&table, "cert"), span_of(&table, "key"));
        let TlsSection { cert, key } = section::read(self.report, "[tls]", table, &[])?;
        Some(Tls { cert: self.base.join(cert), key: self.base.join(key), cert_span, key_span })
    }

    fn policies(&mut self, value: Option<Spanned<DeValue<'_>>>) -> Option<Policies> {
        let Some(value) = value else {
            return Some(Policies { dir: self.base.join("policies"), deadline: None, span: None });
        };
        let table = section::table(self.report, "[policies]", value)?;
        let span = Some(table.span());
        let PoliciesSection { dir, deadline_ms } = section::read(self.report, "[policies]", table, &[])?;
        let dir = self.base.join(dir.unwrap_or_else(|| PathBuf::from("policies")));
        if let Some(deadline) = deadline_ms.as_ref().filter(|d| !(1..=10_000).contains(d.get_ref())) {
            let problem = Problem::error("`deadline_ms` is between 1 and 10000").at(deadline.span());
            self.report.push(problem.help("20 is the default, and plenty for most policies"));
        }
        Some(Policies { dir, deadline: deadline_ms.map(|d| Duration::from_millis(d.into_inner())), span })
    }

    /// `[listen]`: a key for each protocol.
    fn listen(&mut self, value: Option<Spanned<DeValue<'_>>>, exposed: bool) -> Vec<Listen> {
        let mut found = Vec::new();
        let Some(table) = value.and_then(|value| section::table(self.report, "[listen]", value)) else {
            let problem = Problem::error("the gateway has nothing to listen on");
            self.report.push(problem.help("add `[listen]` with, for example, `postgres = \"127.0.0.1:15432\"`"));
            return found;
        };
        let table = table.into_inner();
        for (key, value) in table {
            let Some(protocol) = PROTOCOLS.iter().find(|p| p.name == key.get_ref()) else {
                let known: Vec<&str> = PROTOCOLS.iter().map(|p| p.name).collect();
                section::unknown_key(self.report, "[listen]", key.get_ref(), key.span(), &known);
                continue;
            };
            let at = value.span();
            if let Some(address) = self.listen_address(value, exposed) {
                found.push(Listen { protocol, address, at });
            }
        }
        found
    }

    /// An address to listen on. Without `exposed` only those of loopback are fine.
    pub(super) fn listen_address(&mut self, value: Spanned<DeValue<'_>>, exposed: bool) -> Option<SocketAddr> {
        let span = value.span();
        let address = self.address(value)?;
        if !sluicegate_net::is_loopback(address.ip()) && !exposed {
            let problem =
                Problem::error(format!("{address} can be reached from other machines, and there is no [tls]"));
            self.report.push(problem.at(span).help(
                "add `[tls]` with `cert` and `key`, listen on 127.0.0.1, or set `allow_plaintext = true` at the top of the file",
            ));
        }
        Some(address)
    }

    fn address(&mut self, value: Spanned<DeValue<'_>>) -> Option<SocketAddr> {
        let span = value.span();
        let text: String = section::value(self.report, value)?;
        let address = text.parse().ok();
        if address.is_none() {
            let problem = Problem::error(format!("`{}` is not an address to listen on", text.escape_debug())).at(span);
            let help = match text.rsplit_once(':') {
                Some(("", port)) => format!("write `0.0.0.0:{}` for every interface", port.escape_debug()),
                Some((ip, port)) if ip.parse::<Ipv6Addr>().is_ok() => {
                    format!("write `[{ip}]:{}`, with the IPv6 address in brackets", port.escape_debug())
                }
                Some(("localhost", port)) => format!("write `127.0.0.1:{}`", port.escape_debug()),
                _ => "write an IP address and a port, such as `127.0.0.1:15432`".to_owned(),
            };
            self.report.push(problem.help(help));
        }
        address
    }

    /// `[identity]`: the built-in users, and the issuers of tokens.
    fn identity(&mut self, value: Option<Spanned<DeValue<'_>>>) -> (Vec<User>, Vec<Issuer>) {
        let Some(table) = value.and_then(|value| section::table(self.report, "[identity]", value)) else {
            return Default::default();
        };
        let mut table = table.into_inner();
        let users = table.remove("user").map(|v| section::tables(self.report, "identity.user", v)).unwrap_or_default();
        let issuers =
            table.remove("oidc").map(|v| section::tables(self.report, "identity.oidc", v)).unwrap_or_default();
        for (key, _) in table {
            section::unknown_key(self.report, "[identity]", key.get_ref(), key.span(), &["user", "oidc"]);
        }
        let mut names: HashMap<String, usize> = HashMap::new();
        let users = users.into_iter().filter_map(|user| self.user(user, &mut names)).collect();
        (users, self.issuers(issuers))
    }

    fn issuers(&mut self, tables: Vec<Table<'_>>) -> Vec<Issuer> {
        let last = tables.last().map(Spanned::span);
        let read = |table| section::read::<Issuer>(self.report, "[[identity.oidc]]", table, &[]);
        let issuers: Vec<_> = tables.into_iter().filter_map(read).collect();
        if let (Err(invalid), Some(at)) = (Issuer::check(&issuers), last) {
            self.report.push(Problem::error(invalid.to_string()).at(at));
        }
        issuers
    }

    fn user(&mut self, table: Table<'_>, names: &mut HashMap<String, usize>) -> Option<User> {
        let name_at = span_of(&table, "name");
        let hash_at = span_of(&table, "secret_hash");
        let owner_at = span_of(&table, "owner");
        let user: User = section::read(self.report, "[[identity.user]]", table, &[])?;
        self.unique("user", &user.name, name_at.clone(), names);
        if let Err(invalid) = BuiltinUsers::new(std::slice::from_ref(&user)) {
            use sluicegate_identity::UserProblem::{Hash, Name, Owner};
            let at = match invalid.why {
                Name => name_at,
                Owner => owner_at,
                _ => hash_at,
            };
            let problem = Problem::error(match &invalid.why {
                Hash(why) => format!("the `secret_hash` of user `{}` is refused: {why}", invalid.name),
                _ => invalid.to_string(),
            });
            let problem = problem.at(at);
            let is_hash = matches!(invalid.why, Hash(_));
            self.report.push(if is_hash { problem.help("make one with `sluicegate user hash`") } else { problem });
        }
        Some(user)
    }

    pub(super) fn unique(&mut self, what: &str, name: &str, span: Range<usize>, names: &mut HashMap<String, usize>) {
        let line = self.report.line_of(span.start);
        if let Some(first) = names.insert(name.to_owned(), line) {
            let problem = Problem::error(format!("the {what} `{}` is defined twice", name.escape_debug()));
            self.report.push(problem.at(span).help(format!("the first one is on line {first}; rename or remove one")));
        }
    }
}

/// Where a key's value stands; the table's own place where there is none.
pub(super) fn span_of(table: &Table<'_>, key: &str) -> Range<usize> {
    table.get_ref().get(key).map_or(table.span(), Spanned::span)
}
