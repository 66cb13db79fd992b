//! The port behind which policies run. The gate asks, an engine answers; neither sees the other's
//! insides. Every method returns a ruling: an engine has no way to fail except to block.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    admission::Session,
    approval::Requirement,
    command::Command,
    denial::{Denial, DenialKind},
    result::{Batch, ResultSchema},
    verdict::{CellMask, MaskPlan},
};

/// Whether a binding's verdicts are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decides.
    #[default]
    Enforce,
    /// Decides and records, and changes nothing.
    Monitor,
}

/// One policy bound to one target.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The module's name: `pii-mask` is `pii-mask.wasm` in the policies folder.
    pub module: String,
    /// Enforce or monitor.
    #[serde(default)]
    pub mode: Mode,
    /// What `configure` receives.
    #[serde(default = "no_settings")]
    pub settings: serde_json::Value,
}

fn no_settings() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// How much of what one policy says about the results of one command is kept.
pub const MAX_SAYINGS: usize = 32;

/// What one policy said, for the record. Every policy that was asked is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Opinion {
    /// The module's name.
    #[schema(value_type = String)]
    pub policy: Arc<str>,
    /// The module's SHA-256, in hexadecimal; empty where no module could be loaded.
    #[schema(value_type = String)]
    pub digest: Arc<str>,
    /// Whether it counted.
    pub mode: Mode,
    /// `allow`, `block`, `suspend`, `mask`, `limit`.
    #[schema(value_type = String)]
    pub said: Cow<'static, str>,
    /// Its reason, or what it masked.
    pub reason: String,
    /// The rule that it named; none where it named none.
    pub rule: Option<String>,
    /// How long it took, in microseconds; repeated sayings are added up.
    #[serde(default)]
    pub micros: u32,
}

impl Opinion {
    /// Adds another saying to those of the same command, where it is not one of them already. Of one
    /// policy at most [`MAX_SAYINGS`] are kept: a policy may say something else about every batch of rows.
    /// Beyond them only the time is added, to the last.
    pub fn note(self, into: &mut Vec<Self>) {
        let policy =
            |known: &Self| (&known.policy, &known.digest, known.mode) == (&self.policy, &self.digest, self.mode);
        let saying = |known: &Self| (&known.said, &known.reason, &known.rule) == (&self.said, &self.reason, &self.rule);
        let full = into.iter().filter(|known| policy(known)).count() >= MAX_SAYINGS;
        let place = into
            .iter()
            .position(|known| policy(known) && saying(known))
            .or_else(|| into.iter().rposition(policy).filter(|_| full));
        match place.and_then(|place| into.get_mut(place)) {
            Some(known) => known.micros = known.micros.saturating_add(self.micros),
            None => into.push(self),
        }
    }
}

/// What the chain decided about a session or a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruling {
    /// `Some` refuses it.
    pub denial: Option<Denial>,
    /// What people have to agree to before it runs; nothing is asked where it is refused. Sessions
    /// themselves cannot wait: an engine refuses their opening instead.
    pub requirements: Vec<Requirement>,
    /// What the policies said.
    pub opinions: Vec<Opinion>,
}

/// What the chain decided about a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultRuling {
    /// `Some` refuses it.
    pub denial: Option<Denial>,
    /// What happens to it otherwise.
    pub plan: MaskPlan,
    /// What the policies said.
    pub opinions: Vec<Opinion>,
}

/// What the chain decided about a batch of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowsRuling {
    /// `Some` refuses the rest of the result.
    pub denial: Option<Denial>,
    /// The values to mask, in any order; a value may be named twice.
    pub cells: Vec<CellMask>,
    /// What the policies said.
    pub opinions: Vec<Opinion>,
}

/// Runs policies.
pub trait PolicyEngine: Send + Sync {
    /// The policies of one session. Instances start with its first event.
    fn open(&self, session: Arc<Session>) -> Box<dyn PolicySession>;
}

/// The policies of one session. Calls are synchronous and bounded by the engine's deadline.
pub trait PolicySession: Send {
    /// Whether a policy that is enforced for this session may mask results. Then the record keeps
    /// no literals, and error texts of the target are scrubbed.
    fn may_mask(&self) -> bool;
    /// Whether an enforced policy is asked about every command of the session. Then what none of them
    /// refuses was allowed by a policy, and not merely by nobody's interest.
    fn decides_commands(&self) -> bool;
    /// Differs from before when other modules may govern the session. Cheap.
    fn generation(&self) -> u64;
    /// Whether the next decision may be by other modules than the last one. Cheap.
    fn is_outdated(&self) -> bool;
    /// The digests of the modules that now govern the session, as `(module, digest)`.
    fn governing(&self) -> Vec<(String, String)>;
    /// The session opened.
    fn opened(&mut self) -> Ruling;
    /// A command arrives. It is decided by the newest generation, and so is its result.
    fn command(&mut self, sequence: u64, command: &Arc<Command>) -> (Ruling, Box<dyn Flight>);
    /// Nothing is expected of the session for now: what an engine can make again, it may drop.
    fn rest(&mut self) {}
    /// The session closed.
    fn closed(&mut self);
}

/// The policies that decided one command, kept for its results whatever is reloaded meanwhile.
pub trait Flight: Send {
    /// Whether any policy, enforced or not, is asked about the command's results. If none is,
    /// neither `result` nor `rows` need be called.
    fn sees_results(&self) -> bool;
    /// A result is about to flow. Called once for each result of the command.
    fn result(&mut self, schema: &Arc<ResultSchema>) -> ResultRuling;
    /// A batch of rows of the last result. Called only if its plan inspects. Nothing of it is kept, so that
    /// its memory may serve again.
    fn rows(&mut self, batch: &Arc<Batch>) -> RowsRuling;
}

impl Ruling {
    /// A ruling that refuses because policies failed.
    pub fn failed(policy: &str, reason: impl Into<String>) -> Self {
        let denial = Denial { kind: DenialKind::PolicyFailure, policy: Some(policy.to_owned()), reason: reason.into() };
        Self { denial: Some(denial), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(policy: &str, reason: &str) -> Opinion {
        let (policy, reason) = (policy.into(), reason.to_owned());
        let (digest, mode, said, rule) = ("".into(), Mode::Enforce, "mask".into(), None);
        Opinion { policy, digest, mode, said, reason, rule, micros: 1 }
    }

    #[test]
    fn repeated_sayings_are_kept_once_with_their_time() {
        let mut noted = Vec::new();
        for (policy, reason) in [("a", "x"), ("b", "x"), ("a", "x"), ("a", "y"), ("a", "x")] {
            opinion(policy, reason).note(&mut noted);
        }
        let times: Vec<_> = noted.iter().map(|o| (&*o.policy, o.reason.as_str(), o.micros)).collect();
        assert_eq!(times, [("a", "x", 3), ("b", "x", 1), ("a", "y", 1)]);
    }

    #[test]
    fn a_policy_that_always_says_something_else_is_cut_short() {
        let mut noted = Vec::new();
        for n in 0..1000 {
            opinion("a", &n.to_string()).note(&mut noted);
        }
        opinion("b", "x").note(&mut noted);
        assert_eq!(noted.len(), MAX_SAYINGS + 1);
        assert_eq!(noted.iter().map(|o| o.micros).sum::<u32>(), 1001);
    }
}
