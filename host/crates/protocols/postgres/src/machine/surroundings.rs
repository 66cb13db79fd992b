//! What a command depends on beside its text: the session's settings. An approval covers a command only
//! as long as they are the same, so what cannot be told is never the same twice. Only what code that cannot
//! be looked into does to settings that nobody reports is not seen.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use sha2::{Digest, Sha256};
use sluicegate_sql::{Analysis, Effect, Sets};

/// Settings that the server reports, as far as results and writes depend on them, and those that the gate
/// asks for.
const KNOWN: [&str; 9] = [
    "role",
    "search_path",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "client_encoding",
    "default_transaction_read_only",
    "session_authorization",
    "standard_conforming_strings",
];

/// Settings on which no command's meaning depends, and what SET names that are none.
const HARMLESS: [&str; 16] = [
    "application_name",
    "characteristics",
    "client_min_messages",
    "constraints",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lock_timeout",
    "maintenance_work_mem",
    "statement_timeout",
    "synchronous_commit",
    "transaction",
    "transaction_isolation",
    "transaction_timeout",
    "work_mem",
];

/// A value that is longer is shown in part.
const MAX_VALUE: usize = 256;

/// The settings, in words.
#[derive(Debug)]
pub struct Surroundings {
    session: String,
    values: BTreeMap<&'static str, String>,
    /// Counts what set something that nobody reports, or that is not reported yet.
    changes: u64,
    /// Some setting differs from what it was at first, and nobody knows how.
    unknown: bool,
    /// A setting that is reported was given another value, and the report is still to come.
    unreported: bool,
    /// Settings were given in this transaction, so its end may take them back.
    in_transaction: bool,
    text: Arc<str>,
}

impl Surroundings {
    /// Of a session with this id, which began with these settings.
    pub fn new(session: String, started: &[(String, String)]) -> Self {
        let mut new = Self {
            session,
            values: BTreeMap::new(),
            changes: 0,
            unknown: started.iter().any(|(name, _)| matters(&name.to_ascii_lowercase())),
            unreported: false,
            in_transaction: false,
            text: Arc::from(""),
        };
        new.describe();
        new
    }

    /// In words. The same words mean the same settings, here and in any other session.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// A setting has this value.
    pub fn is(&mut self, name: &str, value: &str) {
        let Some(name) = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(name)) else { return };
        if self.values.get(name).is_none_or(|before| before != value) {
            self.values.insert(name, value.to_owned());
            self.describe();
        }
    }

    /// A text is about to run.
    pub fn runs(&mut self, analysis: &Analysis) {
        let (other, known) = match analysis.sets() {
            Sets::None => (false, false),
            Sets::Unknown => (true, true),
            Sets::Named(names) => (names.iter().any(|name| matters(name)), names.iter().any(|name| is_known(name))),
        };
        let ends =
            |s: &sluicegate_sql::Statement| s.effect == Effect::EndTransaction || s.kind == "rollback to savepoint";
        let taken_back = self.in_transaction && analysis.statements.iter().any(ends);
        if other || known || taken_back {
            self.unknown |= other;
            (self.unreported, self.in_transaction) = (true, true);
            self.changed();
        }
    }

    /// The server is ready and has reported everything. `idle` says that no transaction is open.
    pub fn reported(&mut self, idle: bool) {
        let taken_back = idle && std::mem::take(&mut self.in_transaction) && self.unknown;
        if std::mem::take(&mut self.unreported) || taken_back {
            self.changed();
        }
    }

    fn changed(&mut self) {
        self.changes += 1;
        self.describe();
    }

    fn describe(&mut self) {
        let mut text = String::new();
        for (name, value) in &self.values {
            let _ = write!(text, "{}{name}={}", if text.is_empty() { "" } else { "; " }, shortened(value, MAX_VALUE));
        }
        if self.unknown || self.unreported {
            let _ = write!(text, "; other settings as after change {} of session {}", self.changes, self.session);
        }
        self.text = Arc::from(text);
    }
}

/// Whether it is certain what this setting is: the server reports it, or the gate asks for it.
fn is_known(name: &str) -> bool {
    // SET NAMES, SET SCHEMA, SET SESSION AUTHORIZATION and RESET ALL mean some of those.
    let aliases = ["all", "authorization", "names", "schema"];
    KNOWN.iter().chain(&aliases).any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a command may mean something else by this setting, and nobody reports it.
fn matters(name: &str) -> bool {
    !is_known(name) && !HARMLESS.contains(&name)
}

/// A value, or how it begins and what tells it from others, where it is longer than `limit` bytes.
pub fn shortened(value: &str, limit: usize) -> String {
    let (head, cut) = sluicegate_core::record::cut(value, limit);
    if !cut {
        return head;
    }
    let hash = sluicegate_core::hex(&Sha256::digest(value));
    format!("{head}... ({} bytes, SHA-256 {hash})", value.len())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use sluicegate_sql::{Analyser, Catalog, Context, Limits};

    use super::*;

    fn analysis(text: &str) -> Arc<Analysis> {
        let nothing = HashMap::new();
        let context = Context {
            catalog: &Catalog::empty(),
            search_path: &[],
            standard_conforming_strings: true,
            prepared: &nothing,
            cursors: &nothing,
        };
        Analyser::new(Limits::default(), 10).analyse(text, &context)
    }

    fn session(id: &str) -> Surroundings {
        let mut surroundings = Surroundings::new(id.to_owned(), &[]);
        surroundings.is("DateStyle", "ISO, MDY");
        surroundings.is("search_path", "public");
        surroundings.is("server_version", "15.1");
        surroundings
    }

    #[test]
    fn equal_settings_have_equal_words() {
        let (mut one, other) = (session("1"), session("2"));
        assert_eq!(&*one.text(), "DateStyle=ISO, MDY; search_path=public");
        assert_eq!(one.text(), other.text());
        one.runs(&analysis("set statement_timeout = 5"));
        one.runs(&analysis("select 1"));
        one.reported(true);
        assert_eq!(one.text(), other.text());
    }

    #[test]
    fn a_setting_that_is_reported_later_is_unlike_any_other_until_then() {
        let mut one = session("1");
        let before = one.text();
        one.runs(&analysis("set datestyle = 'ISO, DMY'"));
        assert_ne!(one.text(), before);
        one.is("DateStyle", "ISO, DMY");
        one.reported(true);
        assert_eq!(&*one.text(), "DateStyle=ISO, DMY; search_path=public");
        one.runs(&analysis("reset all"));
        one.is("DateStyle", "ISO, MDY");
        one.reported(true);
        assert_eq!(one.text(), before);
    }

    #[test]
    fn a_setting_that_nobody_reports_is_never_the_same_twice() {
        let mut one = session("1");
        let mut seen = vec![one.text()];
        for (text, idle) in [("set local app.tenant = 5", false), ("rollback", true), ("set app.tenant = 5", true)] {
            one.runs(&analysis(text));
            one.reported(idle);
            assert!(!seen.contains(&one.text()), "{text}");
            seen.push(one.text());
        }
        assert!(seen.last().unwrap().ends_with("of session 1"));
        let started = Surroundings::new("3".into(), &[("app.tenant".into(), "5".into())]);
        assert!(started.text().contains("session 3"));
    }

    #[test]
    fn long_values_are_bounded_and_still_differ() {
        let (mut one, mut other) = (session("1"), session("1"));
        one.is("search_path", &"a".repeat(100_000));
        other.is("search_path", &"a".repeat(100_001));
        assert!(one.text().len() < 1000 && one.text() != other.text());
    }
}
