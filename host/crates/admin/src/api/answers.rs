//! Answers to approvals. The gate decides whether an answer counts; here it gets the caller's name, and
//! a client that hangs up does not cut short what is being recorded.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sluicegate_core::{Approval, ApprovalId, ApprovalState, approval::MAX_NOTE_BYTES, approvals::AnswerError};
use utoipa::ToSchema;

use super::{
    Api, approvals,
    auth::Caller,
    extract::{Body, Id, NoParams},
    openapi::{Answering, Common},
};
use crate::problem::Problem;

/// What goes with an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// Why the answer is what it is, at most 1000 bytes of UTF-8. Some policies insist on one.
    #[serde(default)]
    #[schema(max_length = 1000, default = "")]
    pub note: String,
}

/// Approves a command that waits. It runs once enough approvers have.
#[utoipa::path(post, path = "/api/v1/approvals/{id}/approve", operation_id = "approve", tag = "approvals",
    params(("id" = Uuid, Path, description = "The approval.")), request_body = AnswerBody,
    responses((status = 200, description = "The approval as it now stands.", body = Approval), Answering, Common))]
pub(super) async fn approve(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ApprovalId>,
    _: NoParams,
    Body(body): Body<AnswerBody>,
) -> Result<Json<Approval>, Problem> {
    answer(api, caller, id, true, body.note).await
}

/// Denies a command that waits. It does not run, whoever else approved.
#[utoipa::path(post, path = "/api/v1/approvals/{id}/deny", operation_id = "deny", tag = "approvals",
    params(("id" = Uuid, Path, description = "The approval.")), request_body = AnswerBody,
    responses((status = 200, description = "The approval as it now stands.", body = Approval), Answering, Common))]
pub(super) async fn deny(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<ApprovalId>,
    _: NoParams,
    Body(body): Body<AnswerBody>,
) -> Result<Json<Approval>, Problem> {
    answer(api, caller, id, false, body.note).await
}

async fn answer(
    api: Api,
    caller: Caller,
    id: ApprovalId,
    approved: bool,
    note: String,
) -> Result<Json<Approval>, Problem> {
    let Some(approver) = caller.identity.clone() else {
        return Err(Problem::unauthorized(
            "an answer needs a name, on this socket too: send an approver's credentials",
        ));
    };
    if note.len() > MAX_NOTE_BYTES {
        return Err(refusal(&AnswerError::NoteTooLong));
    }
    let found = approvals::find(&api, &caller, id).await?;
    if found.state != ApprovalState::Pending {
        return Err(ended(&found));
    }
    let (approvals, admins) = (Arc::clone(&api.0.approvals), Arc::clone(&caller.admins));
    let answering = tokio::spawn(async move { approvals.answer(id, &approver, &admins, approved, &note).await });
    let answered = answering.await.map_err(|error| {
        tracing::error!(%error, approval = %id, "an answer failed inside the gateway");
        Problem::internal("the answer failed inside the gateway: see its log, and look at the approval again")
    })?;
    match answered {
        Ok(approval) => Ok(Json(approval)),
        // It ended meanwhile, and how is what they want to know.
        Err(AnswerError::NotPending(_)) => Err(ended(&approvals::find(&api, &caller, id).await?)),
        Err(error) => Err(refusal(&error)),
    }
}

fn ended(approval: &Approval) -> Problem {
    let Approval { id, state, ended, .. } = approval;
    Problem::conflict(match state {
        ApprovalState::Pending => {
            format!("nobody waits for approval {id} any more: its time is over or its client left")
        }
        ApprovalState::Approved => format!("approval {id} has been approved already: nothing is left to answer"),
        _ if ended.is_empty() => format!("approval {id} has ended already ({state})"),
        _ => format!("approval {id} has ended already ({state}): {ended}"),
    })
}

fn refusal(error: &AnswerError) -> Problem {
    let status = match error {
        AnswerError::NotPending(_) | AnswerError::Already => StatusCode::CONFLICT,
        AnswerError::Requester | AnswerError::Agent | AnswerError::NotAsked(_) => StatusCode::FORBIDDEN,
        AnswerError::NoteRequired | AnswerError::NoteText | AnswerError::NoteTooLong => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        AnswerError::Record(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}
