//! `sluicegate approvals watch`: approvals as they are asked for, answered and ended.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use anyhow::bail;
use sluicegate_core::{Approval, ApprovalId, ApprovalState, record, sessions::ApprovalFilter};

use super::{list::find, show};
use crate::{
    cli::{
        Output,
        print::{BAD, BOLD, GOOD, WAITS, count, duration, json_line, printable, put, time_of_day},
        source::Source,
    },
    config::MAX_PENDING,
};

/// How often the gateway is asked.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Only those for this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// How to print them; JSON is one line for each approval whenever it changes
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Watch {
    /// Prints until nobody reads any more.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        if matches!(source, Source::Store(_)) {
            bail!("no gateway runs here, so nothing waits; `sluicegate approvals list --state all` shows what did");
        }
        let filter = ApprovalFilter {
            state: Some(ApprovalState::Pending),
            target: self.target.clone(),
            ..ApprovalFilter::default()
        };
        let mut known: BTreeMap<ApprovalId, Approval> = BTreeMap::new();
        let mut watching = false;
        loop {
            match changes(source, &filter, &mut known).await {
                Err(error) => source.recover(error).await?,
                Ok(changed) => {
                    if !std::mem::replace(&mut watching, true) {
                        anstream::eprintln!("{}", greeting(changed.len()));
                    }
                    for approval in changed {
                        if !self.tell(approval, &mut known)? {
                            return Ok(());
                        }
                    }
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Prints what is new about an approval; false once nobody reads any more.
    fn tell(&self, approval: Approval, known: &mut BTreeMap<ApprovalId, Approval>) -> anyhow::Result<bool> {
        let told = known.get(&approval.id).map_or(0, |before| before.answers.len());
        let line = match self.output {
            Output::Json => json_line(&approval)?,
            Output::Text => text(&approval, told, record::now()),
        };
        match approval.state {
            ApprovalState::Pending => drop(known.insert(approval.id, approval)),
            _ => drop(known.remove(&approval.id)),
        }
        Ok(put(line)?)
    }
}

/// What is said at the start, and how to answer from another terminal.
fn greeting(waiting: usize) -> String {
    let now = match waiting {
        0 => "nothing waits now".to_owned(),
        1 => "1 command waits now".to_owned(),
        more => format!("{} wait now", count(u64::try_from(more).unwrap_or(u64::MAX), "command")),
    };
    format!("watching; {now}; answer with `sluicegate approvals approve|deny ID --as USER`")
}

/// The approvals that are others than were known, oldest first.
async fn changes(
    source: &mut Source,
    filter: &ApprovalFilter,
    known: &mut BTreeMap<ApprovalId, Approval>,
) -> anyhow::Result<Vec<Approval>> {
    let pending = find(source, filter.clone(), MAX_PENDING).await?.items;
    let mut changed = Vec::new();
    for id in gone(known, &pending) {
        match source.approval(id).await? {
            Some(approval) => changed.push(approval),
            // It may no longer be seen, so its end is not ours to tell.
            None => drop(known.remove(&id)),
        }
    }
    changed.extend(pending.into_iter().rev());
    changed.retain(|approval| known.get(&approval.id) != Some(approval));
    Ok(changed)
}

/// Those that waited and wait no longer.
fn gone(known: &BTreeMap<ApprovalId, Approval>, pending: &[Approval]) -> Vec<ApprovalId> {
    let waiting: HashSet<ApprovalId> = pending.iter().map(|approval| approval.id).collect();
    known.keys().copied().filter(|id| !waiting.contains(id)).collect()
}

/// What is new about an approval of which so many answers were told before.
fn text(approval: &Approval, told: usize, now: i64) -> String {
    let fresh: Vec<String> =
        approval.answers.iter().skip(told).map(|a| format!("    {}", show::answer_at(a))).collect();
    let pending = approval.state == ApprovalState::Pending;
    let mut lines = Vec::new();
    if pending && approval.answers.is_empty() {
        let who = printable(&format!("{} on {}", approval.requester, approval.target));
        let at = time_of_day(approval.requested_at);
        lines.push(format!("{at}  {WAITS}{}{WAITS:#}  {BOLD}{who}{BOLD:#}", approval.id));
        // Further in than what is said of it, so that no line of it passes for that.
        lines.extend(show::command(approval).iter().map(|line| format!("        {line}")));
        lines.extend(show::parameters(approval).iter().map(|line| format!("        {line}")));
        lines.push(format!("    {}", printable(&approval.reasons())));
        let locks = if approval.in_transaction { "; its transaction keeps its locks" } else { "" };
        let left = duration(approval.expires_at - now);
        lines.push(format!("    needs {} within {left}{locks}", printable(&approval.approvers())));
    } else if pending {
        lines.push(format!("{}  {WAITS}{}{WAITS:#}  still waits", time_of_day(now), approval.id));
        lines.extend(fresh);
    } else {
        let style = if approval.state == ApprovalState::Approved { GOOD } else { BAD };
        let at = time_of_day(approval.ended_at.unwrap_or(now));
        let how = printable(&show::ending(approval.state, &approval.ended));
        lines.push(format!("{at}  {}  {style}{how}{style:#}", approval.id));
        lines.extend(fresh);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use sluicegate_core::approval::Answer;

    use super::*;
    use crate::cli::approvals::sample;

    fn plain(approval: &Approval, told: usize) -> String {
        anstream::adapter::strip_str(&text(approval, told, 0)).to_string()
    }

    #[test]
    fn what_is_new_is_told_once() {
        let mut approval = sample();
        let first = plain(&approval, 0);
        assert!(first.contains("alice on orders") && first.contains("needs 2 of group:dba"), "{first}");
        assert!(first.contains("\n        DELETE FROM orders\n         WHERE id = $1\n"), "{first}");
        assert!(first.contains("within 1 h 0 min; its transaction keeps its locks"), "{first}");
        let answer =
            |approver: &str| Answer { approver: approver.to_owned(), approved: true, note: "ok".to_owned(), at: 1 };
        approval.answers.push(answer("bob"));
        let second = plain(&approval, 0);
        assert!(second.contains("still waits\n    bob approved at ") && !second.contains("alice"), "{second}");
        approval.answers.push(answer("carol"));
        (approval.state, approval.ended) = (ApprovalState::Approved, "approved by bob and carol".to_owned());
        let third = plain(&approval, 1);
        assert!(
            third.contains("  approved by bob and carol\n    carol approved") && !third.contains("bob approved"),
            "{third}"
        );
    }

    #[test]
    fn what_no_longer_waits_is_asked_for() {
        let (known, other) = (sample(), ApprovalId(uuid::Uuid::nil()));
        let all = BTreeMap::from([(known.id, known.clone()), (other, Approval { id: other, ..known.clone() })]);
        assert_eq!(gone(&all, &[known]), [other]);
    }
}
