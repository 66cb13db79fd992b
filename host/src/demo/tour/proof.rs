//! The tour's proof: a session is played again, exported, and verified where there is nothing but the
//! export and the public key.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use sluicegate_core::{SessionId, sessions::SessionPage};
use sluicegate_recorder::PUBLIC_KEY_FILE as KEY;

use super::{held::AGREED, player::Player};
use crate::demo::stage::Stage;

/// How long the end of a session may take to be recorded.
const LIMIT: Duration = Duration::from_secs(10);
const EXPORT: &str = "session.jsonl";

/// Plays the session with the approved hold again.
pub async fn replay(player: &mut Player<'_>, session: SessionId) -> anyhow::Result<()> {
    player.step("Replayed", "the session in which the DELETE waited, as it was; here without its pauses.");
    let listing = ["sessions", "list", "--verdict", "held", "--output", "json"];
    let ended = |text: &str| {
        let page: Option<SessionPage> = serde_json::from_str(text).ok();
        page.is_some_and(|page| page.items.iter().any(|one| one.id == session && one.closed_at.is_some()))
    };
    let listed = player.sluicegate_quietly_until(&listing, LIMIT, ended).await?;
    let replay = player.sluicegate(&["sessions", "replay", &session.to_string(), "--speed", "0"]).await?;
    let agreed = format!("dba approved: {AGREED}");
    let happened = ["> DELETE FROM orders", "waits for approval", &agreed, "DELETE 1", "closed: "];
    let told = replay.ok && in_order(&replay.text, &happened);
    player.check("the statement, its wait, the answer and what came of it, in order", told && ended(&listed));
    Ok(())
}

/// Exports it, verifies that, and finds a changed byte.
pub async fn verify(player: &mut Player<'_>, stage: &Stage, session: SessionId) -> anyhow::Result<()> {
    player.step("Proven", "anybody with the public key can check what happened, without the gateway.");
    let away = tempfile::tempdir()?;
    let (export, key) = (away.path().join(EXPORT), away.path().join(KEY));
    fs::copy(stage.public_key(), &key).context("the gateway's public key cannot be copied")?;
    player.shell(&format!("cp data/{KEY} {}", key.display()), "");
    let to = export.to_string_lossy().into_owned();
    let exported = player.sluicegate(&["sessions", "export", &session.to_string(), "-o", &to]).await?;
    player.check("the session is exported", exported.ok);
    let names = names(away.path())?;
    player.shell(&format!("cd {} && ls", away.path().display()), &names.join("  "));
    let verify = ["sessions", "verify", EXPORT, "--key", KEY];
    let whole = player.sluicegate_in(away.path(), &verify).await?;
    let alone = names == [KEY, EXPORT];
    let proven = whole.ok && whole.text.starts_with("proven: the whole session");
    player.check("the export verifies with the public key and nothing else", alone && proven);
    let lines = fs::read_to_string(&export)?;
    let changed = lines.replacen("test order", "best order", 1);
    fs::write(&export, &changed)?;
    player.shell(&format!("sed -i 's/test order/best order/' {EXPORT}   # one byte"), "");
    let broken = player.sluicegate_in(away.path(), &verify).await?;
    let found = !broken.ok && broken.text.starts_with("not proven: entry ");
    player.check("the changed byte is found, and in which entry it is", changed != lines && found);
    Ok(())
}

/// Whether all parts are in the text, each after the one before.
fn in_order(text: &str, parts: &[&str]) -> bool {
    let mut rest = Some(text);
    for part in parts {
        rest = rest.and_then(|text| text.split_once(part)).map(|(_, after)| after);
    }
    rest.is_some()
}

/// The names in a folder, as `ls` sorts them.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
