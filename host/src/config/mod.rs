//! The configuration: one TOML file, read into what the gateway needs and nothing more. Everything
//! found wrong is reported at once, with its place; see [`report`].
//!
//! * [`parse`], [`connections`], [`control`], [`log`], [`record`], [`roles`], [`targets`] and [`vault`] go through the file, and
//!   with [`cross`] check what can be known from the text alone.
//! * [`world`] checks what the text points to: secrets, certificates, modules and their settings.
//! * [`fields`], [`section`] and [`amounts`] are how tables become structs.

mod amounts;
mod connections;
mod control;
mod cross;
mod fields;
mod log;
mod parse;
mod record;
pub mod report;
mod roles;
pub mod section;
mod targets;
mod vault;

#[cfg(test)]
mod tests;
mod world;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use sluicegate_admin::WebhookUrl;
use sluicegate_core::{
    Principal, access::Role, approvals::ApprovalLimits, policy::Binding, record::Recording, secret::SecretSource,
};
use sluicegate_credentials::VaultConfig;
use sluicegate_identity::{Issuer, User};
use sluicegate_net::{Limits, Proxies, SessionLimits};
use sluicegate_recorder::Retention;
use sluicegate_telemetry::Endpoint;

use crate::{
    logging::Log,
    serve::{Protocol, ProtocolTarget},
};
pub use connections::ADMIN;
pub use control::MAX_PENDING;
use report::{Problem, Report};

/// The most bytes that a configuration may have.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A configuration whose text is in order. Its paths no longer depend on the working folder.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// What the file held, to notice changes.
    pub text: String,
    /// Where the gateway keeps its state.
    pub data_dir: PathBuf,
    /// When a client may see a command's completion.
    pub recording: Recording,
    /// The certificate for clients.
    pub tls: Option<Tls>,
    /// Whether clients off this machine may connect without TLS.
    pub allow_plaintext: bool,
    /// Where to listen, one address for each protocol at most.
    pub listen: Vec<Listen>,
    /// What each protocol's listener bounds, from `[limits]` and `[shutdown]`.
    pub limits: Limits,
    /// The proxies before each listener, by its protocol's name or [`ADMIN`].
    pub proxies: HashMap<&'static str, Proxies>,
    /// The API over TCP; none without `[admin]`.
    pub admin: Option<Admin>,
    /// How commands wait for people.
    pub approvals: Approvals,
    /// How the gateway logs.
    pub log: Log,
    /// What the record keeps.
    pub record: Record,
    /// The collector that gets traces; none where nobody is to get any.
    pub telemetry: Option<Endpoint>,
    /// Where credentials are kept and lent; none without `[vault]`.
    pub vault: Option<Vault>,
    /// Where policies come from.
    pub policies: Policies,
    /// The built-in users.
    pub users: Vec<User>,
    /// Whose tokens count.
    pub issuers: Vec<Issuer>,
    /// The roles.
    pub roles: Vec<Role>,
    /// The targets.
    pub targets: Vec<Target>,
}

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    cert_span: Range<usize>,
    key_span: Range<usize>,
}

/// One key of `[listen]`.
#[derive(Debug, Clone)]
pub struct Listen {
    /// What is spoken there.
    pub protocol: &'static Protocol,
    /// The address.
    pub address: SocketAddr,
    at: Range<usize>,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Who may use all of it, and answers where a policy names no approvers.
    pub admins: Vec<Principal>,
    /// Who else may scrape the measurements.
    pub scrapers: Vec<Principal>,
    at: Range<usize>,
    listen_at: Range<usize>,
    admins_at: Vec<Range<usize>>,
    scrapers_at: Vec<Range<usize>>,
}

/// `[approvals]`.
#[derive(Debug, Clone)]
pub struct Approvals {
    /// How many may be pending, and for how long.
    pub limits: ApprovalLimits,
    /// Who else is told of them.
    pub webhook: Option<Webhook>,
}

