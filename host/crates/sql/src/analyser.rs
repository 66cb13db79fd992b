//! The analyser: texts in, analyses out, with a cache between.

use std::{collections::HashMap, sync::Arc};

use quick_cache::{Equivalent, Weighter, sync::Cache};
use sluicegate_core::sql::{Classes, SqlFacts};

use crate::{
    analysis::{Analysis, Context, Limits},
    budget::Budget,
    facts::Facts,
    lex,
    names::Names,
    sets,
    statement::Session,
    tokens::Tokens,
};

/// Longer texts are read anew each time.
const MAX_CACHED_BYTES: usize = 16 * 1024;

/// What one unit of the cache's capacity holds, in bytes.
const BYTES_PER_ENTRY: usize = 4 * 1024;

/// Statements whose analysis depends on literals or on the session's prepared statements and cursors.
const NEVER_CACHED: [&str; 6] = ["copy", "declare", "execute", "fetch", "move", "prepare"];

/// Words without which no statement names a prepared statement or a cursor.
const NAME_USERS: [&str; 4] = ["current", "execute", "fetch", "move"];

/// Reads SQL texts. Cheap to share: `analyse` takes `&self` and may be called from many threads.
#[derive(Debug)]
pub struct Analyser {
    limits: Limits,
    cache: Cache<Key, Arc<Analysis>, Weight>,
}

impl Analyser {
    /// An analyser that keeps up to `cache_entries` analyses of usual size, and fewer large ones.
    pub fn new(limits: Limits, cache_entries: usize) -> Self {
        let capacity = u64::try_from(cache_entries).unwrap_or(u64::MAX);
        Self { limits, cache: Cache::with_weighter(cache_entries, capacity, Weight) }
    }

    /// What a text does in this state of the session. It never fails: a text that cannot be analysed is
    /// `unanalysable` with its reason. Takes microseconds for usual texts, and time in proportion to the
    /// text up to the limits.
    pub fn analyse(&self, text: &str, context: &Context<'_>) -> Arc<Analysis> {
        let lexed = match lex::lex(text, context.standard_conforming_strings, &self.limits) {
            Ok(lexed) => lexed,
            Err(reason) => return Arc::new(refused(String::new(), reason)),
        };
        let tokens = Tokens::new(text, &lexed);
        let normalized = tokens.normalized();
        if text.len() > MAX_CACHED_BYTES || (0..tokens.len()).any(|at| is_never_cached(tokens, at)) {
            return Arc::new(self.read(tokens, normalized, context));
        }
        let probe = Probe {
            normalized: &normalized,
            search_path: context.search_path,
            conforming: context.standard_conforming_strings,
            generation: context.catalog.generation(),
        };
        if let Some(analysis) = self.cache.get(&probe) {
            return analysis;
        }
        let key = probe.to_key();
        let analysis = Arc::new(self.read(tokens, normalized, context));
        self.cache.insert(key, analysis.clone());
        analysis
    }

    /// What the body of a prepared statement or a cursor does. It was lexed before, as part of another
    /// text or when it was prepared.
    pub(crate) fn body(&self, text: &str, names: Names<'_>) -> Arc<Analysis> {
        let lexed = match lex::lex(text, true, &self.limits) {
            Ok(lexed) => lexed,
            Err(reason) => return Arc::new(refused(String::new(), reason)),
        };
        let tokens = Tokens::new(text, &lexed);
        let normalized = tokens.normalized();
        if !crate::statement::is_readable(tokens) {
            return Arc::new(refused(normalized, "a prepared body is neither a query nor a write".to_owned()));
        }
        if let Err(reason) = names.budget.read_again(tokens.len()) {
            return Arc::new(refused(normalized, reason));
        }
        let none = HashMap::new();
        Arc::new(self.statements(tokens, normalized, names, &none, &none))
    }

    /// The limits that texts are read within.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn read(&self, tokens: Tokens<'_>, normalized: String, context: &Context<'_>) -> Analysis {
        let budget = Budget::new();
        self.statements(tokens, normalized, Names::new(context, &budget), context.prepared, context.cursors)
    }

    fn statements(
        &self,
        tokens: Tokens<'_>,
        normalized: String,
        names: Names<'_>,
        prepared: &HashMap<String, Arc<Analysis>>,
        cursors: &HashMap<String, Arc<Analysis>>,
    ) -> Analysis {
        let split = match tokens.statements() {
            Ok(split) => split,
            Err(reason) => return refused(normalized, reason),
        };
        let mut session = Session { analyser: self, names, prepared, cursors, effects: Vec::new(), names_hold: true };
        let mut facts = Facts::default();
        let statements: Vec<_> = split.iter().map(|tokens| session.statement(*tokens, &mut facts)).collect();
        let source = match split.as_slice() {
            [only] => Some(Arc::from(only.source())),
            _ => None,
        };
        let facts = Arc::new(facts.finish(statements.len()));
        let uses_names = (0..tokens.len()).any(|at| NAME_USERS.iter().any(|word| tokens.is_word(at, word)));
        Analysis { facts, normalized: normalized.into(), statements, uses_names, source }
    }
}

/// Whether the word here makes an analysis depend on more than the normalised text. Which setting a call of
/// `set_config` sets is in a literal.
fn is_never_cached(tokens: Tokens<'_>, at: usize) -> bool {
    NEVER_CACHED.iter().any(|word| tokens.is_word(at, word)) || sets::is_set_config(tokens, at)
}

/// The analysis of a text that cannot be analysed as a whole.
fn refused(normalized: String, reason: String) -> Analysis {
    let facts = SqlFacts {
        classes: Classes::UNANALYSABLE,
        reaches_unknown: true,
        unanalysable: Some(reason),
        ..SqlFacts::default()
    };
    let (facts, normalized) = (Arc::new(facts), normalized.into());
    Analysis { facts, normalized, statements: Vec::new(), uses_names: true, source: None }
}

/// All that an analysis depends on, while no prepared statement or cursor is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    normalized: String,
    search_path: Vec<String>,
    conforming: bool,
    generation: u64,
}

/// A key that is looked up without being copied. It hashes as `Key` does.
#[derive(Hash)]
struct Probe<'a> {
    normalized: &'a str,
    search_path: &'a [String],
    conforming: bool,
    generation: u64,
}

impl Probe<'_> {
    fn to_key(&self) -> Key {
        Key {
            normalized: self.normalized.to_owned(),
            search_path: self.search_path.to_vec(),
            conforming: self.conforming,
            generation: self.generation,
        }
    }
}

impl Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.normalized == key.normalized
            && self.search_path == key.search_path
            && self.conforming == key.conforming
            && self.generation == key.generation
    }
}

/// Large analyses take the place of several.
#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Arc<Analysis>> for Weight {
    fn weight(&self, key: &Key, analysis: &Arc<Analysis>) -> u64 {
        let outputs: usize = analysis.statements.iter().map(|statement| statement.outputs.size()).sum();
        let columns = analysis.facts.reachable_columns.len() + analysis.facts.columns.len() + outputs;
        let bytes = key.normalized.len() * 3 + columns * 64;
        u64::try_from(1 + bytes / BYTES_PER_ENTRY).unwrap_or(u64::MAX)
    }
}
