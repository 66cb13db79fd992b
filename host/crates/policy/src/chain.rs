//! The policies of one target in their order, and one session's instances of them. Every interested
//! policy is asked; the strictest answer holds, and masks accumulate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluicegate_core::{
    Batch, CellMask, Command, MaskPlan, ResultSchema, Session,
    policy::{ResultRuling, RowsRuling, Ruling},
};
use sluicegate_metrics::PolicyEvent;

use crate::{
    contract::sluicegate::policy::verdicts::{ResultVerdict, RowsVerdict},
    convert,
    instance::{CallError, Instance, Numbered, reason_text},
    link::Link,
    memory::{KnownResult, Memory},
    runtime::Runtime,
    saying::Asked,
    tally::Tally,
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
    memory: Mutex<Memory>,
}

/// The columns of a result that one binding asked to see.
pub(crate) struct Inspection {
    link: usize,
    columns: Arc<[u32]>,
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
        Self { chain, runtime, session, instances, memory: Mutex::default() }
    }

    /// Tells the session's opening to the policies that want it and that `before` did not have.
    pub(crate) fn opened(&self, before: Option<&Chain>) -> Ruling {
        let known = |link: &Arc<Link>| before.is_some_and(|b| b.links.iter().any(|other| Arc::ptr_eq(link, other)));
        let mut tally = Tally::default();
        for (index, link) in self.interested(|link| link.matcher.opened && !known(link)) {
            tally.opening(link, self.ask(PolicyEvent::Opened, index, link, Instance::session_opened));
        }
        tally.ruling()
    }

    pub(crate) fn closed(&self) {
        for (index, link) in self.interested(|link| link.matcher.closed) {
            // There is nothing left to refuse; a failure is in the log.
            let _ = self.ask(PolicyEvent::Closed, index, link, Instance::session_closed);
        }
    }

    /// Drops the instances; the next event starts them again.
    pub(crate) fn rest(&self) {
        locked(&self.instances).fill_with(|| None);
    }

    pub(crate) fn command(&self, command: &Numbered) -> Ruling {
        if let Some(ruling) = self.remembered(|memory| memory.ruling(&command.command)) {
            self.count_refusals(&ruling);
            return ruling;
        }
        let mut tally = Tally::default();
        let mut varies = false;
        for (index, link) in self.interested(|link| link.matcher.command && link.matcher.covers(&command.command)) {
            let asked = self.ask(PolicyEvent::Command, index, link, |instance| instance.command(command));
            varies |= asked.source.varies;
            tally.command(link, asked);
        }
        let ruling = tally.ruling();
        if !varies {
            locked(&self.memory).keep_ruling(&command.command, &ruling);
        }
        ruling
    }

    /// The ruling on a result, and which bindings its rows must be shown to.
    pub(crate) fn result(&self, command: &Numbered, schema: &Arc<ResultSchema>) -> (ResultRuling, Arc<[Inspection]>) {
        if let Some(known) = self.remembered(|memory| memory.result(&command.command, schema)) {
            let KnownResult { ruling, inspections, .. } = known;
            return (ruling, inspections);
        }
        let mut tally = Tally::default();
        let mut varies = false;
        let mut plan = MaskPlan::default();
        let mut inspections: Vec<Inspection> = Vec::new();
        for (index, link) in self.interested(|link| link.matcher.result && link.matcher.covers(&command.command)) {
            let Asked { answer, source } =
                self.ask(PolicyEvent::Result, index, link, |instance| instance.result(command, schema));
            varies |= source.varies;
            match answer {
                Ok((ResultVerdict::Proceed, planned)) => {
                    tally.plan(link, &planned, schema, source);
                    inspections.extend(inspection(index, &planned));
                    plan.merge(if link.enforced() { planned } else { only_inspecting(planned) });
                }
                Ok((ResultVerdict::Block(reason), _)) => tally.block(link, reason_text(&reason), source),
                Err(failure) => tally.say(link, failure.into(), source),
            }
        }
        let Ruling { denial, opinions, .. } = tally.ruling();
        let (ruling, inspections) = (ResultRuling { denial, plan, opinions }, inspections.into());
        if !varies {
            locked(&self.memory).keep_result(&command.command, schema, &ruling, &inspections);
        }
        (ruling, inspections)
    }

    /// What is remembered is refused by nobody but those who only watch; they are counted as often as they
    /// would have.
    fn count_refusals(&self, ruling: &Ruling) {
        for opinion in ruling.opinions.iter().filter(|opinion| opinion.said == "block") {
            let is = |link: &&Arc<Link>| link.module_name == opinion.policy && link.mode == opinion.mode;
            if let Some(link) = self.chain.links.iter().find(is) {
                link.voice.metrics.refused(link.enforced());
            }
        }
    }

    /// What is known from before. A policy that is quarantined has to work again before it is believed.
    fn remembered<T>(&self, look: impl FnOnce(&Memory) -> Option<T>) -> Option<T> {
        let quarantined = self.chain.links.iter().any(|link| link.quarantine.remaining().is_some());
        if quarantined { None } else { look(&locked(&self.memory)) }
    }

    pub(crate) fn rows(
        &self,
        schema: &Arc<ResultSchema>,
        batch: &Arc<Batch>,
        inspections: &[Inspection],
    ) -> RowsRuling {
        let mut tally = Tally::default();
        let mut cells = Vec::new();
        for inspection in inspections {
            let Some(link) = self.chain.links.get(inspection.link) else { continue };
            let columns = Arc::clone(&inspection.columns);
            let Asked { answer, source } = self.ask(PolicyEvent::Rows, inspection.link, link, |instance| {
                let verdict = instance.rows(schema, batch, &columns)?;
                sensible(verdict, batch, &columns)
            });
            match answer {
                Ok(Shown::Cells(masked)) => {
                    tally.cells(link, &masked, schema, source);
                    if link.enforced() {
                        cells.extend(masked);
                    }
                }
                Ok(Shown::Block(reason)) => tally.block(link, reason_text(&reason), source),
                Err(failure) => tally.say(link, failure.into(), source),
            }
        }
        let Ruling { denial, opinions, .. } = tally.ruling();
        RowsRuling { denial, cells, opinions }
    }

    fn interested(&self, wants: impl Fn(&Arc<Link>) -> bool) -> impl Iterator<Item = (usize, &Arc<Link>)> {
        self.chain.links.iter().enumerate().filter(move |(_, link)| wants(link))
    }

    fn ask<T>(
        &self,
        about: PolicyEvent,
        index: usize,
        link: &Link,
        event: impl FnOnce(&mut Instance) -> Result<T, CallError>,
    ) -> Asked<T> {
        let mut instances = locked(&self.instances);
        match instances.get_mut(index) {
            Some(slot) => {
                link.ask(about, &self.runtime, slot, |instance| instance.serve(Arc::clone(&self.session)), event)
            }
            None => Asked::failed("the policy has no place in this session".to_owned()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inspection(link: usize, plan: &MaskPlan) -> Option<Inspection> {
    let columns = plan.columns.iter().enumerate().filter(|(_, column)| column.inspect);
    let columns: Arc<[u32]> = columns.filter_map(|(index, _)| u32::try_from(index).ok()).collect();
    if columns.is_empty() { None } else { Some(Inspection { link, columns }) }
}

/// A monitored policy sees what it asked to see, so that it can say what it would have masked.
fn only_inspecting(mut plan: MaskPlan) -> MaskPlan {
    if !plan.inspects() {
        return MaskPlan::default();
    }
    plan.max_rows = None;
    for column in &mut plan.columns {
        (column.mask, column.spare) = (None, false);
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
