//! How large an entry is, and how large it may be. A command may bind tens of thousands of parameters
//! and bring as many values back; the record keeps as many of them as fit, and says so.

use sluicegate_core::{
    Approval, Denial, Requirement,
    policy::Opinion,
    record::{self, Entry, Event, Output, RecordError},
};

/// The most memory that one entry may take, in bytes.
pub(crate) const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// What a string or a list costs beside its bytes.
const OVERHEAD: usize = 24;
/// What an entry costs beside its strings.
const FIXED: usize = 256;

/// Cuts what may be cut so that the entry fits, and returns its size in bytes. An entry that does
/// not fit even so is an error.
pub(crate) fn fit(entry: &mut Entry) -> Result<u32, RecordError> {
    let mut size = size_of(entry);
    if size > MAX_ENTRY_BYTES {
        let excess = size - MAX_ENTRY_BYTES;
        size -= match &mut entry.event {
            Event::Command(c) => cut_command(excess, &mut c.values, &mut c.resources, &mut c.cut),
            Event::Held(approval) => cut_approval(excess, approval),
            Event::Outcome(outcome) => cut_output(excess, &mut outcome.output),
            _ => 0,
        };
    }
    match u32::try_from(size) {
        Ok(fits) if size <= MAX_ENTRY_BYTES => Ok(fits),
        _ => Err(RecordError(format!("an entry has {size} bytes, and at most {MAX_ENTRY_BYTES} are kept"))),
    }
}

/// Drops the last values and then names, and returns how many bytes that saved.
fn cut_command(excess: usize, values: &mut Vec<Option<String>>, resources: &mut Vec<String>, cut: &mut bool) -> usize {
    let mut saved = 0;
    while saved < excess
        && let Some(value) = values.pop()
    {
        saved += value_size(value.as_deref());
        *cut = true;
    }
    while saved < excess
        && let Some(resource) = resources.pop()
    {
        saved += text_size(&resource);
        *cut = true;
    }
    saved
}

/// What approvers read stays to the last: who may answer, and why they are asked, is never cut.
fn cut_approval(excess: usize, approval: &mut Approval) -> usize {
    let Approval { values, resources, context, text, cut, .. } = approval;
    let mut saved = cut_command(excess, values, resources, cut);
    for long in [context, text] {
        let over = excess.saturating_sub(saved).min(long.len());
        if over > 0 {
            let before = long.len();
            *long = record::cut(long, before - over).0;
            saved += before - long.len();
            *cut = true;
        }
    }
    saved
}

/// Drops the last rows of the last results; columns alone may stay.
fn cut_output(excess: usize, output: &mut [Output]) -> usize {
    let mut saved = 0;
    for result in output.iter_mut().rev() {
        while saved < excess
            && let Some(row) = result.rows.pop()
        {
            saved += row_size(&row);
            result.cut = true;
        }
        // A target may have tens of thousands of columns in a result without rows.
        while saved < excess
            && let Some(column) = result.columns.pop()
        {
            saved += text_size(&column);
            result.cut = true;
        }
    }
    saved
}

fn size_of(entry: &Entry) -> usize {
    let event = match &entry.event {
        Event::Opened(o) => {
            let texts = [&o.user, &o.target, &o.protocol, &o.client, &o.authentication, &o.application];
            let names = texts_size(o.owner.iter().chain(&o.actor)) + texts_size(&o.roles);
            texts_size(texts) + names + texts_size(&o.groups) + pairs_size(&o.policies) + opinions_size(&o.opinions)
        }
        Event::Refused(r) => {
            texts_size([&r.user, &r.target, &r.protocol, &r.client, &r.reason]) + opinions_size(&r.opinions)
        }
        Event::Governed(g) => pairs_size(&g.policies),
        Event::Command(c) => {
            let values: usize = c.values.iter().map(|v| value_size(v.as_deref())).sum();
            let said = denial_size(c.denial.as_ref()) + opinions_size(&c.opinions);
            texts_size([&c.verb, &c.text]) + texts_size(&c.resources) + values + said
        }
        Event::Held(approval) => approval_size(approval),
        Event::Answered(a) => texts_size([&a.answer.approver, &a.answer.note]),
        Event::HoldEnded(h) => text_size(&h.reason),
        Event::Outcome(o) => {
            let said = denial_size(o.denial.as_ref()) + opinions_size(&o.opinions);
            text_size(&o.status) + said + o.output.iter().map(output_size).sum::<usize>()
        }
        Event::Closed(c) => text_size(&c.reason),
    };
    FIXED + event
}

fn approval_size(a: &Approval) -> usize {
    let values: usize = a.values.iter().map(|v| value_size(v.as_deref())).sum();
    let asked: usize = a.requirements.iter().map(requirement_size).sum();
    let answered: usize = a.answers.iter().map(|answer| texts_size([&answer.approver, &answer.note])).sum();
    let texts = [&a.requester, &a.target, &a.protocol, &a.client, &a.digest, &a.verb, &a.text, &a.context, &a.ended];
    texts_size(texts) + texts_size(&a.resources) + texts_size(&a.kinds) + values + asked + answered
}

fn requirement_size(r: &Requirement) -> usize {
    let principals: usize = r.approvers.iter().map(|principal| text_size(&principal.to_string())).sum();
    texts_size([&r.policy, &r.module, &r.reason]) + r.rule.as_deref().map_or(0, text_size) + principals
}