/// `[approvals.webhook]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What is posted to.
    pub url: WebhookUrl,
    /// What requests are signed with.
    pub secret: SecretSource,
    secret_at: Range<usize>,
}

/// `[vault]`.
#[derive(Debug, Clone)]
pub struct Vault {
    /// What it says.
    pub config: VaultConfig,
    at: Range<usize>,
    token_at: Range<usize>,
}

/// `[record]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// How many bytes of each command's results are kept; 0 for none.
    pub output: usize,
    /// How long sessions are kept where their target does not say.
    pub retention: Retention,
}

/// `[policies]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// The folder of the modules.
    pub dir: PathBuf,
    /// How long one call may take; none for the engine's own default.
    pub deadline: Option<Duration>,
    span: Option<Range<usize>>,
}

/// One `[[target]]`.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name, by which clients ask for it.
    pub name: String,
    /// What it speaks.
    pub protocol: &'static Protocol,
    /// Who may use it.
    pub allow: Vec<Principal>,
    /// By which roles find it.
    pub labels: BTreeMap<String, String>,
    /// How long its sessions are kept; none for what `[record]` says.
    pub retention: Option<Retention>,
    /// How long its sessions may last.
    pub session: SessionLimits,
    /// Its policies, in the file's order.
    pub bindings: Vec<Binding>,
    /// What its protocol needs to know.
    pub settings: ProtocolTarget,
    spans: TargetSpans,
}

/// Where a target's parts stand.
#[derive(Debug, Clone)]
struct TargetSpans {
    name: Range<usize>,
    /// What the protocol's own keys are assigned, by key.
    keys: Vec<(String, Range<usize>)>,
    bindings: Vec<BindingSpans>,
}

/// Where a binding's parts stand.
#[derive(Debug, Clone)]
struct BindingSpans {
    module: Range<usize>,
    settings: Range<usize>,
}

/// A file that was read, and what was found.
pub struct Loaded {
    /// None where there are errors.
    pub config: Option<Config>,
    /// Where there are errors, what could be read nevertheless: enough to look for more, no more.
    pub refused: Option<Config>,
    /// What was found.
    pub report: Report,
}

/// Why a file could not even be read.
#[derive(Debug, thiserror::Error)]
#[error("the configuration `{path}` cannot be read: {why}")]
pub struct ReadError {
    path: PathBuf,
    why: String,
}

/// Reads a file and checks its text. Blocking.
pub fn load(path: &Path) -> Result<Loaded, ReadError> {
    let text = read(path).map_err(|why| ReadError { path: path.to_owned(), why })?;
    Ok(parse::parse(path, text))
}

/// The data folder alone, for commands that only ask: they work whatever else is wrong with the file.
pub fn data_dir(path: &Path) -> anyhow::Result<PathBuf> {
    let text = read(path).map_err(|why| ReadError { path: path.to_owned(), why })?;
    parse::data_dir(path, &text).with_context(|| {
        format!("no `data_dir` can be read in the configuration `{}`; `sluicegate check` says why", path.display())
    })
}

/// Checks those of the files without which a gateway does not start. Blocking.
pub fn check_needed(config: &Config, report: &mut Report) {
    world::needed(config, report);
}

/// Checks the files that a configuration points to: certificates, secrets, modules. Blocking.
pub fn check_files(config: &Config, report: &mut Report) {
    world::files(config, report);
}

/// Loads the policies and tries their settings. Blocking; with modules to compile it takes seconds.
pub fn check_policies(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    world::policies(config, report)
}

/// Says where in the file the policy engine's problems come from.
pub fn explain(config: &Config, report: &mut Report, problems: &[sluicegate_policy_engine::Problem]) {
    world::explain(config, report, problems);
}

fn read(path: &Path) -> Result<String, String> {
    let missing = "there is no such file; name one with `--config`, or see `sluicegate demo` for a first look";
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing.to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    if size > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
