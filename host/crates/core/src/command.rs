//! One command as policies see it and the record keeps it: neutral at its root, with typed facts.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::sql::SqlFacts;

/// Whether a command is about to run or is only made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Made ready for later runs, each of which is decided again. Recorded only when denied.
    Prepare,
    /// Runs as soon as it is forwarded.
    Run,
}

/// A bound parameter.
#[derive(Clone, PartialEq, Eq)]
pub enum Parameter {
    /// SQL NULL or its like.
    Null,
    /// Rendered as text.
    Text(Arc<str>),
    /// Binary of a type that cannot be rendered: its bytes.
    Opaque(Arc<[u8]>),
}

/// Parameters are the client's data, so their `Debug` shows no value.
impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Opaque(bytes) => write!(f, "Opaque({} bytes)", bytes.len()),
        }
    }
}

/// What a command depends on beside its text, in words. Only a command that people have to agree to needs
/// them, so they may be put off until then.
#[derive(Clone, Default)]
pub struct Context(Option<Arc<Words>>);

struct Words {
    written: OnceLock<String>,
    write: Box<dyn Fn() -> String + Send + Sync>,
}

impl Context {
    /// Words that are written when they are first read. `write` may use only what cannot change.
    pub fn later(write: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Words { written: OnceLock::new(), write: Box::new(write) })))
    }

    /// The words; empty where there are none.
    pub fn words(&self) -> &str {
        self.0.as_ref().map_or("", |words| words.written.get_or_init(|| (words.write)()))
    }
}

impl From<&str> for Context {
    fn from(words: &str) -> Self {
        let words = words.to_owned();
        Self::later(move || words.clone())
    }
}

/// One command.
#[derive(Clone)]
pub struct Command {
    /// What the protocol does with it: `query`, `prepare`, `execute`, `function-call`, ...
    pub verb: &'static str,
    /// Runs now, or is made ready.
    pub phase: Phase,
    /// The text as the target will read it.
    pub text: Arc<str>,
    /// The text with every literal replaced by `?`; empty where it could not be lexed.
    pub normalized: Arc<str>,
    /// What it names in its protocol's terms; for SQL this is derived from `sql`.
    pub resources: Vec<String>,
    /// Its bound parameters.
    pub parameters: Vec<Parameter>,
    /// The same as the client sent them, formats included, where they come apart from the text. An
    /// approval covers these very bytes: two values may look alike as text.
    pub wire: Bytes,
    /// Whether it is here in full: a protocol may stream what is too large to be read whole, and what a
    /// command names may be too much to be shown. Where it is not, nobody is asked to approve it.
    pub whole: bool,
    /// What it depends on beside its text: session settings by which the target reads it.
    pub context: Context,
    /// Facts about SQL.
    pub sql: Option<Arc<SqlFacts>>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("verb", &self.verb)
            .field("normalized", &self.normalized)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}