fn output_size(output: &Output) -> usize {
    OVERHEAD + texts_size(&output.columns) + output.rows.iter().map(|row| row_size(row)).sum::<usize>()
}

fn row_size(row: &[Option<String>]) -> usize {
    OVERHEAD + row.iter().map(|value| value_size(value.as_deref())).sum::<usize>()
}

fn text_size(text: &str) -> usize {
    OVERHEAD + text.len()
}

fn texts_size<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| text_size(text)).sum()
}

fn pairs_size(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(a, b)| text_size(a) + text_size(b)).sum()
}

fn value_size(value: Option<&str>) -> usize {
    OVERHEAD + value.map_or(0, str::len)
}

fn denial_size(denial: Option<&Denial>) -> usize {
    denial.map_or(0, |d| text_size(&d.reason) + d.policy.as_deref().map_or(0, text_size))
}

fn opinions_size(opinions: &[Opinion]) -> usize {
    opinions
        .iter()
        .map(|o| {
            let named = text_size(&o.policy) + text_size(&o.digest) + o.rule.as_deref().map_or(0, text_size);
            named + text_size(&o.said) + text_size(&o.reason)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use sluicegate_core::{
        SessionId,
        approval::{ApprovalId, ApprovalState},
        record::{Closed, CommandEntry, Outcome},
    };

    use super::*;

    fn entry(event: Event) -> Entry {
        Entry { session: SessionId(uuid::Uuid::now_v7()), at: 0, event }
    }

    fn command(values: usize) -> Entry {
        entry(Event::Command(CommandEntry {
            sequence: 1,
            verb: "query".to_owned(),
            text: "select 1".to_owned(),
            cut: false,
            resources: Vec::new(),
            parameters: u32::try_from(values).unwrap(),
            values: vec![Some("x".repeat(1024)); values],
            denial: None,
            approval: None,
            opinions: Vec::new(),
        }))
    }

    #[test]
    fn an_ordinary_entry_is_left_alone() {
        let mut small = command(3);
        let before = small.clone();
        assert!(fit(&mut small).unwrap() > 3 * 1024);
        assert_eq!(small, before);
    }

    #[test]
    fn values_are_dropped_until_the_entry_fits() {
        let mut large = command(65535);
        assert!(fit(&mut large).unwrap() as usize <= MAX_ENTRY_BYTES);
        let Event::Command(kept) = large.event else { unreachable!() };
        assert!(kept.cut && kept.parameters == 65535);
        assert!((200..256).contains(&kept.values.len()), "{}", kept.values.len());
    }

    #[test]
    fn rows_are_dropped_from_the_end_until_the_entry_fits() {
        let rows = vec![vec![Some("x".repeat(1000)), None]; 200];
        let of = |rows| Output { columns: vec!["a".to_owned(), "b".to_owned()], rows, cut: false };
        let mut large = entry(Event::Outcome(Outcome {
            sequence: 1,
            rows: 400,
            bytes: 0,
            masked: 0,
            status: "SELECT 200".to_owned(),
            failed: false,
            denial: None,
            opinions: Vec::new(),
            forwarded_at: None,
            micros: 0,
            output: vec![of(rows.clone()), of(rows)],
        }));
        assert!(fit(&mut large).unwrap() as usize <= MAX_ENTRY_BYTES);
        assert_eq!(fit(&mut large).unwrap() as usize, size_of(&large));
        let Event::Outcome(kept) = large.event else { unreachable!() };
        let [first, second] = kept.output.as_slice() else { unreachable!() };
        assert!(!first.cut && first.rows.len() == 200);
        assert!(second.cut && (1..100).contains(&second.rows.len()), "{}", second.rows.len());
    }

    #[test]
    fn an_approval_is_cut_and_keeps_who_may_answer() {
        let text = || "x".to_owned();
        let mut large = entry(Event::Held(Box::new(Approval {
            id: ApprovalId(uuid::Uuid::now_v7()),
            session: SessionId(uuid::Uuid::now_v7()),
            sequence: 1,
            requester: text(),
            target: text(),
            protocol: text(),
            client: text(),
            digest: text(),
            verb: text(),
            text: "y".repeat(16 * 1024),
            cut: false,
            hidden: false,
            context: "ö".repeat(MAX_ENTRY_BYTES),
            resources: vec![text(); 10],
            parameters: 1000,
            values: vec![Some("z".repeat(1024)); 1000],
            kinds: Vec::new(),
            in_transaction: false,
            requirements: vec![Requirement {
                policy: text(),
                module: text(),
                rule: Some(text()),
                reason: text(),
                approvers: vec!["group:dba".parse().unwrap()],
                min_approvals: 1,
                reason_required: false,
                expires_in: None,
                remember: None,
            }],
            requested_at: 0,
            expires_at: 0,
            state: ApprovalState::Pending,
            answers: Vec::new(),
            ended_at: None,
            ended: String::new(),
        })));
        let size = fit(&mut large).unwrap() as usize;
        assert_eq!(size, size_of(&large));
        let Event::Held(kept) = large.event else { unreachable!() };
        assert!(kept.cut && kept.values.is_empty() && kept.text.len() == 16 * 1024);
        assert_eq!(kept.requirements[0].approvers.len(), 1);
    }

    #[test]
    fn what_cannot_be_cut_is_an_error() {
        let reason = "x".repeat(MAX_ENTRY_BYTES);
        assert!(fit(&mut entry(Event::Closed(Closed { commands: 0, reason }))).is_err());
    }
}
