//! Which approval or session is meant: its id, or the end of the id of one that waits or is recent. Ids
//! begin with the time, so those that belong together have the same beginning.

use std::{fmt::Display, str::FromStr};

use anyhow::bail;
use sluicegate_core::{ApprovalId, ApprovalState, SessionId, sessions::ApprovalFilter};

use super::{approvals, sessions::newest, source::Source};
use crate::config::MAX_PENDING;

/// The fewest characters of an id that may stand for it.
const MIN_END: usize = 4;

/// What the command line says: a whole id or the end of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant<I> {
    /// The whole id.
    Id(I),
    /// The end of one, in lower case.
    End(String),
}

impl<I: FromStr> FromStr for Meant<I> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_start_matches(['.', '…']).to_ascii_lowercase();
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let like_an_id = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if like_an_id && (MIN_END..36).contains(&text.len()) {
            return Ok(Self::End(text));
        }
        Err(format!("write the id as listings show it, or at least its last {MIN_END} characters"))
    }
}

impl Meant<ApprovalId> {
    /// Finds the approval's id. An end is looked for among those that wait and may be seen.
    pub async fn find(&self, source: &mut Source) -> anyhow::Result<ApprovalId> {
        let end = match self {
            Self::Id(id) => return Ok(*id),
            Self::End(end) => end,
        };
        let filter = ApprovalFilter { state: Some(ApprovalState::Pending), ..ApprovalFilter::default() };
        let pending = approvals::find(source, filter, MAX_PENDING).await?;
        let none = "`sluicegate approvals list` shows those that wait, and one that has ended is found by its whole id";
        only("pending approval", end, pending.items.iter().map(|approval| approval.id), none)
    }
}

impl Meant<SessionId> {
    /// Finds the session's id. An end is looked for among the newest.
    pub async fn find(&self, source: &mut Source) -> anyhow::Result<SessionId> {
        let end = match self {
            Self::Id(id) => return Ok(*id),
            Self::End(end) => end,
        };
        let recent = Box::pin(newest(source, None)).await?;
        let none = "`sluicegate sessions list` shows those there are, and an old one is found by its whole id";
        only("recent session", end, recent.iter().map(|session| session.id), none)
    }
}

/// The only id with that end; `none` is what to do where there is none.
fn only<I: Display>(what: &str, end: &str, ids: impl Iterator<Item = I>, none: &str) -> anyhow::Result<I> {
    let mut ids = ids.filter(|id| id.to_string().ends_with(end));
    let Some(first) = ids.next() else { bail!("no {what}'s id ends in `{end}`; {none}") };
    let others: Vec<String> = ids.map(|id| id.to_string()).collect();
    if others.is_empty() {
        return Ok(first);
    }
    bail!("several ids of a {what} end in `{end}`: {first}, {}; write more of the id", others.join(", "))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::cli::approvals::sample;

    #[test]
    fn an_id_or_its_end_is_read() {
        let id = sample().id;
        assert_eq!(id.to_string().parse(), Ok(Meant::Id(id)));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(Meant::Id(id)));
        assert_eq!("…CAFE".parse(), Ok(Meant::<SessionId>::End("cafe".to_owned())));
        for wrong in ["", "afe", "cafg", "../x", "--------------------------------------"] {
            assert!(wrong.parse::<Meant<ApprovalId>>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_end_has_to_fit_one_alone() {
        let ids = [0x1_0000_cafe, 0x2_0000_cafe, 0x3_0000_beef].map(|id| ApprovalId(Uuid::from_u128(id)));
        let only = |end| only("pending approval", end, ids.into_iter(), "look again");
        assert_eq!(only("beef").unwrap(), ids[2]);
        let several = only("cafe").unwrap_err().to_string();
        assert!(several.contains("write more") && several.contains(&ids[1].to_string()), "{several}");
        assert_eq!(only("0000").unwrap_err().to_string(), "no pending approval's id ends in `0000`; look again");
    }
}
