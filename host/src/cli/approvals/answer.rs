//! `sluicegate approvals approve` and `deny`.

use sluicegate_core::{Approval, ApprovalState};

use super::pick::Meant;
use crate::cli::{
    Output,
    print::{BAD, GOOD, WAITS, brief, json, out, printable},
    source::Source,
};

/// The most characters of a command that are repeated.
const MAX_TEXT: usize = 200;

#[derive(Debug, clap::Args)]
pub struct Answer {
    /// The approval's id, or at least the last 4 characters of it
    id: Meant,
    /// Says why; recorded, and shown to whoever asked
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Answer {
    /// Answers, and says what that did.
    pub async fn run(&self, source: &mut Source, approved: bool) -> anyhow::Result<()> {
        let id = self.id.find(source).await?;
        let approval = source.answer(id, approved, self.note.as_deref().unwrap_or_default()).await?;
        match self.output {
            Output::Json => out(json(&approval)?)?,
            Output::Text => out(told(&approval))?,
        }
        Ok(())
    }
}

fn told(approval: &Approval) -> String {
    let (style, what) = match approval.state {
        ApprovalState::Approved => (GOOD, "approved, and may run now".to_owned()),
        ApprovalState::Denied => (BAD, "denied, and will not run".to_owned()),
        ApprovalState::Pending => (WAITS, format!("approved by you; it still needs {}", missing(approval))),
        state => (BAD, format!("{state}: {}", printable(&approval.ended))),
    };
    let whose = printable(&format!("{} on {}", approval.requester, approval.target));
    format!("{style}{what}{style:#}: {}\n{whose}: {}", approval.id, brief(&approval.text, MAX_TEXT))
}

/// What an approval still waits for. Who counts for what is the gateway's to say.
fn missing(approval: &Approval) -> String {
    let given = approval.answers.iter().filter(|answer| answer.approved).count();
    printable(&format!("{}, and has {given}", approval.approvers()))
}

#[cfg(test)]
mod tests {
    use sluicegate_core::approval;

    use super::*;
    use crate::cli::approvals::sample;

    #[test]
    fn an_answer_says_what_it_did() {
        let mut approval = sample();
        let answer = approval::Answer { approver: "bob".to_owned(), approved: true, note: String::new(), at: 1 };
        approval.answers = vec![answer];
        let plain = |approval: &Approval| anstream::adapter::strip_str(&told(approval)).to_string();
        let first = plain(&approval);
        assert!(first.contains("still needs 2 of group:dba or user:bob, and has 1"), "{first}");
        assert!(first.ends_with("alice on orders: DELETE FROM orders  WHERE id = $1"), "{first}");
        approval.state = ApprovalState::Approved;
        assert!(plain(&approval).starts_with("approved, and may run now: 0198c2f4-"));
        (approval.state, approval.text) = (ApprovalState::Denied, "x\u{1b}[2J".to_owned());
        let denied = plain(&approval);
        assert!(denied.starts_with("denied, and will not run") && denied.contains("x\\u{1b}"), "{denied}");
    }
}
