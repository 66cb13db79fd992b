//! The trait that a policy implements.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{Command, Interests, Plan, ResultSet, ResultVerdict, Rows, RowsVerdict, Session, Verdict};

/// A policy.
///
/// One value serves one session, and the gateway may drop it and configure another one between any
/// two events: what must last belongs into [`host::counter_add`](crate::host::counter_add). Every
/// handler has a default that lets the event pass, and is called only for the events named in
/// [`Policy::interests`]. A panic blocks what the policy was asked about.
pub trait Policy: Sized + 'static {
    /// What the policy calls itself.
    const NAME: &'static str;

    /// Its semantic version; usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;

    /// The JSON Schema (2020-12) of its settings; usually `include_str!("../settings.schema.json")`.
    const SETTINGS_SCHEMA: &'static str = r#"{"type": "object", "additionalProperties": false}"#;

    /// Its settings. A field of a binding's settings that this type does not read is refused, with
    /// or without serde's `deny_unknown_fields`.
    type Settings: DeserializeOwned;

    /// Makes the policy from the settings of its binding. The error is one sentence for the person
    /// who wrote them.
    fn configure(settings: Self::Settings) -> Result<Self, String>;

    /// The events it wants under these settings, and whether it masks. What is not named costs
    /// nothing, so name what the settings need and no more.
    fn interests(&self) -> Interests;

    /// A session opens. To block refuses it.
    fn on_session_opened(&mut self, session: &Session) -> Verdict {
        let _ = session;
        Verdict::Allow
    }

    /// A command is about to be forwarded.
    fn on_command(&mut self, session: &Session, command: &Command) -> Verdict {
        let _ = (session, command);
        Verdict::Allow
    }

    /// A result is about to flow: says in `plan` what is masked and what [`Policy::on_rows`] gets to
    /// see, which takes [`Interests::masking`], and how many rows it may have.
    fn on_result(&mut self, session: &Session, command: &Command, result: &ResultSet, plan: &Plan) -> ResultVerdict {
        let _ = (session, command, result, plan);
        ResultVerdict::Proceed
    }

    /// Rows of a result of which at least one column is inspected.
    fn on_rows(&mut self, session: &Session, result: &ResultSet, rows: &Rows) -> RowsVerdict {
        let _ = (session, result, rows);
        RowsVerdict::Pass
    }

    /// The session is over.
    fn on_session_closed(&mut self, session: &Session) {
        let _ = session;
    }
}

/// The settings of a policy that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}
