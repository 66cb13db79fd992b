//! Brings together what the policies of a chain say about one event: the first refusal that counts,
//! everything that people have to agree to, and every opinion for the record.

use std::fmt::Write as _;

use sluicegate_core::{
    CellMask, Denial, DenialKind, MaskPlan, Requirement, ResultSchema,
    policy::{Opinion, Ruling},
};

use crate::{
    convert::Named,
    decision::Decision,
    instance::reason_text,
    link::Link,
    saying::{Asked, Saying, Source},
};

/// What has been said so far.
#[derive(Default)]
pub(crate) struct Tally {
    denial: Option<Denial>,
    requirements: Vec<Requirement>,
    opinions: Vec<Opinion>,
}

impl Tally {
    pub(crate) fn command(&mut self, link: &Link, asked: Asked<Decision>) {
        let Asked { answer, source } = asked;
        match answer {
            Ok(Decision::Allow) => self.say(link, Saying::allow(String::new()), source),
            Ok(Decision::Block(reason)) => self.block(link, reason, source),
            Ok(Decision::Suspend(requirement)) => self.suspend(link, requirement, source),
            Err(failure) => self.say(link, failure.into(), source),
        }
    }

    /// A session that is not open yet has nobody whose connection could wait.
    pub(crate) fn opening(&mut self, link: &Link, mut asked: Asked<Decision>) {
        if let Ok(Decision::Suspend(requirement)) = asked.answer {
            let reason = format!("{}; a session's opening cannot be held", requirement.reason);
            asked.answer = Ok(Decision::Block(reason));
        }
        self.command(link, asked);
    }

    fn suspend(&mut self, link: &Link, mut requirement: Requirement, source: Source) {
        if link.enforced() {
            requirement.policy = link.module_name.to_string();
            link.digest().clone_into(&mut requirement.module);
            requirement.rule.clone_from(&source.rule);
            self.say(link, Saying::suspend(requirement.reason.clone()), source);
            self.requirements.push(requirement);
        } else {
            self.say(link, Saying::suspend(requirement.reason), source);
        }
    }

    pub(crate) fn block(&mut self, link: &Link, reason: String, source: Source) {
        self.say(link, Saying { said: "block", reason, refusal: Some(DenialKind::Policy) }, source);
    }

    pub(crate) fn plan(&mut self, link: &Link, plan: &MaskPlan, schema: &ResultSchema, mut source: Source) {
        let (mut masked, mut spared) = (String::new(), String::new());
        for (planned, column) in plan.columns.iter().zip(&schema.columns) {
            if let Some(mask) = &planned.mask {
                let _ = write!(masked, "{}{}: {}", comma(&masked), column.name, Named(mask));
            }
            if planned.spare {
                let _ = write!(spared, "{}{}", comma(&spared), column.name);
            }
        }
        let mut silent = true;
        if !masked.is_empty() {
            silent = false;
            self.say(link, Saying { said: "mask", reason: reason_text(&masked), refusal: None }, source.share());
        }
        if let Some(rows) = plan.max_rows {
            silent = false;
            self.say(
                link,
                Saying { said: "limit", reason: format!("at most {rows} rows"), refusal: None },
                source.share(),
            );
        }
        if !spared.is_empty() {
            self.say(link, Saying::allow(reason_text(&format!("clear by exception: {spared}"))), source);
        } else if silent {
            self.say(link, Saying::allow(String::new()), source);
        }
    }

    /// Of each column the first mask is told: the others are most often the same.
    pub(crate) fn cells(&mut self, link: &Link, cells: &[CellMask], schema: &ResultSchema, mut source: Source) {
        let mut told: Vec<u32> = Vec::new();
        for cell in cells {
            if !told.contains(&cell.column) {
                told.push(cell.column);
                let name = schema.columns.get(cell.column as usize).map_or("", |column| &column.name);
                let reason = reason_text(&format!("values of {name}: {}", Named(&cell.mask)));
                self.say(link, Saying { said: "mask", reason, refusal: None }, source.share());
            }
        }
        if told.is_empty() {
            self.say(link, Saying::allow(String::new()), source);
        }
    }

    /// The first refusal that counts is the one that is shown.
    pub(crate) fn say(&mut self, link: &Link, saying: Saying, source: Source) {
        if saying.refusal.is_some() {
            link.voice.metrics.refused(link.enforced());
        }
        if let (Some(kind), true, None) = (saying.refusal, link.enforced(), &self.denial) {
            self.denial =
                Some(Denial { kind, policy: Some(link.module_name.to_string()), reason: saying.reason.clone() });
        }
        self.opinions.push(link.opinion(saying, source));
    }

    /// What is refused is not asked for.
    pub(crate) fn ruling(mut self) -> Ruling {
        if self.denial.is_some() {
            self.requirements.clear();
        }
        Ruling { denial: self.denial, requirements: self.requirements, opinions: self.opinions }
    }
}

fn comma(list: &str) -> &'static str {
    if list.is_empty() { "" } else { ", " }
}
