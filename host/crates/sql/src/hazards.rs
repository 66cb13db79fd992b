//! Calls in a statement that no list of columns can answer for, found by their names wherever they stand:
//! also where the statement is not parsed, and in what it only defines.

use crate::{functions, reader::Read, tokens::Tokens};

/// Refuses functions that run SQL which is not in sight, in brackets' or in `value.function` notation.
pub(crate) fn sql_that_is_run(tokens: Tokens<'_>) -> Read<()> {
    let dotted = |at: usize| at.checked_sub(1).is_some_and(|before| tokens.is_symbol(before, "."));
    let found =
        functions_named(tokens, functions::runs_sql).find(|(at, _)| tokens.is_symbol(at + 1, "(") || dotted(*at));
    match found {
        Some((_, name)) => Err(format!("{name} runs SQL that is not in sight")),
        None => Ok(()),
    }
}

/// Refuses definitions with a call in them that would keep values outside relations: it runs whenever what
/// is defined is used, and on whatever it is used on.
pub(crate) fn values_that_are_kept(tokens: Tokens<'_>) -> Read<()> {
    let keeps = |name: &str| functions::is_carrier(name) || functions::is_keeper(name);
    let found = functions_named(tokens, keeps).find(|(at, _)| tokens.is_symbol(at + 1, "("));
    match found {
        Some((_, name)) => Err(format!("{name} in a definition would carry values to where no column names them")),
        None => Ok(()),
    }
}

fn functions_named<'t>(
    tokens: Tokens<'t>,
    is: impl Fn(&str) -> bool + 't,
) -> impl Iterator<Item = (usize, String)> + 't {
    let names = (0..tokens.len()).filter_map(move |at| tokens.identifier(at).map(|name| (at, name)));
    names.filter(move |(_, name)| is(name))
}
