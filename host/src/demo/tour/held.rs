//! The tour's holds: a statement waits until somebody else answers. Approved it runs once; denied it does
//! not run.

use std::time::Duration;

use anyhow::{Context, ensure};
use sluicegate_core::{Approval, SessionId, sessions::ApprovalPage};

use super::player::Player;
use crate::demo::stage::Stage;

/// How long a command may take to be held.
const LIMIT: Duration = Duration::from_secs(10);
/// Takes another order each time it runs, so that what is left says how often it ran.
const NEWEST: &str = "DELETE FROM orders WHERE id = (SELECT max(id) FROM orders)";
const PAST: &str = "DELETE FROM orders WHERE ordered_on < current_date";
/// What the dba says to each of them.
pub const AGREED: &str = "it was a test order";
const REFUSED: &str = "the tax office still wants them";
/// Without an answer alice's psql would wait for minutes.
const UNANSWERED: &str = "the dba's answer was not taken, see above; the tour ends here";
const COUNT: &str = "SELECT count(*) FROM orders";

/// Plays a hold that somebody else approves. Returns the session that it happened in.
pub async fn approve(player: &mut Player<'_>) -> anyhow::Result<SessionId> {
    player.step("Held", "a DELETE waits inside an ordinary psql until somebody else agrees.");
    player.say(&format!("alice types {NEWEST}; and her psql waits.\n   In another terminal:"));
    let answers = async {
        let approval = held(player).await?;
        let id = approval.id.to_string();
        let list = player.sluicegate(&["approvals", "list"]).await?;
        let own = player.sluicegate_as("alice", &["approvals", "approve", &id, "--as", "alice"]).await?;
        let agree = ["approvals", "approve", &id, "--as", "dba", "--note", AGREED];
        let other = player.sluicegate_as("dba", &agree).await?;
        ensure!(other.ok, UNANSWERED);
        anyhow::Ok((approval, list, own, other))
    };
    let (said, (approval, list, own, other)) = tokio::try_join!(player.psql("alice", NEWEST), answers)?;
    let shown = ["alice", NEWEST, "group:admin"].iter().all(|part| list.text.contains(part));
    player.check("the dba sees who wants what, and who may answer", list.ok && shown);
    player.check("alice cannot approve it herself", !own.ok && own.text.contains("somebody else has to"));
    player.check("the dba can", other.text.contains("approved, and may run now"));
    let told = said.text.contains(&format!("waiting for approval {}", approval.id));
    player.check("alice's psql said what it waits for, and then ran it", said.ok && told && deleted_one(&said.text));
    player.check("one order is gone, so it ran once", left(player).await?);
    Ok(approval.session)
}

/// Plays a hold that is denied, over the API.
pub async fn deny(player: &mut Player<'_>, stage: &Stage) -> anyhow::Result<()> {
    player.step("Denied", "the dba says no this time, over the API, as one would from another machine.");
    player.say(&format!("alice types {PAST}; and waits."));
    let answers = async {
        let id = held(player).await?.id.to_string();
        let api = stage.api();
        let refuse = ["approvals", "deny", &id, "--url", &api, "--as", "dba", "--note", REFUSED];
        let answer = player.sluicegate_from_afar("dba", &refuse).await?;
        ensure!(answer.ok, UNANSWERED);
        anyhow::Ok((id, answer))
    };
    let (said, (id, answer)) = tokio::try_join!(player.psql("alice", PAST), answers)?;
    player.check("the API takes the answer", answer.text.contains("denied, and will not run"));
    let told = said.text.contains(&format!("dba denied approval {id}: {REFUSED}"));
    player.check("alice's psql says who denied it, and why", !said.ok && told);
    player.check("no order is gone", left(player).await?);
    Ok(())
}

/// Waits until a command of alice's is held.
async fn held(player: &Player<'_>) -> anyhow::Result<Approval> {
    let pending = ["approvals", "list", "--user", "alice", "--output", "json"];
    let json = player.sluicegate_quietly_until(&pending, LIMIT, |text| text.contains("\"id\"")).await?;
    let page: ApprovalPage = serde_json::from_str(&json).context("the listing is not what it should be")?;
    page.items.into_iter().next().context("the DELETE does not wait for an approval")
}

fn deleted_one(text: &str) -> bool {
    text.lines().any(|line| line == "DELETE 1")
}

/// Whether all orders but one are there.
async fn left(player: &Player<'_>) -> anyhow::Result<bool> {
    let left = player.psql("dba", COUNT).await?;
    Ok(left.ok && left.text.contains("199"))
}
