//! Who takes part, and what policies ask of them.

use sluicegate_core::{Identity, Principal, Requirement};

/// Whoever asks, and whoever answers. Alice belongs to the approvers and carol is an admin, so that
/// both could approve what they ask for, were they not the ones who asked.
pub const PEOPLE: [(&str, &[&str]); 7] = [
    ("alice", &["engineering", "dba"]),
    ("carol", &["engineering", "admin"]),
    ("dave", &["dba"]),
    ("erin", &["dba"]),
    ("frank", &["security"]),
    ("gina", &["dba", "security"]),
    ("bob", &[]),
];

/// One of [`PEOPLE`].
pub fn person(name: &str) -> Identity {
    let (name, groups) = PEOPLE.iter().find(|(known, _)| *known == name).expect("one of the cast");
    Identity::builtin(*name, groups.iter().map(|group| (*group).to_owned()).collect())
}

/// The gateway's admins.
pub fn admins() -> Vec<Principal> {
    vec![Principal::Group("admin".to_owned())]
}

/// What one policy asks for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The group that may approve; none for the admins.
    pub group: Option<&'static str>,
    /// How many of them.
    pub count: u32,
    /// Whether with a note.
    pub note: bool,
    /// Whether its time is over as soon as it is asked.
    pub hasty: bool,
    /// Whether one approval covers later runs.
    pub remember: bool,
}

const DBA: Ask = Ask { group: Some("dba"), count: 1, note: false, hasty: false, remember: false };
const SECURITY: Ask = Ask { group: Some("security"), ..DBA };
const COVERING: Ask = Ask { remember: true, ..DBA };

/// What the policies of the moment ask for. No two ask for the same.
pub const ASKS: [&[Ask]; 9] = [
    &[],
    &[DBA],
    &[Ask { count: 2, ..DBA }],
    &[DBA, SECURITY],
    &[Ask { group: None, ..DBA }],
    &[Ask { note: true, ..DBA }],
    &[COVERING],
    &[COVERING, Ask { remember: true, ..SECURITY }],
    &[Ask { hasty: true, ..DBA }],
];

/// The index of the policies of which one approval covers later runs.
pub const REMEMBERED: usize = 6;

/// The index that stands for policies that refuse.
pub const BLOCK: usize = ASKS.len();

/// The same in the gate's words; `module` is the digest of the policy that asks.
pub fn requirements(asks: &[Ask], module: &str) -> Vec<Requirement> {
    let one = |(number, ask): (usize, &Ask)| Requirement {
        policy: format!("policy-{number}"),
        module: module.to_owned(),
        rule: None,
        reason: "a person has to look at it".to_owned(),
        approvers: ask.group.map(|group| Principal::Group(group.to_owned())).into_iter().collect(),
        min_approvals: ask.count,
        reason_required: ask.note,
        expires_in: ask.hasty.then_some(0),
        remember: ask.remember.then_some(3600),
    };
    asks.iter().enumerate().map(one).collect()
}
