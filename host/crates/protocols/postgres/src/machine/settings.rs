//! The settings of the session that decide how a text is read: `search_path` and the role behind
//! `"$user"`, how string literals are lexed, and the client's encoding. The server reports some by
//! ParameterStatus; for the others the gate asks after anything that may have changed them.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use sluicegate_sql::{Analysis, Catalog, Context};

use super::surroundings::Surroundings;
use crate::{
    codec::message::{Reader, put, put_cstr},
    upstream::Reading,
};

/// The gate's own statement and portal; clients cannot use names that begin so.
const NAME: &[u8] = b"sluicegate: settings";

/// What can be asked. SHOW takes no snapshot, so it may stand anywhere in a transaction.
const QUESTIONS: [&str; 3] = ["SHOW statement_timeout", "SHOW search_path", "SHOW role"];
/// What must be known before people are asked.
pub const TIMEOUT_QUESTIONS: Range<usize> = 0..1;

/// How texts of this session are read.
#[derive(Debug)]
pub struct Settings {
    search_path: Vec<String>,
    raw_path: String,
    role: String,
    session_user: String,
    standard_conforming_strings: bool,
    encoding: String,
    /// How long a command may take; none for ever. Asked before a command waits for people.
    pub statement_timeout: Option<Duration>,
    /// What commands depend on beside their text.
    pub surroundings: Surroundings,
    /// Grows when a text may be read otherwise than before.
    pub version: u64,
    /// Tells the target which session it is, where a RESET ALL has it forget that. Said with the questions that
    /// are asked after one, and like SHOW it may stand anywhere.
    named: Option<String>,
    /// The gate must ask before the next text is read.
    pub stale: bool,
    /// Settings changed in this transaction, so its end may change them back.
    pub changed_in_transaction: bool,
}

impl Settings {
    /// Of a session that nothing has been reported of.
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            search_path: Vec::new(),
            raw_path: String::new(),
            role: "none".into(),
            session_user: String::new(),
            standard_conforming_strings: true,
            encoding: String::new(),
            statement_timeout: None,
            surroundings,
            version: 0,
            named: None,
            stale: true,
            changed_in_transaction: false,
        }
    }

    /// Of a session that the target was told of by this statement, and that has changed nothing yet.
    pub fn named(mut self, statement: String, reading: &Reading) -> Self {
        self.named = Some(statement);
        self.answered(1, &reading.search_path);
        self.answered(2, &reading.role);
        self.stale = false;
        self
    }

    /// Whether a RESET ALL has the target forget which session it is.
    pub fn can_be_forgotten(&self) -> bool {
        self.named.is_some()
    }

    /// What must be known before a text is read, and said.
    pub fn reading_questions(&self) -> Range<usize> {
        1..QUESTIONS.len() + usize::from(self.named.is_some())
    }

    /// The messages that ask; the answers end with a CloseComplete for each question. They are followed
    /// by Sync where the client has no extended messages pending, else by Flush.
    pub fn questions(&self, which: Range<usize>, sync: bool) -> Bytes {
        let all = QUESTIONS.into_iter().chain(self.named.as_deref());
        asking(all.skip(which.start).take(which.len()), sync)
    }

    /// Takes a ParameterStatus.
    pub fn reported(&mut self, name: &str, value: &str) {
        self.surroundings.is(name, value);
        self.version += 1;
        match name {
            "standard_conforming_strings" => self.standard_conforming_strings = value == "on",
            "client_encoding" => value.clone_into(&mut self.encoding),
            "session_authorization" => {
                value.clone_into(&mut self.session_user);
                self.expand();
            }
            _ => {}
        }
    }

    /// Takes the answer to question `index`; whether names may mean something else by it.
    pub fn answered(&mut self, index: usize, value: &str) -> bool {
        let (slot, name) = match index {
            1 => (&mut self.raw_path, "search_path"),
            2 => (&mut self.role, "role"),
            _ => {
                self.statement_timeout = duration(value);
                return false;
            }
        };
        let changed = *slot != value;
        self.version += u64::from(changed);
        value.clone_into(slot);
        self.surroundings.is(name, value);
        self.expand();
        changed
    }

    /// What a command that is decided now depends on beside its text.
    pub fn summary(&self) -> Arc<str> {
        self.surroundings.text()
    }

    /// Whether the bytes of a text mean what they seem to. Encodings other than UTF-8 may hide
    /// quotes and backslashes in characters of several bytes, so there only ASCII is believed.
    pub fn can_read(&self, text: &str) -> bool {
        matches!(self.encoding(), "UTF8" | "UNICODE") || text.is_ascii()
    }

    /// The client's encoding, by the server's name for it.
    pub fn encoding(&self) -> &str {
        &self.encoding
    }

    /// The context that the analyser needs.
    pub fn context<'a>(
        &'a self,
        catalog: &'a Catalog,
        prepared: &'a HashMap<String, Arc<Analysis>>,
        cursors: &'a HashMap<String, Arc<Analysis>>,
    ) -> Context<'a> {
        Context {
            catalog,
            search_path: &self.search_path,
            standard_conforming_strings: self.standard_conforming_strings,
            prepared,
            cursors,
        }
    }

    fn expand(&mut self) {
        let user = if self.role == "none" { &self.session_user } else { &self.role };
        self.search_path = split_path(&self.raw_path)
            .into_iter()
            .map(|schema| if schema == "$user" { user.clone() } else { schema })
            .collect();
    }
}

