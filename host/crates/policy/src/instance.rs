//! One sandbox: one policy running for one session. Every call has a deadline and a bounded
//! memory, and an instance whose call failed must be dropped by its owner.

use std::{sync::Arc, time::Duration};

use sluicegate_core::{Batch, Command, MaskPlan, ResultSchema, Session, verdict::OutOfBounds};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline, component::Resource};

use crate::{
    contract::{
        Policy, PolicyPre,
        exports::sluicegate::policy::guest::{Description, Interests},
        sluicegate::policy::verdicts::{ResultVerdict, RowsVerdict},
    },
    deadline::Deadline,
    decision::Decision,
    runtime::{HOSTCALL_FUEL, Runtime},
    voice::{CounterError, Voice, printable},
};

/// What the host keeps for an instance, and the facts of the call it is in.
pub(crate) struct State {
    pub(crate) voice: Arc<Voice>,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) command: Option<Arc<Command>>,
    pub(crate) sequence: u64,
    pub(crate) schema: Option<Arc<ResultSchema>>,
    pub(crate) plan: MaskPlan,
    /// The rule that the policy named in this call.
    pub(crate) cited: Option<String>,
    /// Whether it read what differs from run to run, or did more than answer.
    pub(crate) varies: bool,
    /// Whether the plan may mask and inspect.
    masks: bool,
    batch: Option<(Arc<Batch>, Arc<[u32]>)>,
    memory: Memory,
    deadline: Deadline,
}

impl State {
    /// The batch of the call and the columns that this policy asked for.
    pub(crate) fn rows(&self) -> wasmtime::Result<(&Batch, &[u32])> {
        match &self.batch {
            Some((batch, asked)) => Ok((batch, asked)),
            None => Err(wasmtime::Error::msg("the policy used rows outside the call that gave them")),
        }
    }

    /// The plan of the call, for a policy that may hide values.
    pub(crate) fn masking_plan(&mut self) -> wasmtime::Result<&mut MaskPlan> {
        if self.masks { Ok(&mut self.plan) } else { Err(wasmtime::Error::new(Undeclared)) }
    }
}

/// Why a policy gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("it took longer than {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("it needs more than the {} MiB of memory that it may use", .0 >> 20)]
    Memory(usize),
    #[error("it asked for something that it may not have: {0}")]
    Refused(String),
    #[error("it crashed: {0}")]
    Trap(String),
    #[error("it refused its settings: {}", .0.strip_prefix("settings: ").unwrap_or(.0))]
    Settings(String),
    #[error("it answered nonsense: {0}")]
    Nonsense(String),
}

/// One command and its number in the session.
#[derive(Clone)]
pub(crate) struct Numbered {
    pub(crate) sequence: u64,
    pub(crate) command: Arc<Command>,
}

/// A running policy.
pub(crate) struct Instance {
    store: Store<State>,
    policy: Policy,
}

