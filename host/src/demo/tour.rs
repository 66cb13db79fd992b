//! The tour: what a visitor would try first, done with a real psql, shown, and checked. Each step says
//! what has to happen, and the tour fails if one of them does not.

mod held;
mod live;
mod player;
mod proof;

use std::{fs, time::Duration};

use anyhow::Context;
use sluicegate_core::sessions::SessionPage;

use super::stage::Stage;
use live::Live;
use player::Player;

/// How long a change may take to be in force.
const RELOAD_LIMIT: Duration = Duration::from_secs(20);
/// Values of the first customers that alice must not see.
const SECRETS: [&str; 5] = ["519-08-4412", "231-77-9054", "555 0143", "4012888888881881", "office@lombardi.example"];
/// How every refusal of the statements that alice tries begins.
const BLOCKED: &str = "blocked by policy sql-guard: ";
const LOOK: &str = "SELECT name, ssn, email, card, notes FROM customers ORDER BY id LIMIT 3";

/// Plays everything. Returns how many things did not happen.
pub async fn play(stage: &Stage) -> anyhow::Result<usize> {
    let mut player = Player::new(stage)?;
    allow(&mut player).await?;
    mask(&mut player).await?;
    block(&mut player).await?;
    let session = held::approve(&mut player).await?;
    held::deny(&mut player, stage).await?;
    reload(&mut player, stage).await?;
    broken_module(&mut player, stage).await?;
    record(&mut player).await?;
    proof::replay(&mut player, session).await?;
    proof::verify(&mut player, stage, session).await?;
    Ok(player.finish())
}

async fn allow(player: &mut Player<'_>) -> anyhow::Result<()> {
    player.step("Allowed", "alice asks for data that no policy minds; every byte passes as it is.");
    let said = player.psql("alice", "SELECT id, item, amount FROM orders ORDER BY id LIMIT 3").await?;
    player.check("three orders came through", said.ok && said.text.contains("chair") && said.text.contains("(3 rows)"));
    Ok(())
}

async fn mask(player: &mut Player<'_>) -> anyhow::Result<()> {
    player.step("Masked", "the same table for alice and for dba; pii-mask spares dba's group, admin.");
    let alice = player.psql("alice", LOOK).await?;
    let dba = player.psql("dba", LOOK).await?;
    let hidden = SECRETS.iter().all(|secret| !alice.text.contains(secret));
    player.check("alice sees the rows, and none of the secrets", alice.ok && alice.text.contains("Ada Osei") && hidden);
    player.check(
        "dba sees them clear",
        dba.ok && dba.text.contains("519-08-4412") && dba.text.contains("4012888888881881"),
    );
    player.say("An alias, an expression or a view does not help:");
    let view = player.psql("alice", "SELECT name, tax_number FROM customer_overview ORDER BY name LIMIT 2").await?;
    let leaks = |text: &str| text.contains("519-08-4412") || text.contains("231-77-9054");
    let shown = view.ok && view.text.contains("(2 rows)") && view.text.contains("*******4412");
    player.check("the view shows its rows, masked alike", shown && !leaks(&view.text));
    let computed = player.psql("alice", "SELECT reverse(c.ssn) AS harmless FROM customers c LIMIT 2").await?;
    let backwards = ["915", "132"].iter().any(|end| computed.text.contains(end));
    let shown = computed.ok && computed.text.contains("(2 rows)") && computed.text.contains("[redacted]");
    player.check("an expression's value is hidden whole", shown && !leaks(&computed.text) && !backwards);
    Ok(())
}

async fn block(player: &mut Player<'_>) -> anyhow::Result<()> {
    player.step("Blocked", "sql-guard refuses; the client gets PostgreSQL's own kind of error.");
    for sql in ["DELETE FROM orders", "DROP TABLE orders", "SELECT 1; TRUNCATE orders"] {
        let said = player.psql("alice", sql).await?;
        player.check("refused, with the policy's reason", !said.ok && said.text.contains(BLOCKED));
    }
    let left = player.psql("alice", "SELECT count(*) FROM orders").await?;
    player.check("all 200 orders are still there", left.ok && left.text.contains("200"));
    Ok(())
}

async fn reload(player: &mut Player<'_>, stage: &Stage) -> anyhow::Result<()> {
    player.step("Reloaded", "the rules change while a psql session lives; nobody is disconnected.");
    let mut live = Live::open(stage, "alice").await?;
    let ask = "SELECT ssn FROM customers WHERE id = 1";
    let (server, before) = (live.ask("SELECT pg_backend_pid()").await?, live.ask(ask).await?);
    player.shell(&format!("{ask};   -- in a session that stays open"), &before);
    let path = stage.config();
    let old = fs::read_to_string(&path)?;
    fs::write(&path, old.replace("style = \"partial\"", "style = \"hash\""))?;
    player.shell("sed -i 's/style = \"partial\"/style = \"hash\"/' sluicegate.toml", "");
    let after = live.ask_until(ask, RELOAD_LIMIT, |answer| answer != before).await?;
    player.shell(&format!("{ask};   -- the same session"), &after);
    let same = live.ask("SELECT pg_backend_pid()").await? == server;
    let masked = |answer: &str| !answer.is_empty() && !answer.contains("519-08");
    player.check("the new rule holds", after != before && masked(&before) && masked(&after));
    player.check("in the same session", same && !server.is_empty());
    live.close().await;
    Ok(())
}

async fn broken_module(player: &mut Player<'_>, stage: &Stage) -> anyhow::Result<()> {
    player.step("Kept", "somebody deploys a broken policy: the old one stays in force, loudly.");
    let path = stage.module("sql-guard");
    let good = fs::read(&path)?;
    replace(&path, b"this is no policy")?;
    player.shell("echo 'this is no policy' > policies/sql-guard.wasm", "");
    let status = player.sluicegate_until(&["policy", "status"], RELOAD_LIMIT, |text| text.contains("rejected")).await?;
    player.check("`policy status` says so", status.contains("rejected"));
    let said = player.psql("alice", "DROP TABLE orders").await?;
    player.check("the old policy still refuses", !said.ok && said.text.contains(BLOCKED));
    replace(&path, &good)
}

async fn record(player: &mut Player<'_>) -> anyhow::Result<()> {
    player.step("Recorded", "who did what, what the policies said, and no secret in it.");
    let list = player.sluicegate(&["sessions", "list", "--limit", "8"]).await?;
    player.check("the sessions are listed", list.ok && list.text.contains("alice") && list.text.contains("dba"));
    let json = player.sluicegate_quietly(&["sessions", "list", "--user", "alice", "--output", "json"]).await?;
    let sessions: SessionPage = serde_json::from_str(&json).context("the listing is not what it should be")?;
    let denied = sessions.items.iter().find(|session| session.denied > 0 && session.held == 0);
    let id = denied.map(|session| session.id.to_string()).unwrap_or_default();
    player.check("one of alice's was denied something", !id.is_empty());
    let show = player.sluicegate(&["sessions", "show", &id]).await?;
    player.check("its command and the reason are there", show.ok && show.text.contains(BLOCKED));
    player.check("and no secret is", SECRETS.iter().all(|secret| !show.text.contains(secret)));
    Ok(())
}

/// Whole at once, as a deployment should be.
fn replace(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes)?;
    Ok(fs::rename(&fresh, path)?)
}
