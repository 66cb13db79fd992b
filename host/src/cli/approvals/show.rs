//! `sluicegate approvals show`: one approval with everything that an approver needs to know.

use anyhow::bail;
use sluicegate_core::{Approval, ApprovalId, ApprovalState, approval::Answer, record, record::MAX_TEXT_BYTES};

use crate::cli::{
    Output,
    pick::Meant,
    print::{BAD, BOLD, answer, duration, fields_text, json, moment, out, printable, printable_lines, quoted},
    source::Source,
};

#[derive(Debug, clap::Args)]
pub struct Show {
    /// The approval's id, or at least the last 4 characters of one that waits
    id: Meant<ApprovalId>,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Show {
    /// Prints the approval.
    pub async fn run(&self, source: &mut Source) -> anyhow::Result<()> {
        let id = self.id.find(source).await?;
        let Some(found) = source.approval(id).await? else {
            bail!("there is no approval {id}; `sluicegate approvals list --state all` shows those there are");
        };
        match self.output {
            Output::Json => out(json(&found)?)?,
            Output::Text => out(approval(&found, record::now()))?,
        }
        Ok(())
    }
}

/// Shows an approval, with the time that is left at `now`, in milliseconds since the Unix epoch.
fn approval(approval: &Approval, now: i64) -> String {
    let pending = approval.state == ApprovalState::Pending;
    let stands = match (pending, approval.ended_at) {
        (true, _) => format!("pending, {} left", duration(approval.expires_at - now)),
        (false, Some(at)) => format!("{} at {}", ending(approval.state, &approval.ended), moment(at)),
        (false, None) => approval.state.to_string(),
    };
    let verb = if approval.verb == "query" { String::new() } else { format!(" ({})", approval.verb) };
    let locks = if approval.in_transaction { "its transaction is open and keeps its locks" } else { "" };
    let fields = [
        ("approval", approval.id.to_string()),
        ("state", stands),
        ("asked by", format!("{} from {}", approval.requester, approval.client)),
        ("on", format!("{} ({})", approval.target, approval.protocol)),
        ("at", moment(approval.requested_at)),
        ("session", format!("{}, command {}{verb}", approval.session, approval.sequence)),
        ("meanwhile", locks.to_owned()),
        ("kinds", approval.kinds.join(", ")),
        ("names", approval.resources.join(", ")),
        ("context", approval.context.clone()),
        ("digest", approval.digest.clone()),
    ];
    let mut shown = fields_text(&fields);
    shown.push_str(&block("command", command(approval)));
    shown.push_str(&block("parameters", parameters(approval)));
    shown.push_str(&block("needs", requirements(approval)));
    shown.push_str(&block("answers", approval.answers.iter().map(answer_at).collect()));
    shown.trim_end().to_owned()
}

/// How an approval ended, in words that say nothing twice.
pub fn ending(state: ApprovalState, why: &str) -> String {
    if why.starts_with(state.word()) {
        why.to_owned()
    } else if why.is_empty() {
        state.to_string()
    } else {
        format!("{state}: {why}")
    }
}

/// The command's text, line by line, and what of it is not there.
pub fn command(approval: &Approval) -> Vec<String> {
    let mut lines = printable_lines(&approval.text);
    if approval.cut {
        let kept = MAX_TEXT_BYTES / 1024;
        lines.push(format!("{BAD}(cut at {kept} KiB; the rest is not shown){BAD:#}"));
    }
    if approval.hidden {
        lines.push("(literals are left out, because a mask could hide them)".to_owned());
    }
    lines
}

/// One answer with its time, on a line.
pub fn answer_at(given: &Answer) -> String {
    answer(given, &format!(" at {}", moment(given.at)))
}

fn block(name: &str, lines: Vec<String>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("\n{BOLD}{name}{BOLD:#}\n{}", lines.concat())
}

/// The parameters' values, one a line.
pub fn parameters(approval: &Approval) -> Vec<String> {
    if approval.values.is_empty() && approval.parameters > 0 {
        return vec![format!("{}, not shown, because a mask could hide them", approval.parameters)];
    }
    let value = |(number, value): (u32, &Option<String>)| match value {
        Some(value) => format!("${number} = {}", quoted(value)),
        None => format!("${number} is NULL"),
    };
    (1..).zip(&approval.values).map(value).collect()
}

fn requirements(approval: &Approval) -> Vec<String> {
    let mut lines = Vec::new();
    for requirement in &approval.requirements {
        let rule = requirement.rule.as_ref().map_or_else(String::new, |rule| format!(" by rule {rule}"));
        lines.push(printable(&format!("{}{rule}: {}", requirement.policy, requirement.reason)));
        let who = requirement.approver_names();
        let mut line = format!("  {} of {who}, not {}", requirement.min_approvals.max(1), approval.requester);
        if requirement.reason_required {
            line.push_str("; each answer needs a `--note`");
        }
        if let Some(seconds) = requirement.remember {
            let same = duration(i64::from(seconds) * 1000);
            line.push_str(&format!("; also covers the same command for {same} after"));
        }
        lines.push(printable(&line));
    }
    lines
}

#[cfg(test)]
pub mod tests {
    use sluicegate_core::{Requirement, SessionId};
    use uuid::Uuid;