impl Instance {
    /// Starts a policy. It is not configured yet.
    pub(crate) fn start(runtime: &Runtime, pre: &PolicyPre<State>, voice: Arc<Voice>) -> Result<Self, CallError> {
        let state = State {
            voice,
            session: None,
            command: None,
            sequence: 0,
            schema: None,
            plan: MaskPlan::default(),
            cited: None,
            varies: false,
            masks: false,
            batch: None,
            memory: Memory { used: 0, limit: runtime.memory },
            deadline: Deadline::new(runtime.deadline),
        };
        let mut store = Store::new(&runtime.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        store.epoch_deadline_callback(|mut store| match store.data_mut().deadline.expired() {
            Some(ticks) => Ok(UpdateDeadline::Continue(ticks)),
            None => Err(wasmtime::Error::new(TooLate)),
        });
        begin(&mut store);
        let policy = pre.instantiate(&mut store).map_err(|error| explain(&error, runtime.deadline))?;
        Ok(Self { store, policy })
    }

    /// What the policy says about itself.
    pub(crate) fn describe(&mut self) -> Result<Description, CallError> {
        self.call(|policy, store| policy.sluicegate_policy_guest().call_describe(store))
    }

    /// Hands over the binding's settings. The answer is what interests the policy under them.
    pub(crate) fn configure(&mut self, settings: &str) -> Result<Interests, CallError> {
        self.call(|policy, store| policy.sluicegate_policy_guest().call_configure(store, settings))?
            .map_err(|reason| CallError::Settings(reason_text(&reason)))
    }

    /// The rule that the policy named in its last call.
    pub(crate) fn take_cited(&mut self) -> Option<String> {
        self.store.data_mut().cited.take()
    }

    /// Whether the last call's answer holds for that run alone.
    pub(crate) fn varies(&self) -> bool {
        self.store.data().varies
    }

    /// Whether plans may mask and inspect; at first they may not.
    pub(crate) fn let_mask(&mut self, masks: bool) {
        self.store.data_mut().masks = masks;
    }

    /// The session for all later events.
    pub(crate) fn serve(&mut self, session: Arc<Session>) {
        self.store.data_mut().session = Some(session);
    }

    pub(crate) fn session_opened(&mut self) -> Result<Decision, CallError> {
        self.call(|policy, store| policy.sluicegate_policy_guest().call_on_session_opened(store, handle()))?.try_into()
    }

    pub(crate) fn session_closed(&mut self) -> Result<(), CallError> {
        self.call(|policy, store| policy.sluicegate_policy_guest().call_on_session_closed(store, handle()))
    }

    pub(crate) fn command(&mut self, command: &Numbered) -> Result<Decision, CallError> {
        self.about(command);
        let answer =
            self.call(|policy, store| policy.sluicegate_policy_guest().call_on_command(store, handle(), handle()));
        self.forget();
        answer?.try_into()
    }

    /// Asks about a result. The plan is what the policy filled in.
    pub(crate) fn result(
        &mut self,
        command: &Numbered,
        schema: &Arc<ResultSchema>,
    ) -> Result<(ResultVerdict, MaskPlan), CallError> {
        self.about(command);
        self.store.data_mut().schema = Some(Arc::clone(schema));
        let answer = self.call(|policy, store| {
            policy.sluicegate_policy_guest().call_on_result(store, handle(), handle(), handle(), handle())
        });
        let plan = std::mem::take(&mut self.store.data_mut().plan);
        self.forget();
        Ok((answer?, plan))
    }

    /// Asks about a batch, of which the policy sees the columns that it asked for.
    pub(crate) fn rows(
        &mut self,
        schema: &Arc<ResultSchema>,
        batch: &Arc<Batch>,
        asked: &Arc<[u32]>,
    ) -> Result<RowsVerdict, CallError> {
        let state = self.store.data_mut();
        state.schema = Some(Arc::clone(schema));
        state.batch = Some((Arc::clone(batch), Arc::clone(asked)));
        let answer = self
            .call(|policy, store| policy.sluicegate_policy_guest().call_on_rows(store, handle(), handle(), handle()));
        self.forget();
        answer
    }

    fn about(&mut self, command: &Numbered) {
        let state = self.store.data_mut();
        state.sequence = command.sequence;
        state.command = Some(Arc::clone(&command.command));
    }

    fn forget(&mut self) {
        let state = self.store.data_mut();
        state.command = None;
        state.schema = None;
        state.batch = None;
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&Policy, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        let state = self.store.data_mut();
        (state.cited, state.varies) = (None, false);
        begin(&mut self.store);
        call(&self.policy, &mut self.store).map_err(|error| explain(&error, self.store.data().deadline.limit()))
    }
}

fn begin(store: &mut Store<State>) {
    let ticks = store.data_mut().deadline.begin();
    store.set_epoch_deadline(ticks);
}

#[derive(Debug, thiserror::Error)]
#[error("the policy outlived its deadline")]
struct TooLate;

/// The record keeps literals and error texts pass where no policy says that it masks.
#[derive(Debug, thiserror::Error)]
#[error("it masks, inspects or spares a column, and the interests that it answered to `configure` do not say `masks`")]
struct Undeclared;

/// Handles carry nothing: the facts are in the state, and a borrow ends with its call.
fn handle<T: 'static>() -> Resource<T> {
    Resource::new_borrow(0)
}

/// A policy's own words, fit to be shown: one line of at most 1 KiB.
pub(crate) fn reason_text(reason: &str) -> String {
    let (kept, _) = sluicegate_core::record::cut(reason, 1024);
    let text = printable(&kept);
    let text = text.trim();
    if text.is_empty() { "it gave no reason".to_owned() } else { text.to_owned() }
}

fn explain(error: &wasmtime::Error, deadline: Duration) -> CallError {
    tracing::debug!(target: "policy", ?error, "a policy's call failed");
    if error.downcast_ref::<TooLate>().is_some() {
        return CallError::Deadline(deadline);
    }
    if let Some(Exceeded(limit)) = error.downcast_ref::<Exceeded>() {
        return CallError::Memory(*limit);
    }
    if let Some(error) = error.downcast_ref::<OutOfBounds>() {
        return CallError::Nonsense(error.to_string());
    }
    if let Some(error) = error.downcast_ref::<CounterError>() {
        return CallError::Refused(error.to_string());
    }
    if let Some(error) = error.downcast_ref::<Undeclared>() {
        return CallError::Refused(error.to_string());
    }
    CallError::Trap(reason_text(&error.root_cause().to_string()))
}

/// Counts what all memories of an instance hold together.
struct Memory {
    used: usize,
    limit: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the policy needs more than {0} bytes of memory")]
struct Exceeded(usize);

/// Entries that one table may have: runtimes of other languages need some ten thousand.
const MAX_TABLE: usize = 200_000;

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            return Err(wasmtime::Error::new(Exceeded(self.limit)));
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE)
    }
}