/// Splits a `search_path` as the server does (SplitIdentifierString): names are folded to lower
/// case unless quoted.
fn split_path(raw: &str) -> Vec<String> {
    let (mut names, mut name, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            c if !quoted && c.is_whitespace() => {}
            c if quoted => name.push(c),
            c => name.extend(c.to_lowercase()),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

/// Reads a time as SHOW writes it: a whole number of the largest unit that fits; 0 is none.
fn duration(value: &str) -> Option<Duration> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(digits)?;
    let unit = match unit {
        "ms" | "" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let milliseconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

fn asking<'a>(questions: impl Iterator<Item = &'a str>, sync: bool) -> Bytes {
    let mut out = BytesMut::new();
    for question in questions {
        put(&mut out, b'P', |out| {
            put_cstr(out, NAME);
            put_cstr(out, question.as_bytes());
            out.put_u16(0);
        });
        put(&mut out, b'B', |out| {
            put_cstr(out, NAME);
            put_cstr(out, NAME);
            out.put_slice(&[0; 6]);
        });
        put(&mut out, b'E', |out| {
            put_cstr(out, NAME);
            out.put_u32(0);
        });
        for kind in [b'P', b'S'] {
            put(&mut out, b'C', |out| {
                out.put_u8(kind);
                put_cstr(out, NAME);
            });
        }
    }
    put(&mut out, if sync { b'S' } else { b'H' }, |_| {});
    out.freeze()
}

/// The first field of an answer's DataRow.
pub fn answer(row: &[u8]) -> Option<String> {
    let mut reader = Reader::new(row);
    reader.u16().ok()?;
    let value = reader.field().ok()??;
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_as_the_server_does() {
        assert_eq!(split_path(r#""$user", public"#), ["$user", "public"]);
        assert_eq!(split_path(r#"Public, "We""ird, one""#), ["public", "We\"ird, one"]);
        assert!(split_path(r#""""#).is_empty());
    }

    #[test]
    fn the_user_schema_follows_the_role() {
        let mut settings = Settings::new(Surroundings::new(String::new(), &[]));
        settings.reported("session_authorization", "app");
        settings.answered(1, "\"$user\", public");
        assert_eq!(settings.search_path, ["app", "public"]);
        assert!(settings.answered(2, "dba"));
        assert_eq!(settings.search_path, ["dba", "public"]);
    }

    #[test]
    fn what_can_be_forgotten_is_said_again_with_the_questions() {
        let reading = Reading { search_path: "public".into(), role: "none".into() };
        let new = || Settings::new(Surroundings::new(String::new(), &[]));
        let (plain, named) = (new(), new().named("SET sluicegate.session TO 'x'".into(), &reading));
        let asked = |settings: &Settings| settings.questions(settings.reading_questions(), true);
        let says = |bytes: Bytes| memchr::memmem::find(&bytes, b"SET sluicegate.session TO 'x'\0").is_some();
        assert!(plain.stale && !says(asked(&plain)));
        assert!(!named.stale && says(asked(&named)) && named.search_path == ["public"]);
        assert!(!says(named.questions(TIMEOUT_QUESTIONS, true)));
    }

    #[test]
    fn other_encodings_are_read_as_ascii_only() {
        let mut settings = Settings::new(Surroundings::new(String::new(), &[]));
        settings.reported("client_encoding", "SJIS");
        assert!(settings.can_read("select 1") && !settings.can_read("select 'é'"));
        settings.reported("client_encoding", "UTF8");
        assert!(settings.can_read("select 'é'"));
    }

    #[test]
    fn times_are_read_as_the_server_writes_them() {
        let times = [
            ("0", None),
            ("250ms", Some(250)),
            ("5s", Some(5000)),
            ("90min", Some(5_400_000)),
            ("1d", Some(86_400_000)),
        ];
        for (text, milliseconds) in times {
            assert_eq!(duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
        assert_eq!(duration("soon"), None);
    }
}
