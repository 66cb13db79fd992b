//! The `[[target]]` tables: what every protocol's targets share. What is a protocol's own is read by
//! its adapter.

use std::{collections::HashMap, ops::Range, path::Path};

use sluicegate_core::policy::Binding;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    BindingSpans, Target, TargetSpans,
    parse::{Reader, Table, span_of},
    report::Problem,
    section::{self, list, meant},
};
use crate::serve::{PROTOCOLS, Protocol};

impl Reader<'_> {
    /// Reads every target, each with the places of its `allow` rules.
    pub(super) fn targets(&mut self, value: Option<Spanned<DeValue<'_>>>) -> Vec<(Target, Vec<Range<usize>>)> {
        let tables = value.map(|v| section::tables(self.report, "target", v)).unwrap_or_default();
        let mut names: HashMap<String, usize> = HashMap::new();
        tables.into_iter().filter_map(|table| self.target(table, &mut names)).collect()
    }

    fn target(&mut self, table: Table<'_>, names: &mut HashMap<String, usize>) -> Option<(Target, Vec<Range<usize>>)> {
        let span = table.span();
        let mut table = table.into_inner();
        let name: Option<Spanned<String>> = self.required(&mut table, "name", span.clone());
        let protocol: Option<Spanned<String>> = self.required(&mut table, "protocol", span.clone());
        let (allow, allow_at) = self.principals("allow", table.remove("allow"));
        let retention = table.remove("retention").map(|retention| self.retention(retention));
        let session = self.session_limits(&mut table);
        let labels = self.labels(&mut table);
        let policies = table.remove("policy").map(|v| section::tables(self.report, "target.policy", v));
        let bindings: Vec<_> = policies.into_iter().flatten().filter_map(|policy| self.binding(policy)).collect();
        let name = name?;
        let (name_at, name) = (name.span(), name.into_inner());
        self.unique("target", &name, name_at.clone(), names);
        if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
            let problem =
                Problem::error("a target's name has 1 to 63 bytes and no control characters").at(name_at.clone());
            self.report.push(problem.help("clients ask for the target by this name"));
        }
        let protocol = self.protocol(&protocol?)?;
        for key in protocol.secret_keys {
            self.secret_source(key, &mut table);
        }
        for key in protocol.lease_keys {
            self.lease_source(key, &mut table);
        }
        let keys = table.iter().map(|(key, value)| (key.get_ref().to_string(), value.span())).collect();
        let mut settings = (protocol.read_target)(self.report, Spanned::new(span, table))?;
        settings.resolve_paths(&self.base);
        let (bindings, at): (Vec<_>, Vec<_>) = bindings.into_iter().unzip();
        let spans = TargetSpans { name: name_at, keys, bindings: at };
        Some((Target { name, protocol, allow, labels, retention, session, bindings, settings, spans }, allow_at))
    }

    fn protocol(&mut self, name: &Spanned<String>) -> Option<&'static Protocol> {
        let found = PROTOCOLS.iter().find(|p| p.name == name.get_ref());
        if found.is_none() {
            let known: Vec<&str> = PROTOCOLS.iter().map(|p| p.name).collect();
            let written = name.get_ref().escape_debug();
            let problem =
                Problem::error(format!("the protocol `{written}` is not supported by this version of Sluicegate"));
            let help = match meant(name.get_ref(), &known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known: {}", list(&known)),
            };
            self.report.push(problem.at(name.span()).help(help));
        }
        found
    }

    fn binding(&mut self, table: Table<'_>) -> Option<(Binding, BindingSpans)> {
        let module_at = span_of(&table, "module");
        let settings_at = span_of(&table, "settings");
        if let Some(date) = table.get_ref().get("settings").and_then(find_date) {
            let problem = Problem::error("settings are handed to the policy as JSON, which has no dates").at(date);
            self.report.push(problem.help("write it as a string"));
        }
        let binding: Binding = section::read(self.report, "[[target.policy]]", table, &[])?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if binding.module.is_empty() || !binding.module.chars().all(is_name) {
            let stem = Path::new(&binding.module).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let problem =
                Problem::error("`module` is a module's name, of letters, digits, `-` and `_`").at(module_at.clone());
            self.report.push(problem.help(format!("`{stem}` is `{stem}.wasm` in the policies folder")));
        }
        Some((binding, BindingSpans { module: module_at, settings: settings_at }))
    }

    fn required<T: serde::de::DeserializeOwned>(
        &mut self,
        table: &mut DeTable<'_>,
        key: &str,
        span: Range<usize>,
    ) -> Option<T> {
        match table.remove(key) {
            Some(value) => section::value(self.report, value),
            None => {
                self.report.push(Problem::error(format!("this target has no `{key}`")).at(span));
                None
            }
        }
    }
}

/// What is wrong with the source of a secret, and what to write.
pub(super) fn wrong_source(key: &str, value: &DeValue<'_>) -> Option<(String, String)> {
    let help = format!(
        "write `{key} = {{ env = \"NAME\" }}`, `{key} = {{ file = \"path\" }}`, `{key} = {{ exec = [\"program\", \"argument\"] }}` or \
         `{key} = {{ vault = \"secret/data/NAME\" }}`"
    );
    let DeValue::Table(source) = value else {
        return Some((format!("a `{key}` is never written into this file"), help));
    };
    let part = |name: &str| source.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value.get_ref());
    match (source.len(), part("env"), part("file"), part("exec"), part("vault"), part("key")) {
        (1, Some(DeValue::String(name)), ..) if name.contains('$') => {
            let name = name.trim_matches(['$', '{', '}']).escape_debug();
            let help = format!("write `{key} = {{ env = \"{name}\" }}`");
            Some(("`env` is the variable's name alone, without `$`".to_owned(), help))
        }
        (1, Some(DeValue::String(_)), ..)
        | (1, _, Some(DeValue::String(_)), ..)
        | (1, _, _, Some(DeValue::Array(_)), ..)
        | (1, _, _, _, Some(DeValue::String(_)), _)
        | (2, _, _, _, Some(DeValue::String(_)), Some(DeValue::String(_))) => None,
        _ => Some((format!("`{key}` names one source: `env`, `file`, `exec` or `vault`"), help)),
    }
}

/// What is wrong with the place where credentials are lent, and what to write.
pub(super) fn wrong_lease(key: &str, value: &DeValue<'_>) -> Option<(String, String)> {
    let place = match value {
        DeValue::Table(source) if source.len() == 1 => source.iter().next(),
        _ => None,
    };
    match place.map(|(name, value)| (name.get_ref().as_ref(), value.get_ref())) {
        Some(("vault", DeValue::String(_))) => None,
        _ => {
            let help = format!("write `{key} = {{ vault = \"database/creds/NAME\" }}`");
            Some((format!("`{key}` says where they are lent, and nothing else"), help))
        }
    }
}

/// The place of the first date or time in a value.
fn find_date(value: &Spanned<DeValue<'_>>) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::Datetime(_) => Some(value.span()),
        DeValue::Array(items) => items.iter().find_map(find_date),
        DeValue::Table(table) => table.values().find_map(find_date),
        _ => None,
    }
}
