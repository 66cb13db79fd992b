//! From a file to code that can run: reading it, making it a component if it is a core module,
//! refusing what imports too much or was made for another contract, compiling, and `describe`.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use sluicegate_core::{hex, record};
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

use crate::{
    cache::Cache,
    contract::{
        PolicyPre,
        exports::sluicegate::policy::guest::{Description, Interests},
    },
    instance::{CallError, Instance, State},
    runtime::Runtime,
    voice::Voice,
};

/// The interfaces that policies may import start so.
const PACKAGE: &str = "sluicegate:policy/";
/// What a policy exports, without its version.
const GUEST: &str = "sluicegate:policy/guest";
/// Versions of the contract that this gateway accepts start so.
const ACCEPTED: &str = "0.1.";
/// The largest file that is read; a Python policy has 18 MiB.
const MAX_MODULE: u64 = 64 << 20;
const MAX_FIXTURES: u64 = 4 << 20;

/// A policy that can run.
pub(crate) struct Module {
    /// SHA-256 of the file, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) pre: PolicyPre<State>,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) loaded_at: i64,
}

/// Why a file is not a policy that this gateway runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the file could not be read: {0}")]
    Read(#[from] io::Error),
    #[error("the file is larger than {0} MiB")]
    Size(u64),
    #[error("its fixtures are not UTF-8")]
    Fixtures,
    #[error("the module's name `{0}` is not a plain file name of letters, digits, `-`, `_` and `.`")]
    Name(String),
    #[error("it is a core module that could not be made a component: {0}; build it with the SDK")]
    Componentise(String),
    #[error("it is not valid WebAssembly: {0}")]
    Compile(String),
    #[error("it is damaged in a way that the compiler does not survive; build it again")]
    Crash,
    #[error("it imports `{0}`; a policy may import nothing but `sluicegate:policy`")]
    Import(String),
    #[error(
        "it was made for the contract `{0}`, and this gateway speaks {ACCEPTED}x; build it again with a matching SDK"
    )]
    Version(String),
    #[error("it does not export `{GUEST}`, so it is not a policy")]
    NotAPolicy,
    #[error("it does not fit the contract: {0}")]
    Contract(String),
    #[error("it failed when it was tried: {0}")]
    Describe(#[from] CallError),
    #[error("its settings schema is not JSON: {0}")]
    Schema(serde_json::Error),
}

/// What is in a policy's file.
pub(crate) enum File {
    Missing,
    Present(Shipped),
}

/// A module and what it ships with.
pub(crate) struct Shipped {
    pub(crate) bytes: Vec<u8>,
    /// SHA-256 of the module, in hexadecimal.
    pub(crate) digest: String,
    /// `<name>.fixtures.json`, if there is one.
    pub(crate) fixtures: Option<String>,
}

/// Reads the file of a module.
pub(crate) fn read(dir: &Path, name: &str) -> Result<File, LoadError> {
    let Some(bytes) = read_bounded(&path(dir, name)?, MAX_MODULE)? else { return Ok(File::Missing) };
    let digest = hex(&Sha256::digest(&bytes));
    let fixtures = match read_bounded(&path(dir, name)?.with_extension("fixtures.json"), MAX_FIXTURES)? {
        Some(fixtures) => Some(String::from_utf8(fixtures).map_err(|_| LoadError::Fixtures)?),
        None => None,
    };
    Ok(File::Present(Shipped { bytes, digest, fixtures }))
}

fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, LoadError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::Size(limit >> 20));
    }
    Ok(Some(bytes))
}

/// The path of a module's file. A name that would leave the folder is an error.
pub(crate) fn path(dir: &Path, name: &str) -> Result<PathBuf, LoadError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(LoadError::Name(record::cut(name, 128).0));
    }
    Ok(dir.join(format!("{name}.wasm")))
}

