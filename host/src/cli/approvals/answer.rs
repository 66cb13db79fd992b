//! `sluicegate approvals approve` and `deny`.

use anyhow::{anyhow, bail};
use sluicegate_admin::ClientError;
use sluicegate_core::{Approval, ApprovalId, ApprovalState, record::MAX_TEXT_BYTES};

use super::show;
use crate::cli::{
    Output,
    pick::Meant,
    print::{BAD, GOOD, WAITS, json, out, printable},
    source::Source,
};

/// The HTTP status that says that the note is not as it has to be.
const UNPROCESSABLE: u16 = 422;

#[derive(Debug, clap::Args)]
pub struct Answer {
    /// The approval's id, or at least the last 4 characters of it
    id: Meant<ApprovalId>,
    /// Says why; recorded, and shown to whoever asked
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub struct Approve {
    #[command(flatten)]
    answer: Answer,
    /// Approves even a command of which the end was cut off, so that nobody has seen it
    #[arg(long)]
    unseen: bool,
}

impl Approve {
    /// Approves what can be seen whole, and says what that did.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        let id = self.answer.id.find(source).await?;
        if !self.unseen && source.approval(id).await?.is_some_and(|approval| approval.cut) {
            bail!(
                "only the first {} KiB of this command can be shown, see `sluicegate approvals show {id}`; deny it, or \
                 approve it with `--unseen`",
                MAX_TEXT_BYTES / 1024
            );
        }
        self.answer.send(source, id, true).await
    }
}

impl Answer {
    /// Denies, and says what that did.
    pub async fn deny(&self, source: &mut Source) -> anyhow::Result<()> {
        let id = self.id.find(source).await?;
        self.send(source, id, false).await
    }

    async fn send(&self, source: &mut Source, id: ApprovalId, approved: bool) -> anyhow::Result<()> {
        let answered = source.answer(id, approved, self.note.as_deref().unwrap_or_default()).await;
        let approval = answered.map_err(|error| match error.downcast_ref() {
            Some(ClientError::Problem(problem)) if problem.status == UNPROCESSABLE && self.note.is_none() => {
                anyhow!("{problem}: add `--note TEXT`")
            }
            _ => error,
        })?;
        match self.output {
            Output::Json => out(json(&approval)?)?,
            Output::Text => out(told(&approval))?,
        }
        Ok(())
    }
}

fn told(approval: &Approval) -> String {
    let (style, what) = match approval.state {
        ApprovalState::Approved if approval.protocol == "access" => {
            (GOOD, "approved, and granted from now on".to_owned())
        }
        ApprovalState::Approved => (GOOD, "approved, and may run now".to_owned()),
        ApprovalState::Denied => (BAD, "denied, and will not run".to_owned()),
        ApprovalState::Pending => (WAITS, format!("approved by you; it still needs {}", missing(approval))),
        state => (BAD, printable(&show::ending(state, &approval.ended))),
    };
    let whose = printable(&format!("{} on {}", approval.requester, approval.target));
    let mut told = format!("{style}{what}{style:#}: {}\n{whose}:", approval.id);
    for line in show::command(approval).iter().chain(&show::parameters(approval)) {
        told.push_str("\n    ");
        told.push_str(line);
    }
    told
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
        assert!(first.contains("alice on orders:\n    DELETE FROM orders\n     WHERE id = $1\n"), "{first}");
        assert!(first.ends_with("\n    $1 = '7'\n    $2 is NULL"), "{first}");
        approval.state = ApprovalState::Approved;
        assert!(plain(&approval).starts_with("approved, and may run now: 0198c2f4-"));
        (approval.state, approval.text) = (ApprovalState::Denied, "x\u{1b}[2J".to_owned());
        let denied = plain(&approval);
        assert!(denied.starts_with("denied, and will not run") && denied.contains("x\\u{1b}"), "{denied}");
    }
}
