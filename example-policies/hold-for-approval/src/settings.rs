//! The settings of a binding; `settings.schema.json` says what they mean.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use sluicegate_policy::{Approval, Classes, KindPrefix, NameGlob, named_class};

const MAX_APPROVERS: usize = 64;
const MAX_APPROVALS: u32 = 16;
const MIN_EXPIRES: Duration = Duration::from_secs(10);
const MIN_REMEMBER: Duration = Duration::from_secs(1);
/// The longest that a request stands and that an approval is remembered.
const MAX_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What waits, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What waits: any of these.
    #[serde(deserialize_with = "one_or_more")]
    pub when: Vec<Entry>,
    /// Who may approve: `group:name` or `user:name`.
    pub approvers: Vec<String>,
    /// How many of them must.
    #[serde(default = "one")]
    pub min_approvals: u32,
    /// How long a request stands; the gateway's default where there is none.
    #[serde(default, deserialize_with = "time")]
    pub expires: Option<Duration>,
    /// Whether each answer needs a note.
    #[serde(default)]
    pub reason_required: bool,
    /// For how long an approval also covers the same command.
    #[serde(default, deserialize_with = "time")]
    pub remember: Option<Duration>,
    /// What happens to a command that the gateway cannot analyse.
    #[serde(default)]
    pub unanalysable: Unanalysable,
}

/// Conditions on one command, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// It holds such a statement.
    pub kinds: Option<Vec<KindPrefix>>,
    /// It does work of such a class.
    #[serde(deserialize_with = "classes")]
    pub classes: Option<Classes>,
    /// It names or reaches such a table or view.
    pub tables: Option<Vec<NameGlob>>,
    /// It holds an UPDATE or DELETE without WHERE.
    pub missing_where: bool,
    /// It calls such a function.
    pub functions: Option<Vec<NameGlob>>,
}

/// What happens to a command that the gateway cannot analyse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unanalysable {
    /// It is blocked.
    #[default]
    Block,
    /// It waits for approval, whatever it does.
    Hold,
}

impl Settings {
    /// Refuses settings under which nothing would wait, or nobody could approve.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.when.is_empty() {
            return Err("`when` is empty, so nothing would wait; write what needs an approval".to_owned());
        }
        for (index, entry) in self.when.iter().enumerate() {
            entry.check().map_err(|error| format!("`when[{index}]`: {error}"))?;
        }
        self.check_approvers()?;
        within("expires", self.expires, MIN_EXPIRES)?;
        within("remember", self.remember, MIN_REMEMBER)
    }

    fn check_approvers(&self) -> Result<(), String> {
        let Self { approvers, min_approvals, .. } = self;
        if approvers.is_empty() || approvers.len() > MAX_APPROVERS {
            return Err(format!("`approvers` names 1 to {MAX_APPROVERS} groups or users, such as `group:dba`"));
        }
        let named = |text: &str| matches!(text.split_once(':'), Some(("group" | "user", name)) if !name.is_empty());
        if let Some(text) = approvers.iter().find(|text| !named(text)) {
            return Err(format!("`approvers` has `{text}`, which names nobody; write `group:NAME` or `user:NAME`"));
        }
        if !(1..=MAX_APPROVALS).contains(min_approvals) {
            return Err(format!("`min_approvals` is {min_approvals}; write a number from 1 to {MAX_APPROVALS}"));
        }
        let mut users: Vec<_> = approvers.iter().filter(|text| text.starts_with("user:")).collect();
        let only_users = users.len() == approvers.len();
        users.sort_unstable();
        users.dedup();
        if only_users && users.len() < *min_approvals as usize {
            let count = users.len();
            return Err(format!("`min_approvals` is {min_approvals}, and `approvers` names only {count}; name more"));
        }
        Ok(())
    }

    /// What is asked of the approvers, for this reason.
    pub(crate) fn approval(&self, reason: String) -> Approval {
        let mut approval = Approval::new(reason).by(&self.approvers).at_least(self.min_approvals);
        approval.reason_required = self.reason_required;
        if let Some(time) = self.expires {
            approval = approval.expiring_after(time);
        }
        match self.remember {
            Some(time) => approval.remembered_for(time),
            None => approval,
        }
    }
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        let Self { kinds, classes, tables, missing_where, functions } = self;
        let lists = [
            ("kinds", kinds.as_ref().map(Vec::len)),
            ("classes", classes.map(|classes| classes.iter().count())),
            ("tables", tables.as_ref().map(Vec::len)),
            ("functions", functions.as_ref().map(Vec::len)),
        ];
        if let Some((name, _)) = lists.iter().find(|(_, len)| *len == Some(0)) {
            return Err(format!("`{name}` is empty, so nothing would match; name something or leave it out"));
        }
        if !missing_where && lists.iter().all(|(_, len)| len.is_none()) {
            return Err("it has no condition, so everything would wait; name what is meant".to_owned());
        }
        Ok(())
    }
}

fn within(name: &str, time: Option<Duration>, least: Duration) -> Result<(), String> {
    match time {
        Some(time) if !(least..=MAX_TIME).contains(&time) => Err(format!(
            "`{name}` is {}; write a time from {} to {}",
            humantime::format_duration(time),
            humantime::format_duration(least),
            humantime::format_duration(MAX_TIME)
        )),
        _ => Ok(()),
    }
}

fn one() -> u32 {
    1
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let read = humantime::parse_duration(&text);
    read.map(Some).map_err(|error| D::Error::custom(format_args!("`{text}` is no time such as `10m`: {error}")))
}

fn classes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Classes>, D::Error> {
    let mut classes = Classes::empty();
    for word in Vec::<String>::deserialize(deserializer)? {
        classes |= named_class(&word).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{word}` is none of the classes read, dml, ddl, admin, opaque, session and transaction"
            ))
        })?;
    }
    Ok(Some(classes))
}

/// One table of conditions, or a list of them.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<Entry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of conditions, or a list of them")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Entry>, A::Error> {
            Ok(vec![Entry::deserialize(MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<Entry>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(Entries)
}
