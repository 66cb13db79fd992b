//! Which approval is meant: its id, or the end of the id of one that waits. Ids begin with the time,
//! so those that wait together have the same beginning.

use anyhow::bail;
use sluicegate_core::{Approval, ApprovalId, ApprovalState, sessions::ApprovalFilter};

use super::list::find;
use crate::cli::source::Source;

/// The fewest characters of an id that may stand for it.
const MIN_END: usize = 4;
/// How many pending approvals are looked through; a gateway is not made to have more.
const MAX_PENDING: usize = 10_000;

/// What the command line says: a whole id or the end of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// The whole id.
    Id(ApprovalId),
    /// The end of one, in lower case.
    End(String),
}

impl std::str::FromStr for Meant {
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
        Err(format!(
            "write the approval's id, or at least the last {MIN_END} characters of it; `sluicegate approvals list` shows those that wait"
        ))
    }
}

impl Meant {
    /// Finds the approval's id. An end is looked for among those that wait and may be seen.
    pub async fn find(&self, source: &mut Source) -> anyhow::Result<ApprovalId> {
        let end = match self {
            Self::Id(id) => return Ok(*id),
            Self::End(end) => end,
        };
        let filter = ApprovalFilter { state: Some(ApprovalState::Pending), ..ApprovalFilter::default() };
        let pending = find(source, filter, MAX_PENDING).await?;
        only(end, &pending.items)
    }
}

fn only(end: &str, pending: &[Approval]) -> anyhow::Result<ApprovalId> {
    let ids: Vec<ApprovalId> = pending.iter().map(|approval| approval.id).collect();
    let ids: Vec<ApprovalId> = ids.into_iter().filter(|id| id.to_string().ends_with(end)).collect();
    match ids[..] {
        [id] => Ok(id),
        [] => bail!(
            "no pending approval's id ends in `{end}`; `sluicegate approvals list` shows those that wait, and one that has ended is found by its whole id"
        ),
        [..] => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            bail!("several pending approvals end in `{end}`: {}; write more of the id", ids.join(", "))
        }
    }
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
        assert_eq!("…CAFE".parse(), Ok(Meant::End("cafe".to_owned())));
        for wrong in ["", "afe", "cafg", "../x", "--------------------------------------"] {
            assert!(wrong.parse::<Meant>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_end_has_to_fit_one_alone() {
        let with = |id: u128| Approval { id: ApprovalId(Uuid::from_u128(id)), ..sample() };
        let pending = [with(0x1_0000_cafe), with(0x2_0000_cafe), with(0x3_0000_beef)];
        assert_eq!(only("beef", &pending).unwrap(), pending[2].id);
        assert_eq!(only("20000cafe", &pending).unwrap(), pending[1].id);
        let several = only("cafe", &pending).unwrap_err().to_string();
        assert!(several.contains(&pending[0].id.to_string()) && several.contains("write more"), "{several}");
        assert!(only("dead", &pending).unwrap_err().to_string().contains("approvals list"));
    }
}
