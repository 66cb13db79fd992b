//! Which settings of the session a statement gives a value to, by name: SET, RESET and their like, and
//! `set_config` wherever it is called.

use crate::{lex::Kind, tokens::Tokens};

/// Objects that keep settings: ALTER ... SET of one of these works in sessions to come, or in its calls.
const KEEPERS: [&str; 7] = ["role", "user", "database", "system", "function", "procedure", "routine"];

/// The settings that a statement sets or resets, as far as its text tells. Code that cannot be looked into,
/// such as DO or a user's function, may set others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sets {
    /// None.
    #[default]
    None,
    /// These, in lower case, without quotes, parts joined by a dot; `all` for RESET ALL and DISCARD ALL.
    Named(Vec<String>),
    /// Which ones cannot be told: a name that is computed, or a parameter's value.
    Unknown,
}

impl Sets {
    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, sets) | (sets, Self::None) => sets,
            (Self::Named(mut names), Self::Named(others)) => {
                names.extend(others);
                Self::Named(names)
            }
            _ => Self::Unknown,
        }
    }

    fn one(name: Option<String>) -> Self {
        name.map_or(Self::Unknown, |name| Self::Named(vec![name.to_ascii_lowercase()]))
    }

    /// Those that a statement names itself, bodies within it included.
    pub(crate) fn of(tokens: Tokens<'_>) -> Self {
        let calls = (0..tokens.len()).filter(|at| is_set_config(tokens, *at)).map(|at| called(tokens, at));
        calls.chain(std::iter::once(said(tokens))).fold(Self::None, Self::and)
    }
}

/// Whether `set_config` stands here, quoted or not.
pub(crate) fn is_set_config(tokens: Tokens<'_>, at: usize) -> bool {
    tokens.is_word(at, "set_config") || tokens.kind(at) == Some(Kind::Quoted) && tokens.raw(at) == "\"set_config\""
}

/// The setting of one call.
fn called(tokens: Tokens<'_>, at: usize) -> Sets {
    if tokens.is_symbol(at + 1, "(") && tokens.is_symbol(at + 3, ",") {
        return Sets::one(tokens.constant(at + 2).or_else(|| looked_up(tokens, at)));
    }
    Sets::Unknown
}

/// pg_dump's `SELECT set_config(name, 'value', false) FROM pg_settings WHERE name = 'setting'`, which does
/// nothing where the server has no such setting.
fn looked_up(tokens: Tokens<'_>, at: usize) -> Option<String> {
    let unqualified = at == 1 || at == 3 && tokens.is_word(1, "pg_catalog") && tokens.is_symbol(2, ".");
    let call = tokens.is_word(0, "select")
        && unqualified
        && tokens.is_word(at + 2, "name")
        && tokens.constant(at + 4).is_some()
        && tokens.is_symbol(at + 7, ")")
        && tokens.is_word(at + 8, "from");
    let from = if tokens.is_word(at + 9, "pg_catalog") { at + 11 } else { at + 9 };
    let rest = tokens.are_words(from, "pg_settings where name") && tokens.is_symbol(from + 3, "=");
    (call && rest && tokens.len() == from + 5).then(|| tokens.constant(from + 4)).flatten()
}

/// The setting of SET, RESET, and of ALTER and CREATE with a SET clause.
fn said(tokens: Tokens<'_>) -> Sets {
    if tokens.is_word(0, "set") || tokens.is_word(0, "reset") {
        return clause(tokens, 0);
    }
    if tokens.are_words(0, "discard all") {
        return Sets::one(Some("all".to_owned()));
    }
    let keeper = (tokens.is_word(0, "alter") || tokens.is_word(0, "create"))
        && (1..4).any(|at| KEEPERS.iter().any(|object| tokens.is_word(at, object)));
    if !keeper {
        return Sets::None;
    }
    let clauses = (1..tokens.len()).filter(|at| tokens.is_word(*at, "set") || tokens.is_word(*at, "reset"));
    clauses.map(|at| clause(tokens, at)).fold(Sets::None, Sets::and)
}

/// What stands after the SET or RESET here.
fn clause(tokens: Tokens<'_>, at: usize) -> Sets {
    let mut at = at + 1;
    let is_value = tokens.is_word(at + 1, "to") || tokens.is_symbol(at + 1, "=") || tokens.is_symbol(at + 1, ".");
    if (tokens.is_word(at, "session") || tokens.is_word(at, "local")) && !is_value && at + 1 < tokens.len() {
        at += 1;
    }
    if tokens.are_words(at, "time zone") {
        return Sets::one(Some("timezone".to_owned()));
    }
    let Some(mut name) = tokens.identifier(at) else { return Sets::Unknown };
    while tokens.is_symbol(at + 1, ".") {
        let Some(part) = tokens.identifier(at + 2) else { return Sets::Unknown };
        name = format!("{name}.{part}");
        at += 2;
    }
    Sets::one(Some(name))
}
