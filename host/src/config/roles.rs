//! `[[role]]`, and the labels of targets by which roles find them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    time::Duration,
};

use serde::Deserialize;
use sluicegate_core::access::{ANY, NAME_LABEL, Role, Window};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    amounts::{Time, within},
    parse::{Reader, Table, span_of},
    report::Problem,
    section,
};

/// For how long a role is granted at most unless it says otherwise, and whatever it says.
const LONGEST: Duration = Duration::from_secs(60 * 60);
const MOST: Time = Time::days(7);
/// The most bytes of a label, of its value, and of a role's name.
const MAX_WORD_BYTES: usize = 63;

/// A role with the places of those that it names.
pub(super) struct ReadRole {
    pub role: Role,
    pub at: Range<usize>,
    pub members_at: Vec<Range<usize>>,
    pub requesters_at: Vec<Range<usize>>,
    pub approvers_at: Vec<Range<usize>>,
}

/// What is left of a role once its lists of principals are taken out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleSection {
    name: Spanned<String>,
    labels: Spanned<BTreeMap<String, String>>,
    #[serde(default)]
    hours: Vec<Window>,
    min_approvals: Option<Spanned<u64>>,
    longest: Option<Spanned<Time>>,
}

const PRINCIPALS: &[&str] = &["members", "requesters", "approvers"];

impl Reader<'_> {
    /// Reads every role.
    pub(super) fn roles(&mut self, value: Option<Spanned<DeValue<'_>>>) -> Vec<ReadRole> {
        let tables = value.map(|v| section::tables(self.report, "role", v)).unwrap_or_default();
        let mut names: HashMap<String, usize> = HashMap::new();
        tables.into_iter().filter_map(|table| self.role(table, &mut names)).collect()
    }

    fn role(&mut self, table: Table<'_>, names: &mut HashMap<String, usize>) -> Option<ReadRole> {
        let at = table.span();
        let mut table = table.into_inner();
        let (members, members_at) = self.principals("members", table.remove("members"));
        let (requesters, requesters_at) = self.principals("requesters", table.remove("requesters"));
        let (approvers, approvers_at) = self.principals("approvers", table.remove("approvers"));
        let table = Spanned::new(at.clone(), table);
        let hours_at = span_of(&table, "hours");
        let RoleSection { name, labels, hours, min_approvals, longest } =
            section::read(self.report, "[[role]]", table, PRINCIPALS)?;
        let (name_at, name) = (name.span(), name.into_inner());
        self.unique("role", &name, name_at.clone(), names);
        if !is_word(&name) {
            let problem = format!("a role's name has 1 to {MAX_WORD_BYTES} bytes, no spaces and no control characters");
            self.report.push(Problem::error(problem).at(name_at));
        }
        if labels.get_ref().is_empty() {
            let problem =
                Problem::error(format!("the role `{}` has no labels, so it is for no target", name.escape_debug()));
            let help = format!("write `labels = {{ {NAME_LABEL} = \"{ANY}\" }}` for every target");
            self.report.push(problem.at(labels.span()).help(help));
        }
        if !hours.is_empty() && members.is_empty() {
            let problem = Problem::warning("`hours` are when `members` hold a role, and this one has none");
            self.report.push(problem.at(hours_at));
        }
        if members.is_empty() && requesters.is_empty() {
            let problem =
                format!("the role `{}` has no `members` and no `requesters`, so nobody gets it", name.escape_debug());
            self.report.push(Problem::warning(problem).at(at.clone()));
        }
        let approvals = within(self.report, "min_approvals", min_approvals, 1..=10).unwrap_or(1);
        let longest =
            within(self.report, "longest", longest, Time::seconds(60)..=MOST).map_or(LONGEST, |Time(time)| time);
        let role = Role {
            name,
            labels: labels.into_inner(),
            members,
            hours,
            requesters,
            approvers,
            min_approvals: u32::try_from(approvals).unwrap_or(1),
            longest,
        };
        Some(ReadRole { role, at, members_at, requesters_at, approvers_at })
    }

    /// `labels` of a target.
    pub(super) fn labels(&mut self, target: &mut DeTable<'_>) -> BTreeMap<String, String> {
        let Some(value) = target.remove("labels") else { return BTreeMap::new() };
        let at = value.span();
        let labels: BTreeMap<String, String> = section::value(self.report, value).unwrap_or_default();
        if labels.contains_key(NAME_LABEL) {
            let problem = Problem::error(format!("every target has the label `{NAME_LABEL}`, which is its name"));
            self.report.push(problem.at(at.clone()).help("leave it out"));
        }
        if labels.iter().any(|(label, value)| !is_word(label) || !is_word(value) || value == ANY) {
            let problem =
                format!("a label and its value have 1 to {MAX_WORD_BYTES} bytes, no spaces, and are not `{ANY}`");
            self.report.push(Problem::error(problem).at(at));
        }
        labels
    }
}

fn is_word(text: &str) -> bool {
    (1..=MAX_WORD_BYTES).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}
