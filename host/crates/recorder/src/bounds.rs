//! How large an entry is, and how large it may be. A command may bind tens of thousands of
//! parameters; the record keeps as many of them as fit.

use sluicegate_core::{
    Approval, Denial, Requirement,
    policy::Opinion,
    record::{Entry, Event, Output, RecordError},
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
    if size > MAX_ENTRY_BYTES
        && let Event::Command(command) = &mut entry.event
    {
        while size > MAX_ENTRY_BYTES
            && let Some(value) = command.values.pop()
        {
            size -= value_size(value.as_deref());
            command.cut = true;
        }
        while size > MAX_ENTRY_BYTES
            && let Some(resource) = command.resources.pop()
        {
            size -= text_size(&resource);
            command.cut = true;
        }
    }
    match u32::try_from(size) {
        Ok(fits) if size <= MAX_ENTRY_BYTES => Ok(fits),
        _ => Err(RecordError(format!("an entry has {size} bytes, and at most {MAX_ENTRY_BYTES} are kept"))),
    }
}

fn size_of(entry: &Entry) -> usize {
    let event = match &entry.event {
        Event::Opened(o) => {
            let texts = [&o.user, &o.target, &o.protocol, &o.client, &o.authentication, &o.application];
            texts_size(texts) + texts_size(&o.groups) + pairs_size(&o.policies) + opinions_size(&o.opinions)
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
    texts_size(&output.columns) + output.rows.iter().map(|row| row_size(row)).sum::<usize>()
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
        .map(|o| texts_size([&o.policy, &o.digest, &o.said, &o.reason]) + o.rule.as_deref().map_or(0, text_size))
        .sum()
}

#[cfg(test)]
mod tests {
    use sluicegate_core::{
        SessionId,
        record::{Closed, CommandEntry},
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
    fn what_cannot_be_cut_is_an_error() {
        let reason = "x".repeat(MAX_ENTRY_BYTES);
        assert!(fit(&mut entry(Event::Closed(Closed { commands: 0, reason }))).is_err());
    }
}
