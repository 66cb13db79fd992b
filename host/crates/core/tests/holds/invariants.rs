//! What holds for every record of held commands, read by itself.

use std::collections::{HashMap, HashSet};

use sluicegate_core::{
    Approval, ApprovalId, ApprovalState, SessionId,
    record::{Entry, Event},
};

use crate::cast;

/// What the record says about one approval.
struct Story {
    approval: Approval,
    approvers: Vec<String>,
    end: Option<ApprovalState>,
}

/// Reads a record of sessions that have all ended.
pub fn check(entries: &[Entry]) {
    check_after_crashes(entries, &HashSet::new());
}

/// The same where the gate did not live to see the end of some: what they waited for did not run.
pub fn check_after_crashes(entries: &[Entry], cut_off: &HashSet<SessionId>) {
    let mut stories: HashMap<ApprovalId, Story> = HashMap::new();
    let mut held: HashMap<(SessionId, u64), ApprovalId> = HashMap::new();
    let mut ran: HashSet<(SessionId, u64)> = HashSet::new();
    for entry in entries {
        match &entry.event {
            Event::Held(approval) => {
                let story = Story { approval: (**approval).clone(), approvers: Vec::new(), end: None };
                assert!(stories.insert(approval.id, story).is_none(), "{} is held twice", approval.id);
                let again = held.insert((entry.session, approval.sequence), approval.id);
                assert_eq!(again, None, "one command is held twice");
            }
            Event::Answered(answered) => {
                let story = stories.get_mut(&answered.approval).expect("only what is held is answered");
                assert_eq!(story.end, None, "an answer after the end");
                assert_ne!(answered.answer.approver, story.approval.requester, "the requester answered");
                assert!(!story.approvers.contains(&answered.answer.approver), "somebody answered twice");
                if answered.answer.approved {
                    story.approvers.push(answered.answer.approver.clone());
                }
            }
            Event::HoldEnded(ended) => {
                let story = stories.get_mut(&ended.approval).expect("only what is held ends");
                assert_eq!(story.end.replace(ended.state), None, "a hold ends twice");
                assert_ne!(ended.state, ApprovalState::Pending);
            }
            Event::Outcome(outcome) if outcome.forwarded_at.is_some() => {
                let run = (entry.session, outcome.sequence);
                assert!(ran.insert(run), "{run:?} ran twice");
                if let Some(id) = held.get(&run) {
                    assert_eq!(stories[id].end, Some(ApprovalState::Approved), "it ran, and was not approved");
                    enough(&stories[id]);
                }
            }
            Event::Command(command) => {
                if let Some(id) = command.approval {
                    let Story { approval, end, .. } = &stories[&id];
                    assert_eq!(*end, Some(ApprovalState::Approved), "covered by what was never approved and used");
                    assert!(approval.requirements.iter().all(|r| r.remember.is_some()), "covered, and not offered");
                }
            }
            _ => {}
        }
    }
    for (id, story) in &stories {
        let run = (story.approval.session, story.approval.sequence);
        assert!(story.end.is_some() || cut_off.contains(&run.0), "{id} never ended");
        assert_eq!(story.end == Some(ApprovalState::Approved), ran.contains(&run), "{id} ended {:?}", story.end);
    }
}

fn enough(story: &Story) {
    for requirement in &story.approval.requirements {
        let may = |name: &&String| requirement.may_answer(&cast::person(name), &cast::admins());
        let count = story.approvers.iter().filter(may).count();
        assert!(count >= requirement.min_approvals as usize, "{} ran with {count} approvals", story.approval.id);
    }
}
