//! What a policy decided about a session or a command, read from the contract's words. What it asks of
//! people is checked here: a request that nobody could answer is nonsense, and blocks.

use std::collections::HashSet;

use sluicegate_core::{Principal, Requirement, record::cut};

use crate::{
    contract::sluicegate::policy::verdicts::{Approval, Verdict},
    instance::{CallError, reason_text},
    voice::printable,
};

/// The contract's bound.
const MAX_APPROVERS: usize = 64;
/// Names of users and groups are shorter.
const MAX_APPROVER_BYTES: usize = 256;

/// A verdict that makes sense.
#[derive(Debug)]
pub(crate) enum Decision {
    Allow,
    Block(String),
    /// The policy, its module and its rule are not filled in.
    Suspend(Requirement),
}

impl TryFrom<Verdict> for Decision {
    type Error = CallError;

    fn try_from(verdict: Verdict) -> Result<Self, CallError> {
        Ok(match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Block(reason) => Self::Block(reason_text(&reason)),
            Verdict::Suspend(approval) => Self::Suspend(requirement(approval)?),
        })
    }
}

fn requirement(approval: Approval) -> Result<Requirement, CallError> {
    let approvers = approvers(&approval.approvers)?;
    let min_approvals = approval.min_approvals.max(1);
    let names_users_only = !approvers.is_empty() && approvers.iter().all(|who| matches!(who, Principal::User(_)));
    if names_users_only && (approvers.len() as u64) < u64::from(min_approvals) {
        let count = approvers.len();
        let reason = format!("it wants {min_approvals} approvals and names {count} users who may give them");
        return Err(CallError::Nonsense(reason));
    }
    Ok(Requirement {
        policy: String::new(),
        module: String::new(),
        rule: None,
        reason: reason_text(&approval.reason),
        approvers,
        min_approvals,
        reason_required: approval.reason_required,
        expires_in: Some(approval.expires_in).filter(|seconds| *seconds > 0),
        remember: Some(approval.remember).filter(|seconds| *seconds > 0),
    })
}

/// Each of them once, in the policy's order.
fn approvers(texts: &[String]) -> Result<Vec<Principal>, CallError> {
    if texts.len() > MAX_APPROVERS {
        let reason = format!("it names {} approvers, and the most is {MAX_APPROVERS}", texts.len());
        return Err(CallError::Nonsense(reason));
    }
    let mut seen = HashSet::with_capacity(texts.len());
    let mut approvers = Vec::with_capacity(texts.len());
    for text in texts {
        let principal = principal(text).ok_or_else(|| {
            let shown = printable(&cut(text, 64).0);
            CallError::Nonsense(format!("it names `{shown}` as an approver, which is no `user:NAME` or `group:NAME`"))
        })?;
        if seen.insert(principal.clone()) {
            approvers.push(principal);
        }
    }
    Ok(approvers)
}

fn principal(text: &str) -> Option<Principal> {
    let plain = text.len() <= MAX_APPROVER_BYTES && !text.chars().any(char::is_control);
    // Approvers are shown and told by these names.
    let named = |who: &Principal| matches!(who, Principal::User(_) | Principal::Group(_));
    if plain { text.parse().ok().filter(named) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(approvers: &[&str]) -> Approval {
        Approval {
            reason: "two\nlines".to_owned(),
            approvers: approvers.iter().map(|text| (*text).to_owned()).collect(),
            min_approvals: 0,
            reason_required: true,
            expires_in: 0,
            remember: 60,
        }
    }

    #[test]
    fn zeros_are_defaults_and_names_are_kept_once() {
        let asked = requirement(approval(&["group:dba", "user:bob", "group:dba"])).unwrap();
        assert_eq!(asked.approvers, [Principal::Group("dba".to_owned()), Principal::User("bob".to_owned())]);
        assert_eq!((asked.min_approvals, asked.expires_in, asked.remember), (1, None, Some(60)));
        assert_eq!((asked.reason.as_str(), asked.reason_required), ("two lines", true));
    }

    #[test]
    fn what_is_asked_for_is_required_as_it_is() {
        for (min_approvals, reason_required, expires_in, remember) in [(1, false, 10, 0), (3, true, 3600, 604_800)] {
            let asked = Approval { min_approvals, reason_required, expires_in, remember, ..approval(&["group:dba"]) };
            let required = requirement(asked).unwrap();
            assert_eq!((required.min_approvals, required.reason_required), (min_approvals, reason_required));
            assert_eq!(required.expires_in, Some(expires_in));
            assert_eq!(required.remember, (remember > 0).then_some(remember));
        }
    }

    #[test]
    fn approvers_that_name_nobody_are_nonsense() {
        let long = format!("user:{}", "x".repeat(MAX_APPROVER_BYTES));
        for text in ["dba", "group:", "", "role:dba", "claim:a=b", "user:a\nb", &long] {
            let error = requirement(approval(&["group:dba", text])).unwrap_err();
            assert!(
                matches!(&error, CallError::Nonsense(reason) if reason.contains("as an approver")),
                "{text}: {error}"
            );
        }
        let many: Vec<_> = (0..=MAX_APPROVERS).map(|n| format!("user:u{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(requirement(approval(&many)).is_err());
        assert!(requirement(approval(&many[1..])).is_ok());
    }

    #[test]
    fn more_approvals_than_users_are_nonsense() {
        let wants = |approvers: &[&str]| Approval { min_approvals: 2, ..approval(approvers) };
        assert!(requirement(wants(&["user:bob", "user:bob"])).is_err());
        for enough in [&["user:bob", "user:eve"][..], &["group:dba"], &[]] {
            assert!(requirement(wants(enough)).is_ok(), "{enough:?}");
        }
    }
}
