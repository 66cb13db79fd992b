//! The contract as Rust: what `bindgen!` makes of `wit/policy.wit`. Resources are plain markers:
//! an event's facts live in the instance's state, and a handle only says that the guest holds one.

#![allow(missing_docs, reason = "generated from wit/policy.wit, which documents every item")]

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "policy",
    imports: { default: trappable },
    with: {
        "sluicegate:policy/sessions.session": crate::contract::SessionHandle,
        "sluicegate:policy/commands.command": crate::contract::CommandHandle,
        "sluicegate:policy/results.result-set": crate::contract::ResultHandle,
        "sluicegate:policy/results.plan": crate::contract::PlanHandle,
        "sluicegate:policy/results.rows": crate::contract::RowsHandle,
    },
});

/// The session of the call.
pub struct SessionHandle;
/// The command of the call.
pub struct CommandHandle;
/// The result of the call.
pub struct ResultHandle;
/// The plan that the call fills.
pub struct PlanHandle;
/// The batch of the call.
pub struct RowsHandle;
