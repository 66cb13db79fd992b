//! Recognises the statements that work on the session itself: settings, transactions, and the release of
//! prepared statements and cursors.

use sluicegate_core::sql::Classes;

use crate::{
    analysis::{Effect, Output, Outputs, Statement},
    facts::{Facts, Origin},
    reader::Read,
    tokens::Tokens,
};

/// A statement of this name and these classes.
pub(crate) fn of(kind: &str, classes: Classes, facts: &mut Facts) -> Statement {
    facts.class(classes);
    Statement::new(kind)
}

/// A statement that runs code that cannot be looked into.
pub(crate) fn opaque(kind: &str, classes: Classes, facts: &mut Facts) -> Statement {
    facts.reaches_unknown();
    Statement {
        catalog_changed: true,
        settings_may_change: true,
        names_may_change: true,
        ..of(kind, classes | Classes::OPAQUE, facts)
    }
}

pub(crate) fn end_of_transaction(word: &str, tokens: Tokens<'_>, facts: &mut Facts) -> Statement {
    let prepared = tokens.is_word(1, "prepared");
    let to = tokens.find_words(1, "to").is_some();
    // What was prepared, maybe by another session, may have defined anything.
    let catalog_changed = prepared && matches!(word, "commit" | "rollback");
    let (kind, effect) = match word {
        "prepare" => ("prepare transaction", Effect::EndTransaction),
        "commit" if prepared => ("commit prepared", Effect::None),
        "rollback" if prepared => ("rollback prepared", Effect::None),
        "rollback" | "abort" if to => ("rollback to savepoint", Effect::None),
        "commit" | "end" => ("commit", Effect::EndTransaction),
        _ => ("rollback", Effect::EndTransaction),
    };
    Statement { effect, catalog_changed, settings_may_change: true, ..of(kind, Classes::TRANSACTION, facts) }
}

pub(crate) fn set(tokens: Tokens<'_>, facts: &mut Facts) -> Statement {
    let at = 1 + usize::from(tokens.is_word(1, "local") || tokens.is_word(1, "session") && !is_value(tokens, 2));
    let characteristics = tokens.are_words(1, "session characteristics");
    let kind = match tokens.identifier(at).unwrap_or_default().as_str() {
        "transaction" => return of("set transaction", Classes::TRANSACTION, facts),
        "constraints" => return of("set constraints", Classes::TRANSACTION, facts),
        _ if characteristics => return of("set", Classes::SESSION, facts),
        "authorization" | "session_authorization" => "set session authorization",
        "role" => "set role",
        _ => "set",
    };
    let setting = tokens.identifier(at).unwrap_or_default();
    Statement { settings_may_change: is_read_by_lexer(&setting), ..of(kind, Classes::SESSION, facts) }
}

/// Whether the word before names a setting, which is given its value here.
fn is_value(tokens: Tokens<'_>, at: usize) -> bool {
    tokens.is_word(at, "to") || tokens.is_symbol(at, "=")
}

pub(crate) fn reset(tokens: Tokens<'_>, facts: &mut Facts) -> Statement {
    let setting = tokens.identifier(1).unwrap_or_default();
    let settings_may_change = is_read_by_lexer(&setting) || matches!(setting.as_str(), "all" | "session");
    Statement { settings_may_change, ..of("reset", Classes::SESSION, facts) }
}

/// Whether a setting decides what names stand for or how a text is read.
fn is_read_by_lexer(setting: &str) -> bool {
    let settings = [
        "search_path",
        "schema",
        "role",
        "authorization",
        "session_authorization",
        "names",
        "client_encoding",
        "standard_conforming_strings",
        "backslash_quote",
        "escape_string_warning",
    ];
    setting.is_empty() || settings.contains(&setting)
}

pub(crate) fn show(tokens: Tokens<'_>, facts: &mut Facts) -> Statement {
    let columns = if tokens.is_word(1, "all") { 3 } else { 1 };
    let computed: Vec<Output> = std::iter::repeat_with(|| Origin::none().computed()).take(columns).collect();
    Statement { outputs: Outputs::Aligned(computed), ..of("show", Classes::SESSION, facts) }
}

pub(crate) fn discard(what: &str, facts: &mut Facts) -> Statement {
    let all = what == "all";
    Statement {
        effect: if all { Effect::DiscardAll } else { Effect::None },
        settings_may_change: all,
        catalog_changed: matches!(what, "all" | "temp" | "temporary"),
        ..of("discard", Classes::SESSION, facts)
    }
}

/// DEALLOCATE and CLOSE.
pub(crate) fn release(word: &str, tokens: Tokens<'_>, facts: &mut Facts) -> Read<Statement> {
    let last = tokens.len() - 1;
    if last == 0 || last > 2 {
        return Err("it lacks a name".to_owned());
    }
    let name = if tokens.is_word(last, "all") { None } else { tokens.identifier(last) };
    let effect = if word == "close" { Effect::CloseCursor { name } } else { Effect::Deallocate { name } };
    Ok(Statement { effect, ..of(word, Classes::SESSION, facts) })
}
