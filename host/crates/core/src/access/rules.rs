//! Who may use which target: what the configuration says, and how it is read. Pure: the decision is a function of
//! who asks, what is granted and what time it is, so that it can be made again whenever one of these changes.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::hours::Window;
use crate::identity::{Identity, Principal};

/// The label that every target has: its name.
pub const NAME_LABEL: &str = "name";
/// What stands for any value of a label.
pub const ANY: &str = "*";

/// All rules of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The targets, by name.
    pub targets: HashMap<String, TargetAccess>,
    /// The roles.
    pub roles: Vec<Role>,
}

/// Who may use a target, as the gate needs to know it.
#[derive(Debug, Clone, Default)]
pub struct TargetAccess {
    /// The protocol it speaks.
    pub protocol: &'static str,
    /// Who may use it, whatever their roles.
    pub allow: Vec<Principal>,
    /// By which roles find it.
    pub labels: BTreeMap<String, String>,
}

/// Leave to use the targets with certain labels, for whoever holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// The labels that a target must have; [`ANY`] is any value.
    pub labels: BTreeMap<String, String>,
    /// Who holds it without asking.
    pub members: Vec<Principal>,
    /// When they do; always where there is no window.
    pub hours: Vec<Window>,
    /// Who may ask for it.
    pub requesters: Vec<Principal>,
    /// Who grants it; nobody listed means the gateway's admins.
    pub approvers: Vec<Principal>,
    /// How many of them must.
    pub min_approvals: u32,
    /// For how long it is granted at most.
    pub longest: Duration,
}

/// Leave to use a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leave {
    /// The roles it rests on, in the configuration's order; none where an `allow` rule suffices.
    pub roles: Vec<String>,
    /// When the first of them ends, in milliseconds since the Unix epoch; none where none does.
    pub until: Option<i64>,
}

/// Why there is no leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoLeave {
    /// No target has the name.
    #[error("no such target")]
    NoTarget,
    /// The target is reached in another way.
    #[error("the target speaks another protocol")]
    OtherProtocol,
    /// It is for another target.
    #[error("the ticket is for another target, or was just revoked")]
    OtherTicket,
    /// Nobody let them in.
    #[error("no `allow` rule of the target names the user, and no role on it is theirs now")]
    NotAllowed,
}

impl Rules {
    /// Whether this identity may use the target now. `granted` says until when a role was granted to it there.
    pub(super) fn leave(
        &self,
        identity: &Identity,
        target: &str,
        granted: impl Fn(&Role) -> Option<i64>,
        now: i64,
    ) -> Result<Leave, NoLeave> {
        let access = self.targets.get(target).ok_or(NoLeave::NoTarget)?;
        let mut leave = Leave { roles: Vec::new(), until: None };
        for role in self.roles.iter().filter(|role| role.is_for(target, &access.labels)) {
            // Whoever may no longer ask for it has lost what they were granted.
            let granted = if role.may_be_asked_for_by(identity) { granted(role) } else { None };
            let Some(until) = role.held_until(identity, granted, now) else { continue };
            leave.roles.push(role.name.clone());
            leave.until = leave.until.into_iter().chain(until).min();
        }
        let allowed = access.allow.iter().any(|principal| principal.covers(identity));
        if allowed || !leave.roles.is_empty() { Ok(leave) } else { Err(NoLeave::NotAllowed) }
    }

    /// The role of this name, if it is one for this target that the identity may ask for.
    pub(super) fn to_ask_for(&self, identity: &Identity, role: &str, target: &str) -> Option<&Role> {
        let access = self.targets.get(target)?;
        let role = self.roles.iter().find(|known| known.name == role)?;
        (role.may_be_asked_for_by(identity) && role.is_for(target, &access.labels)).then_some(role)
    }
}

