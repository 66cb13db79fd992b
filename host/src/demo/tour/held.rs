//! The tour's hold: a statement waits until somebody else agrees, and then runs once.

use std::{path::Path, time::Duration};

use anyhow::Context;
use sluicegate_core::sessions::{ApprovalPage, SessionPage};

use super::player::Player;

/// How long a hold may take to be announced, and a session's end to be recorded.
const LIMIT: Duration = Duration::from_secs(10);
const DELETE: &str = "DELETE FROM orders WHERE id = 200";

/// Plays a hold with its approval.
pub async fn hold(player: &mut Player<'_>) -> anyhow::Result<()> {
    player.step("Held", "a DELETE waits inside an ordinary psql until somebody else agrees.");
    player.say(&format!("alice types {DELETE}; her psql waits. Meanwhile, in another terminal:"));
    let waiting = player.psql("alice", DELETE);
    let answering = async {
        let pending = ["approvals", "list", "--output", "json"];
        let json = player.sluicegate_quietly_until(&pending, LIMIT, |text| text.contains("DELETE")).await?;
        let page: ApprovalPage = serde_json::from_str(&json).context("the listing is not what it should be")?;
        let id = page.items.first().map(|approval| approval.id.to_string()).unwrap_or_default();
        let show = player.sluicegate(&["approvals", "show", &id]).await?;
        let own = player.sluicegate_as("alice", &["approvals", "approve", &id, "--as", "alice"]).await?;
        let note = ["approvals", "approve", &id, "--as", "dba", "--note", "it was a test order"];
        let other = player.sluicegate_as("dba", &note).await?;
        anyhow::Ok((show, own, other))
    };
    let (said, (show, own, other)) = tokio::try_join!(waiting, answering)?;
    player.check(
        "the approver sees what waits, and who may answer",
        show.contains("alice") && show.contains("group:admin"),
    );
    player.check("alice cannot approve it herself", own.contains("somebody else has to"));
    player.check("dba can", other.contains("approved, and may run now"));
    let told = said.text.contains("waiting for approval") && said.text.contains("DELETE 1");
    player.check("alice's psql was told why it waits, and then ran the statement", said.ok && told);
    let left = player.psql("dba", "SELECT count(*) FROM orders").await?;
    player.check("one order is gone", left.ok && left.text.contains("199"));
    Ok(())
}

/// Plays that session again, and proves what is recorded of it.
pub async fn prove(player: &mut Player<'_>, folder: &Path) -> anyhow::Result<()> {
    player.step("Proven", "anybody with the public key can check what happened, without the gateway.");
    let ended = |text: &str| !text.contains("\"closed_at\": null");
    let listing = ["sessions", "list", "--verdict", "held", "--output", "json"];
    let json = player.sluicegate_quietly_until(&listing, LIMIT, ended).await?;
    let sessions: SessionPage = serde_json::from_str(&json).context("the listing is not what it should be")?;
    let id = sessions.items.first().map(|session| session.id.to_string()).unwrap_or_default();
    let replay = player.sluicegate(&["sessions", "replay", &id, "--speed", "4"]).await?;
    let happened = replay.contains("waits for approval") && replay.contains("dba approved: it was a test order");
    player.check("the replay shows the statement, the hold and the answer", happened && replay.contains("DELETE 1"));
    // As if they had been sent somewhere else: an export and a public key, and nothing more.
    let away = tempfile::tempdir()?;
    let (export, key) = (away.path().join("session.jsonl"), away.path().join("record.pub"));
    std::fs::copy(folder.join("data").join("record.pub"), &key)?;
    let (file, key) = (export.to_string_lossy().into_owned(), key.to_string_lossy().into_owned());
    player.sluicegate(&["sessions", "export", &id, "-o", &file]).await?;
    let verify = ["sessions", "verify", &file, "--key", &key];
    let whole = player.sluicegate(&verify).await?;
    player.check("the export verifies with the public key alone", whole.starts_with("proven: the whole session"));
    let lines = std::fs::read_to_string(&export)?;
    let changed = lines.replacen("it was a test order", "it was a best order", 1);
    std::fs::write(&export, &changed)?;
    player.shell("sed -i '0,/test order/s//best order/' session.jsonl", "");
    let broken = player.sluicegate(&verify).await?;
    let found = changed != lines && broken.starts_with("not proven: entry ");
    player.check("one changed letter is found, and where it is", found);
    Ok(())
}
