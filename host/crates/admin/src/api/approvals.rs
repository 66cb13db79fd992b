//! Approvals, as far as the caller is concerned with them. Those that are waited for come from the
//! gate, the others from the record; an approval that somebody may not see looks as if there were none.

use std::{cmp::Reverse, collections::BTreeMap};

use axum::{Json, extract::State};
use serde::Deserialize;
use sluicegate_core::{
    Approval, ApprovalId, ApprovalState,
    sessions::{ApprovalFilter, ApprovalPage},
};
use utoipa::IntoParams;

use super::{
    Api,
    auth::Caller,
    extract::{self, Id, NoParams, Params},
    openapi::{Common, Missing},
};
use crate::problem::Problem;

/// Which approvals to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those that stand so.
    #[param(value_type = ApprovalState, required = false, inline)]
    state: Option<ApprovalState>,
    /// Only this requester's.
    #[param(value_type = String, required = false, max_length = 256)]
    requester: Option<String>,
    /// Only those for this target.
    #[param(value_type = String, required = false, max_length = 256)]
    target: Option<String>,
    /// How many at most.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1000, default = 50)]
    limit: Option<usize>,
    /// Only those older than this one: the `next` of the page before.
    #[param(value_type = String, required = false, format = Uuid)]
    before: Option<String>,
}

/// Lists approvals, newest first: all of them for admins, for others those that they asked for or may
/// answer. A page may have fewer than asked for while `next` says that there are older ones.
#[utoipa::path(get, path = "/api/v1/approvals", operation_id = "listApprovals", tag = "approvals",
    params(Listing), responses((status = 200, description = "Some approvals.", body = ApprovalPage), Common))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(listing): Params<Listing>,
) -> Result<Json<ApprovalPage>, Problem> {
    let filter = listing.filter()?;
    let page = if filter.state == Some(ApprovalState::Pending) {
        // What nobody waits for is not pending, whatever the record has not been told yet.
        ApprovalPage { items: Vec::new(), next: None }
    } else {
        let filter = filter.clone();
        api.read_history(move |history| history.list_approvals(&filter)).await?
    };
    Ok(Json(merge(page, api.0.approvals.pending(), &filter, |approval| caller.may_see(approval))))
}

/// One approval.
#[utoipa::path(get, path = "/api/v1/approvals/{id}", operation_id = "getApproval", tag = "approvals",
    params(("id" = Uuid, Path, description = "The approval.")),
    responses((status = 200, description = "The approval.", body = Approval), Missing, Common))]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ApprovalId>,
    _: NoParams,
) -> Result<Json<Approval>, Problem> {
    find(&api, &caller, id).await.map(Json)
}

/// The approval as it stands, if there is one that concerns the caller.
pub(super) async fn find(api: &Api, caller: &Caller, id: ApprovalId) -> Result<Approval, Problem> {
    let found = match api.0.approvals.find(id) {
        Some(approval) => Some(approval),
        None => api.read_history(move |history| history.approval(id)).await?,
    };
    let seen = found.filter(|approval| caller.may_see(approval));
    seen.ok_or_else(|| Problem::not_found(format!("there is no approval {id} that you may see")))
}

impl Listing {
    fn filter(self) -> Result<ApprovalFilter, Problem> {
        Ok(ApprovalFilter {
            state: self.state,
            requester: extract::filter("requester", self.requester)?,
            target: extract::filter("target", self.target)?,
            before: extract::before(self.before.as_deref())?,
            limit: extract::limit(self.limit)?,
        })
    }
}

/// A page of the record with the live approvals that belong on it, which know better how they stand.
fn merge(
    page: ApprovalPage,
    live: Vec<Approval>,
    filter: &ApprovalFilter,
    may_see: impl Fn(&Approval) -> bool,
) -> ApprovalPage {
    let belongs = |approval: &Approval| {
        filter.before.is_none_or(|before| approval.id < before) && page.next.is_none_or(|next| approval.id >= next)
    };
    let all = page.items.into_iter().chain(live.into_iter().filter(belongs));
    let newest_first: BTreeMap<_, _> = all.map(|approval| (Reverse(approval.id), approval)).collect();
    let mut items: Vec<_> =
        newest_first.into_values().filter(|approval| filter.wants(approval) && may_see(approval)).collect();
    let mut next = page.next;
    if items.len() > filter.limit {
        items.truncate(filter.limit);
        next = items.last().map(|approval| approval.id);
    }
    ApprovalPage { items, next }
}
