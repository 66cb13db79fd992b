//! How one TOML table becomes a struct: keys that the struct does not know are named one by one, with
//! the key that was probably meant; then serde does the rest, and its error gets its place.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    fields,
    report::{Problem, Report},
};

/// The keys at the top of the file, to tell a key that slipped into the section above it.
pub const TOP: &[&str] = &[
    "data_dir",
    "recording",
    "allow_plaintext",
    "tls",
    "listen",
    "limits",
    "shutdown",
    "proxy_protocol",
    "admin",
    "approvals",
    "log",
    "record",
    "policies",
    "telemetry",
    "vault",
    "identity",
    "role",
    "target",
];

/// The keys of a target that are the same for every protocol.
pub const TARGET: &[&str] =
    &["name", "protocol", "allow", "labels", "retention", "idle_timeout", "max_session", "policy"];

/// What the contract names and this version does not have.
const NOT_YET: &[&str] = &["http", "kubernetes"];

/// What people write, and what it is called here, where the two are too far apart to look misspelt.
const OTHERWISE_CALLED: &[(&str, &str)] = &[
    ("policy", "policies"),
    ("password", "secret_hash"),
    ("password_hash", "secret_hash"),
    ("user", "username"),
    ("host", "address"),
    ("dbname", "database"),
];

/// A value as a table; anything else is reported as not being one.
pub fn table<'i>(report: &mut Report, name: &str, value: Spanned<DeValue<'i>>) -> Option<Spanned<DeTable<'i>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Some(Spanned::new(span, table)),
        other => {
            let found = other.type_str();
            report.push(Problem::error(format!("{name} is a table, and this is of type {found}")).at(span));
            None
        }
    }
}

/// A value as a list of tables, each with its place.
pub fn tables<'i>(report: &mut Report, name: &str, value: Spanned<DeValue<'i>>) -> Vec<Spanned<DeTable<'i>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(items) => items.into_iter().filter_map(|item| table(report, name, item)).collect(),
        _ => {
            let problem = Problem::error(format!("{name} is a list of tables")).at(span);
            report.push(problem.help(format!("write `[[{name}]]` with two brackets")));
            Vec::new()
        }
    }
}

/// A table as a struct; none where something was reported. `also` are keys of the section that were
/// taken out of the table before.
pub fn read<T: DeserializeOwned>(
    report: &mut Report,
    name: &str,
    table: Spanned<DeTable<'_>>,
    also: &[&str],
) -> Option<T> {
    let span = table.span();
    let fields = fields::of::<T>();
    let before = report.errors();
    let mut table = table.into_inner();
    if !fields.is_empty() {
        let known = [also, fields].concat();
        for (key, value) in std::mem::take(&mut table) {
            if fields.contains(&key.get_ref().as_ref()) {
                table.insert(key, value);
            } else {
                unknown_key(report, name, key.get_ref(), key.span(), &known);
            }
        }
    }
    let read = value(report, Spanned::new(span, DeValue::Table(table)));
    read.filter(|_| report.errors() == before)
}

/// A value as whatever serde makes of it.
pub fn value<T: DeserializeOwned>(report: &mut Report, value: Spanned<DeValue<'_>>) -> Option<T> {
    let span = value.span();
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(value) => Some(value),
        Err(error) => {
            let message = error.message().replacen("unknown variant", "unknown value", 1);
            report.push(
                Problem::error(message.replacen("missing field", "missing key", 1)).at(error.span().unwrap_or(span)),
            );
            None
        }
    }
}

/// Reports a key that nobody knows.
pub fn unknown_key(report: &mut Report, section: &str, key: &str, span: Range<usize>, known: &[&str]) {
    if NOT_YET.contains(&key) {
        let problem = Problem::error(format!("`{key}` is not supported by this version of Sluicegate")).at(span);
        return report.push(problem.help("remove it, or use a version that has it").conceal());
    }
    let place = if section.is_empty() { "at the top of the file".to_owned() } else { format!("in {section}") };
    let problem = Problem::error(format!("unknown key `{}` {place}", key.escape_debug())).at(span).conceal();
    let help = match meant(key, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if !section.is_empty() && TOP.contains(&key) => {
            format!("`{key}` belongs at the top of the file, before the first `[section]`")
        }
        None => format!("known here: {}", list(known)),
    };
    report.push(problem.help(help));
}

/// What a word was probably meant to be: what it is called here, or what it is a misspelling of, with
/// at most a third of its letters wrong, or two that were swapped.
pub fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let called = OTHERWISE_CALLED.iter().filter(|(other, _)| *other == word);
    if let Some(known) = called.filter_map(|(_, called)| known.iter().find(|known| *known == called)).next() {
        return Some(known);
    }
    let distance = |known: &str| strsim::damerau_levenshtein(&word, &known.replace('-', "_"));
    let nearest = known.iter().map(|known| (distance(known), *known)).min_by_key(|(distance, _)| *distance);
    nearest.filter(|(distance, known)| *distance <= (known.chars().count() / 3).max(1)).map(|(_, known)| known)
}

/// Words in backquotes, one after the other.
pub fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