impl Role {
    /// Whether it is one for the target of this name with these labels.
    pub fn is_for(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(label, wanted)| {
            let value = if label == NAME_LABEL { Some(name) } else { labels.get(label).map(String::as_str) };
            value.is_some_and(|value| wanted == ANY || wanted == value)
        })
    }

    fn may_be_asked_for_by(&self, identity: &Identity) -> bool {
        self.requesters.iter().any(|principal| principal.covers(identity))
    }

    /// Until when this identity holds it: none where it does not, no time where that does not end by itself.
    fn held_until(&self, identity: &Identity, granted: Option<i64>, now: i64) -> Option<Option<i64>> {
        let is_member = self.members.iter().any(|principal| principal.covers(identity));
        if is_member && self.hours.is_empty() {
            return Some(None);
        }
        let hours = self.hours.iter().filter(|_| is_member).filter_map(|window| window.open_until(now));
        hours.chain(granted).max().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27, a Friday, at noon.
    const NOON: i64 = 1_795_780_800_000;
    const HOUR: i64 = 3_600_000;

    fn labels(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn principals(all: &[&str]) -> Vec<Principal> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn role(name: &str, on: &[(&str, &str)], members: &[&str], hours: &[&str]) -> Role {
        Role {
            name: name.to_owned(),
            labels: labels(on),
            members: principals(members),
            hours: hours.iter().map(|text| text.parse().unwrap()).collect(),
            requesters: principals(&["group:oncall"]),
            approvers: Vec::new(),
            min_approvals: 1,
            longest: Duration::from_secs(3600),
        }
    }

    fn rules(roles: Vec<Role>) -> Rules {
        let target = |allow: &[&str], env: &str| TargetAccess {
            protocol: "test",
            allow: principals(allow),
            labels: labels(&[("env", env)]),
        };
        let targets = [("orders", target(&["user:alice"], "prod")), ("staging", target(&[], "test"))];
        Rules { targets: targets.into_iter().map(|(name, t)| (name.to_owned(), t)).collect(), roles }
    }

    fn leave(rules: &Rules, who: &Identity, target: &str) -> Result<(Vec<String>, Option<i64>), NoLeave> {
        rules.leave(who, target, |_| None, NOON).map(|leave| (leave.roles, leave.until))
    }

    #[test]
    fn labels_say_on_which_targets_a_role_is_one() {
        let dba = Identity::builtin("dan", vec!["dba".to_owned()]);
        for (on, orders, staging) in [
            (&[("env", "prod")][..], true, false),
            (&[("env", "*")], true, true),
            (&[("name", "staging")], false, true),
            (&[("env", "prod"), ("name", "staging")], false, false),
            (&[("team", "*")], false, false),
        ] {
            let rules = rules(vec![role("read", on, &["group:dba"], &[])]);
            assert_eq!(leave(&rules, &dba, "orders").is_ok(), orders, "{on:?}");
            assert_eq!(leave(&rules, &dba, "staging").is_ok(), staging, "{on:?}");
        }
    }

    #[test]
    fn whoever_an_allow_rule_names_needs_no_role_and_has_those_that_are_theirs() {
        let rules = rules(vec![role("read", &[("env", "*")], &["user:alice"], &[])]);
        let alice = Identity::builtin("alice", Vec::new());
        assert_eq!(leave(&rules, &alice, "orders"), Ok((vec!["read".to_owned()], None)));
        let bob = Identity::builtin("bob", Vec::new());
        assert_eq!(leave(&rules, &bob, "orders"), Err(NoLeave::NotAllowed));
        assert_eq!(leave(&rules, &bob, "nowhere"), Err(NoLeave::NoTarget));
    }

    #[test]
    fn members_hold_a_role_in_its_hours() {
        let dba = Identity::builtin("dan", vec!["dba".to_owned()]);
        let of =
            |hours: &[&str]| leave(&rules(vec![role("read", &[("env", "*")], &["group:dba"], hours)]), &dba, "orders");
        assert_eq!(of(&["fri 08:00-18:00"]), Ok((vec!["read".to_owned()], Some(NOON + 6 * HOUR))));
        assert_eq!(
            of(&["fri 08:00-13:00", "mon-sun 11:00-14:00"]).unwrap().1,
            Some(NOON + 2 * HOUR),
            "the longest counts"
        );
        assert_eq!(of(&["sat 08:00-18:00"]), Err(NoLeave::NotAllowed));
    }

    #[test]
    fn a_grant_counts_at_any_hour_and_for_its_time() {
        let rules = rules(vec![role("read", &[("env", "*")], &[], &["sat 08:00-18:00"])]);
        let olga = Identity::builtin("olga", vec!["oncall".to_owned()]);
        let granted = rules.leave(&olga, "orders", |_| Some(NOON + HOUR), NOON).unwrap();
        assert_eq!(granted, Leave { roles: vec!["read".to_owned()], until: Some(NOON + HOUR) });
        assert_eq!(leave(&rules, &olga, "orders"), Err(NoLeave::NotAllowed));
        let left = Identity::builtin("olga", Vec::new());
        assert!(rules.leave(&left, "orders", |_| Some(NOON + HOUR), NOON).is_err(), "she may not ask for it any more");
    }

    #[test]
    fn only_who_may_ask_finds_a_role_to_ask_for() {
        let rules = rules(vec![role("read", &[("env", "prod")], &[], &[])]);
        let olga = Identity::builtin("olga", vec!["oncall".to_owned()]);
        assert!(rules.to_ask_for(&olga, "read", "orders").is_some());
        for (who, role, target) in
            [("oncall", "read", "staging"), ("oncall", "write", "orders"), ("sales", "read", "orders")]
        {
            let who = Identity::builtin("x", vec![who.to_owned()]);
            assert!(rules.to_ask_for(&who, role, target).is_none(), "{role} {target}");
        }
    }
}