    use super::*;

    /// A pending approval for tests of printing.
    pub fn sample() -> Approval {
        let requirement = Requirement {
            policy: "hold-for-approval".to_owned(),
            module: "ab".repeat(32),
            rule: Some("deletes".to_owned()),
            reason: "a DELETE needs a second pair of eyes".to_owned(),
            approvers: vec!["group:dba".parse().unwrap(), "user:bob".parse().unwrap()],
            min_approvals: 2,
            reason_required: true,
            expires_in: None,
            remember: Some(600),
        };
        Approval {
            id: ApprovalId(Uuid::from_u128(0x0198_c2f4_aaaa_7bbb_8ccc_0000_0000_cafe)),
            session: SessionId(Uuid::nil()),
            sequence: 1,
            requester: "alice".to_owned(),
            target: "orders".to_owned(),
            protocol: "postgres".to_owned(),
            client: "127.0.0.1:4321".to_owned(),
            digest: "cd".repeat(32),
            verb: "query".to_owned(),
            text: "DELETE FROM orders\n WHERE id = $1".to_owned(),
            cut: false,
            hidden: true,
            context: "search_path=public".to_owned(),
            resources: vec!["public.orders".to_owned()],
            parameters: 2,
            values: vec![Some("7".to_owned()), None],
            kinds: vec!["delete".to_owned()],
            in_transaction: true,
            requirements: vec![requirement],
            requested_at: 0,
            expires_at: 3_600_000,
            state: ApprovalState::Pending,
            answers: Vec::new(),
            ended_at: None,
            ended: String::new(),
        }
    }

    fn plain(shown: &Approval) -> String {
        anstream::adapter::strip_str(&approval(shown, 60_000)).to_string()
    }

    #[test]
    fn an_approver_reads_all_there_is_to_know() {
        let text = plain(&sample());
        for part in [
            "pending, 59 min 0 s left",
            "alice from 127.0.0.1:4321",
            "orders (postgres)",
            "keeps its locks",
            "search_path=public",
            "DELETE FROM orders\n     WHERE id = $1\n    (literals are left out",
            "$1 = '7'",
            "$2 is NULL",
            "hold-for-approval by rule deletes: a DELETE needs a second pair of eyes",
            "2 of group:dba or user:bob, not alice; each answer needs a `--note`; also covers the same command for 10 min 0 s",
        ] {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
        assert!(!text.contains("answers"), "{text}");
    }

    #[test]
    fn a_command_is_not_more_than_it_looks_like() {
        let mut long = sample();
        assert!(!plain(&long).contains("cut at"));
        (long.cut, long.values) = (true, vec![Some("7', $2 = '8\n".to_owned())]);
        let text = plain(&long);
        assert!(text.contains("    (cut at 16 KiB; the rest is not shown)\n"), "{text}");
        assert!(text.contains("    $1 = '7'', $2 = ''8⏎'\n"), "{text}");
    }

    #[test]
    fn an_end_is_told_once() {
        let all = [(ApprovalState::Denied, "denied by bob"), (ApprovalState::Abandoned, "the client left")];
        assert_eq!(all.map(|(state, why)| ending(state, why)), ["denied by bob", "abandoned: the client left"]);
    }

    #[test]
    fn nothing_in_it_steers_the_terminal() {
        let mut hostile = sample();
        let escape = "\u{1b}]0;x\u{7}\u{202e}";
        for text in [&mut hostile.text, &mut hostile.context, &mut hostile.requester, &mut hostile.ended] {
            text.push_str(escape);
        }
        hostile.values = vec![Some(escape.to_owned())];
        hostile.resources = vec![escape.to_owned()];
        hostile.state = ApprovalState::Denied;
        hostile.ended_at = Some(5);
        hostile.answers =
            vec![Answer { approver: "bob".to_owned(), approved: false, note: format!("no{escape}\nway"), at: 5 }];
        // Our own styles are taken away first: what is left would be the client's.
        let text = plain(&hostile);
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        assert!(text.contains("bob denied at") && text.contains("way") && text.contains("\\u{1b}"), "{text}");
    }
}
