//! Joins a [`Policy`] to the contract's exports. The policy that `configure` made lives in one
//! static slot, because an instance of a component is one policy.

use std::{any::Any, cell::RefCell, marker::PhantomData};

use crate::{
    Command, Interests, Level, Plan, Policy, ResultSet, ResultVerdict, Rows, RowsVerdict, Session, Verdict,
    bindings::exports::sluicegate::policy::guest::{Description, Guest},
    host, settings,
};

thread_local! {
    static CONFIGURED: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

const NOT_CONFIGURED: &str = "the policy was asked before it was configured";

/// The exports of the policy `P`.
#[derive(Debug)]
pub struct Exported<P>(PhantomData<P>);

fn with<P: Policy, T>(ask: impl FnOnce(&mut P) -> T) -> Option<T> {
    CONFIGURED.with_borrow_mut(|slot| slot.as_mut()?.downcast_mut::<P>().map(ask))
}

/// Without this a panic is a bare trap, and its message is lost.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| host::log(Level::Error, &panic.to_string())));
}

impl<P: Policy> Guest for Exported<P> {
    fn describe() -> Description {
        Description {
            name: P::NAME.to_owned(),
            version: P::VERSION.to_owned(),
            settings_schema: P::SETTINGS_SCHEMA.to_owned(),
        }
    }

    fn configure(json: String) -> Result<Interests, String> {
        log_panics();
        let policy = P::configure(settings::parse(&json)?)?;
        let interests = policy.interests();
        CONFIGURED.set(Some(Box::new(policy)));
        Ok(interests)
    }

    fn on_session_opened(session: &Session) -> Verdict {
        with(|policy: &mut P| policy.on_session_opened(session)).unwrap_or_else(|| Verdict::block(NOT_CONFIGURED))
    }

    fn on_command(session: &Session, command: &Command) -> Verdict {
        with(|policy: &mut P| policy.on_command(session, command)).unwrap_or_else(|| Verdict::block(NOT_CONFIGURED))
    }

    fn on_result(session: &Session, command: &Command, result: &ResultSet, plan: &Plan) -> ResultVerdict {
        with(|policy: &mut P| policy.on_result(session, command, result, plan))
            .unwrap_or_else(|| ResultVerdict::block(NOT_CONFIGURED))
    }

    fn on_rows(session: &Session, result: &ResultSet, rows: &Rows) -> RowsVerdict {
        with(|policy: &mut P| policy.on_rows(session, result, rows))
            .unwrap_or_else(|| RowsVerdict::block(NOT_CONFIGURED))
    }

    fn on_session_closed(session: &Session) {
        with(|policy: &mut P| policy.on_session_closed(session));
    }
}