impl Runtime {
    /// Makes a policy of a file's bytes. Takes seconds where it must compile.
    pub(crate) fn load(
        &self,
        name: &str,
        bytes: &[u8],
        digest: &str,
        cache: Option<&Cache>,
    ) -> Result<Module, LoadError> {
        // Parsers and compilers have bugs, and a file that finds one must not end the watching of files.
        catch_unwind(AssertUnwindSafe(|| self.make(name, bytes, digest, cache))).unwrap_or(Err(LoadError::Crash))
    }

    fn make(&self, name: &str, bytes: &[u8], digest: &str, cache: Option<&Cache>) -> Result<Module, LoadError> {
        let component = self.component(bytes, digest, cache)?;
        self.check_world(&component)?;
        let pre = self
            .linker
            .instantiate_pre(&component)
            .and_then(PolicyPre::new)
            .map_err(|error| LoadError::Contract(format!("{error:#}")))?;
        let description = self.describe(name, &pre)?;
        serde_json::from_str::<serde_json::Value>(&description.settings_schema).map_err(LoadError::Schema)?;
        Ok(Module {
            digest: digest.to_owned(),
            pre,
            name: record::cut(&description.name, 128).0,
            version: record::cut(&description.version, 128).0,
            loaded_at: record::now(),
        })
    }

    /// Whether a binding's settings suit the policy, and what interests it under them.
    pub(crate) fn try_settings(&self, name: &str, module: &Module, settings: &str) -> Result<Interests, CallError> {
        patiently(|| {
            let voice = Arc::new(Voice::new("", name));
            Instance::start(self, &module.pre, voice)?.configure(settings)
        })
    }

    fn describe(&self, name: &str, pre: &PolicyPre<State>) -> Result<Description, CallError> {
        patiently(|| {
            let voice = Arc::new(Voice::new("", name));
            Instance::start(self, pre, voice)?.describe()
        })
    }

    fn component(&self, bytes: &[u8], digest: &str, cache: Option<&Cache>) -> Result<Component, LoadError> {
        let context = self.cache_context();
        if let Some(component) = cache.and_then(|cache| cache.load(&self.engine, &context, digest)) {
            return Ok(component);
        }
        let encoded = if is_core_module(bytes) { Some(self.componentise(bytes)?) } else { None };
        let component = Component::from_binary(&self.engine, encoded.as_deref().unwrap_or(bytes))
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        if let Some(cache) = cache {
            cache.store(&component, &context, digest);
        }
        Ok(component)
    }

    /// Makes a core module a component, by the type information that the SDKs put into it.
    fn componentise(&self, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        // wit-component takes valid modules for granted and panics over others, such as one that is
        // still being written.
        wasmtime::Module::validate(&self.engine, bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        ComponentEncoder::default()
            .module(bytes)
            .and_then(|encoder| encoder.validate(true).encode())
            .map_err(|error| LoadError::Componentise(format!("{error:#}")))
    }

    /// What compiled code depends on beside the module.
    fn cache_context(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        format!("{} {:016x}", env!("CARGO_PKG_VERSION"), hasher.finish())
    }

    fn check_world(&self, component: &Component) -> Result<(), LoadError> {
        let world = component.component_type();
        for (import, _) in world.imports(&self.engine) {
            if !import.starts_with(PACKAGE) {
                return Err(LoadError::Import(import.to_owned()));
            }
            accepted(import)?;
        }
        let mut exports = world.exports(&self.engine).map(|(name, _)| name);
        let guest = exports.find(|name| name.split('@').next() == Some(GUEST)).ok_or(LoadError::NotAPolicy)?;
        accepted(guest)
    }
}

/// Tries again where a busy machine may have made a call late: nobody is waiting for this one.
fn patiently<T>(mut call: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    for _ in 0..2 {
        match call() {
            Err(CallError::Deadline(_)) => {}
            other => return other,
        }
    }
    call()
}

fn accepted(interface: &str) -> Result<(), LoadError> {
    match interface.split_once('@') {
        Some((_, version)) if version.starts_with(ACCEPTED) => Ok(()),
        _ => Err(LoadError::Version(interface.to_owned())),
    }
}

/// The binary format's preamble: the version of core modules is 1, and its layer 0.
/// <https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>
fn is_core_module(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(&[1, 0, 0, 0])
}
