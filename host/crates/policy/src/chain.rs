//! The policies of one target in their order, and one session's instances of them. Every interested
//! policy is asked; the strictest answer holds, and masks accumulate.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sluicegate_core::{
    Batch, CellMask, Command, Denial, DenialKind, MaskPlan, ResultSchema, Session,
    policy::{Opinion, ResultRuling, RowsRuling, Ruling},
};

use crate::{
    contract::sluicegate::policy::verdicts::{ResultVerdict, RowsVerdict, Verdict},
    convert::{self, Named},
    instance::{CallError, Instance, Numbered, reason_text},
    link::{Link, Saying},
    runtime::Runtime,
};

/// The bindings of one target.
pub(crate) struct Chain {
    pub(crate) protocol: String,
    pub(crate) links: Vec<Arc<Link>>,
}

/// A chain and one session's instances of its policies, which start when they are first asked.
pub(crate) struct SessionChain {
    pub(crate) chain: Arc<Chain>,
    runtime: Arc<Runtime>,
    session: Arc<Session>,
    instances: Mutex<Vec<Option<Instance>>>,
}

/// The columns of a result that one binding asked to see.
pub(crate) struct Inspection {
    link: usize,
    columns: Arc<[u32]>,
    /// Columns whose masking has been said once already.
    noted: Vec<u32>,
}

impl Chain {
    /// Whether an enforced policy may hide values.
    pub(crate) fn may_mask(&self) -> bool {
        self.links.iter().any(|link| link.enforced() && link.matcher.masks)
    }

    /// Whether an enforced policy is asked about commands.
    pub(crate) fn decides_commands(&self) -> bool {
        self.links.iter().any(|link| link.enforced() && link.matcher.command)
    }

    /// Whether any policy, enforced or not, is asked about results of this command.
    pub(crate) fn sees_results(&self, command: &Command) -> bool {
        self.links.iter().any(|link| link.matcher.result && link.matcher.covers(command))
    }
}

impl SessionChain {
    pub(crate) fn new(chain: Arc<Chain>, runtime: Arc<Runtime>, session: Arc<Session>) -> Self {
        let instances = Mutex::new(chain.links.iter().map(|_| None).collect());
        Self { chain, runtime, session, instances }
    }

    /// Tells the session's opening to the policies that want it and that `before` did not have.
    pub(crate) fn opened(&self, before: Option<&Chain>) -> Ruling {
        let known = |link: &Arc<Link>| before.is_some_and(|b| b.links.iter().any(|other| Arc::ptr_eq(link, other)));
        let mut tally = Tally::default();
        for (index, link) in self.interested(|link| link.matcher.opened && !known(link)) {
            tally.verdict(link, self.ask(index, link, Instance::session_opened));
        }
        tally.ruling()
    }

    pub(crate) fn closed(&self) {
        for (index, link) in self.interested(|link| link.matcher.closed) {
            // There is nothing left to refuse; a failure is in the log.
            let _ = self.ask(index, link, Instance::session_closed);
        }
    }

    pub(crate) fn command(&self, command: &Numbered) -> Ruling {
        let mut tally = Tally::default();
        for (index, link) in self.interested(|link| link.matcher.command && link.matcher.covers(&command.command)) {
            tally.verdict(link, self.ask(index, link, |instance| instance.command(command)));
        }
        tally.ruling()
    }

    /// The ruling on a result, and which bindings its rows must be shown to.
    pub(crate) fn result(&self, command: &Numbered, schema: &Arc<ResultSchema>) -> (ResultRuling, Vec<Inspection>) {
        let mut tally = Tally::default();
        let mut plan = MaskPlan::default();
        let mut inspections = Vec::new();
        for (index, link) in self.interested(|link| link.matcher.result && link.matcher.covers(&command.command)) {
            match self.ask(index, link, |instance| instance.result(command, schema)) {
                Ok((ResultVerdict::Proceed, asked)) => {
                    tally.plan(link, &asked, schema);
                    inspections.extend(inspection(index, &asked));
                    plan.merge(if link.enforced() { asked } else { only_inspecting(asked) });
                }
                Ok((ResultVerdict::Block(reason), _)) => tally.block(link, &reason),
                Err(saying) => tally.say(link, saying),
            }
        }
        let Ruling { denial, opinions } = tally.ruling();
        (ResultRuling { denial, plan, opinions }, inspections)
    }

    pub(crate) fn rows(
        &self,
        schema: &Arc<ResultSchema>,
        batch: &Arc<Batch>,
        inspections: &mut [Inspection],
    ) -> RowsRuling {
        let mut tally = Tally::default();
        let mut cells = Vec::new();
        for inspection in inspections {
            let Some(link) = self.chain.links.get(inspection.link) else { continue };
            let columns = Arc::clone(&inspection.columns);
            let answer = self.ask(inspection.link, link, |instance| {
                let verdict = instance.rows(schema, batch, &columns)?;
                sensible(verdict, batch, &columns)
            });
            match answer {
                Ok(Shown::Cells(masked)) => {
                    tally.cells(link, &masked, inspection, schema);
                    if link.enforced() {
                        cells.extend(masked);
                    }
                }
                Ok(Shown::Block(reason)) => tally.block(link, &reason),
                Err(saying) => tally.say(link, saying),
            }
        }
        let Ruling { denial, opinions } = tally.ruling();
        RowsRuling { denial, cells, opinions }
    }

