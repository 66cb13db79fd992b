//! What the client of a command on hold is told, each time by a NOTICE.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_core::{Approval, ApprovalId, approval::Answer};

use crate::codec::message;

/// Which approval its command waits for, who can give it, and how. It may stand for an earlier one that
/// no longer counts.
pub fn waiting(approval: &Approval, replaced: Option<(ApprovalId, &str)>) -> Bytes {
    let (id, approvers, reasons) = (approval.id, approval.approvers(), approval.reasons());
    let before = replaced.map_or_else(String::new, |(old, why)| format!("{why}, so approval {old} no longer counts; "));
    let text = format!("{before}waiting for approval {id} by {approvers}: {reasons}");
    let stands = u64::try_from(approval.expires_at - approval.requested_at).unwrap_or_default() / 1000;
    let stands = humantime::format_duration(Duration::from_secs(stands));
    let locks = if approval.in_transaction { " The open transaction keeps its locks meanwhile." } else { "" };
    let detail = format!("This command runs once it is approved; the request stands for {stands}.{locks}");
    let note = if approval.requirements.iter().any(|r| r.reason_required) { " --note WHY" } else { "" };
    let hint = format!(
        "Have it approved with `sluicegate approvals approve {id} --as USER{note}`, or cancel it, in psql with Ctrl-C."
    );
    notice(&text, &[(b'D', &detail), (b'H', &hint)])
}

/// That one approved and more have to.
pub fn progress(approval: &Approval) -> Bytes {
    let given = approval.answers.iter().filter(|answer| answer.approved).count();
    let last = approval.answers.last().map(said).unwrap_or_default();
    // Of several policies each counts its own approvers.
    let needed = match &approval.requirements[..] {
        [one] => usize::try_from(one.min_approvals).unwrap_or(usize::MAX).saturating_sub(given),
        _ => 0,
    };
    let more = match needed {
        0 => format!("more approvals are needed: by {}", approval.approvers()),
        1 => "1 more is needed".to_owned(),
        more => format!("{more} more are needed"),
    };
    notice(&format!("approved by {last}; {more}"), &[])
}

/// By whom the command was approved that runs now.
pub fn granted(approval: &Approval) -> Bytes {
    let approvers: Vec<String> = approval.answers.iter().filter(|answer| answer.approved).map(said).collect();
    notice(&format!("approved by {}", approvers.join("; ")), &[])
}

fn said(answer: &Answer) -> String {
    if answer.note.is_empty() { answer.approver.clone() } else { format!("{}: {}", answer.approver, answer.note) }
}

/// The code is that of every NOTICE: successful_completion.
fn notice(text: &str, more: &[(u8, &str)]) -> Bytes {
    let severity = b"NOTICE".as_slice();
    let fields = [(b'S', severity), (b'V', severity), (b'C', b"00000"), (b'M', text.as_bytes())];
    message::notice(b'N', fields.into_iter().chain(more.iter().map(|(field, text)| (*field, text.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use sluicegate_core::{ApprovalState, Requirement};

    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    fn approval(requirements: Vec<Requirement>, answered: &[&str]) -> Approval {
        let answer = |name: &&str| Answer { approver: (*name).to_owned(), approved: true, note: String::new(), at: 0 };
        Approval {
            id: ID.parse().unwrap(),
            session: ID.parse().unwrap(),
            sequence: 1,
            requester: "alice".to_owned(),
            target: "orders".to_owned(),
            protocol: "postgres".to_owned(),
            client: "127.0.0.1:1".to_owned(),
            digest: String::new(),
            verb: "query".to_owned(),
            text: "delete from t".to_owned(),
            cut: false,
            hidden: false,
            context: String::new(),
            resources: Vec::new(),
            parameters: 0,
            values: Vec::new(),
            kinds: Vec::new(),
            in_transaction: false,
            requirements,
            requested_at: 0,
            expires_at: 90_000,
            state: ApprovalState::Pending,
            answers: answered.iter().map(answer).collect(),
            ended_at: None,
            ended: String::new(),
        }
    }

    fn by(group: &str, min_approvals: u32) -> Requirement {
        Requirement {
            policy: "hold".to_owned(),
            module: String::new(),
            rule: None,
            reason: "look twice".to_owned(),
            approvers: vec![format!("group:{group}").parse().unwrap()],
            min_approvals,
            reason_required: true,
            expires_in: None,
            remember: None,
        }
    }

    fn fields(notice: &Bytes) -> Vec<(char, String)> {
        let fields = message::notice_fields(&notice[5..]).unwrap();
        fields.into_iter().map(|(kind, text)| (char::from(kind), String::from_utf8_lossy(text).into_owned())).collect()
    }

    fn text(notice: &Bytes) -> String {
        fields(notice).into_iter().find(|(kind, _)| *kind == 'M').unwrap().1
    }

    #[test]
    fn a_wait_says_how_it_is_answered_and_what_it_stands_for() {
        let asked = approval(vec![by("dba", 1)], &[]);
        let told = waiting(&asked, None);
        assert!(text(&told).starts_with("waiting for approval 0000"), "{told:?}");
        let hint = fields(&told).into_iter().find(|(kind, _)| *kind == 'H').unwrap().1;
        assert!(hint.contains(&format!("approvals approve {} --as USER --note WHY`", asked.id)), "{hint}");
        let again = text(&waiting(&asked, Some((asked.id, "the policies changed"))));
        assert!(
            again.starts_with(&format!("the policies changed, so approval {} no longer counts; waiting", asked.id))
        );
    }

    #[test]
    fn each_approval_says_what_is_still_needed() {
        let told = |requirements, answered: &[&str]| text(&progress(&approval(requirements, answered)));
        assert_eq!(told(vec![by("dba", 3)], &["bob"]), "approved by bob; 2 more are needed");
        assert_eq!(told(vec![by("dba", 3)], &["bob", "carl"]), "approved by carl; 1 more is needed");
        let several = told(vec![by("dba", 1), by("legal", 1)], &["bob"]);
        assert_eq!(several, "approved by bob; more approvals are needed: by group:dba, and group:legal");
    }

    #[test]
    fn what_runs_says_who_agreed_and_why() {
        let mut approved = approval(vec![by("dba", 2)], &["bob", "carl"]);
        approved.answers[0].note = "ticket 4711".to_owned();
        assert_eq!(text(&granted(&approved)), "approved by bob: ticket 4711; carl");
    }
}