    fn interested(&self, wants: impl Fn(&Arc<Link>) -> bool) -> impl Iterator<Item = (usize, &Arc<Link>)> {
        self.chain.links.iter().enumerate().filter(move |(_, link)| wants(link))
    }

    fn ask<T>(
        &self,
        index: usize,
        link: &Link,
        event: impl FnOnce(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, Saying> {
        let mut instances = self.instances();
        let Some(slot) = instances.get_mut(index) else {
            return Err(Saying { said: "block", reason: String::new(), refusal: Some(DenialKind::PolicyFailure) });
        };
        link.ask(&self.runtime, slot, |instance| instance.serve(Arc::clone(&self.session)), event).map_err(Saying::from)
    }

    fn instances(&self) -> MutexGuard<'_, Vec<Option<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has been said so far.
#[derive(Default)]
struct Tally {
    denial: Option<Denial>,
    opinions: Vec<Opinion>,
}

impl Tally {
    fn verdict(&mut self, link: &Link, answer: Result<Verdict, Saying>) {
        match answer {
            Ok(Verdict::Allow) => {}
            Ok(Verdict::Block(reason)) => self.block(link, &reason),
            Ok(Verdict::Suspend(approval)) => {
                let who = reason_text(&approval.approvers.join(", "));
                let reason = reason_text(&approval.reason);
                let reason = format!("{reason} (needs approval by {who}, and this gateway cannot hold commands yet)");
                self.block(link, &reason);
            }
            Err(saying) => self.say(link, saying),
        }
    }

    fn block(&mut self, link: &Link, reason: &str) {
        let reason = reason_text(reason);
        self.say(link, Saying { said: "block", reason, refusal: Some(DenialKind::Policy) });
    }

    fn plan(&mut self, link: &Link, plan: &MaskPlan, schema: &ResultSchema) {
        let mut masked = String::new();
        for (planned, column) in plan.columns.iter().zip(&schema.columns) {
            if let Some(mask) = &planned.mask {
                let comma = if masked.is_empty() { "" } else { ", " };
                let _ = write!(masked, "{comma}{}: {}", column.name, Named(mask));
            }
        }
        if !masked.is_empty() {
            self.say(link, Saying { said: "mask", reason: reason_text(&masked), refusal: None });
        }
        if let Some(rows) = plan.max_rows {
            self.say(link, Saying { said: "limit", reason: format!("at most {rows} rows"), refusal: None });
        }
    }

    fn cells(&mut self, link: &Link, cells: &[CellMask], inspection: &mut Inspection, schema: &ResultSchema) {
        for cell in cells {
            if inspection.noted.contains(&cell.column) {
                continue;
            }
            inspection.noted.push(cell.column);
            let name = schema.columns.get(cell.column as usize).map_or("", |column| &column.name);
            let reason = reason_text(&format!("values of {name}: {}", Named(&cell.mask)));
            self.say(link, Saying { said: "mask", reason, refusal: None });
        }
    }

    /// The first refusal that counts is the one that is shown.
    fn say(&mut self, link: &Link, saying: Saying) {
        self.opinions.push(link.opinion(&saying));
        if let (Some(kind), true, None) = (saying.refusal, link.enforced(), &self.denial) {
            self.denial = Some(Denial { kind, policy: Some(link.module_name.clone()), reason: saying.reason });
        }
    }

    fn ruling(self) -> Ruling {
        Ruling { denial: self.denial, opinions: self.opinions }
    }
}

fn inspection(link: usize, plan: &MaskPlan) -> Option<Inspection> {
    let columns = plan.columns.iter().enumerate().filter(|(_, column)| column.inspect);
    let columns: Arc<[u32]> = columns.filter_map(|(index, _)| u32::try_from(index).ok()).collect();
    if columns.is_empty() { None } else { Some(Inspection { link, columns, noted: Vec::new() }) }
}

/// A monitored policy sees what it asked to see, so that it can say what it would have masked.
fn only_inspecting(mut plan: MaskPlan) -> MaskPlan {
    if !plan.inspects() {
        return MaskPlan::default();
    }
    plan.max_rows = None;
    for column in &mut plan.columns {
        column.mask = None;
    }
    plan
}

enum Shown {
    Cells(Vec<CellMask>),
    Block(String),
}

/// A value that the policy was not shown cannot be one that it wants masked.
fn sensible(verdict: RowsVerdict, batch: &Batch, columns: &[u32]) -> Result<Shown, CallError> {
    let cells = match verdict {
        RowsVerdict::Pass => Vec::new(),
        RowsVerdict::Block(reason) => return Ok(Shown::Block(reason)),
        RowsVerdict::Mask(cells) => cells,
    };
    let mut masked = Vec::with_capacity(cells.len());
    for cell in cells {
        if cell.row >= batch.rows || !columns.contains(&cell.column) {
            let reason = format!("it masked row {} of column {}, which it was not shown", cell.row, cell.column);
            return Err(CallError::Nonsense(reason));
        }
        masked.push(CellMask { row: cell.row, column: cell.column, mask: convert::mask(cell.mask) });
    }
    Ok(Shown::Cells(masked))
}
