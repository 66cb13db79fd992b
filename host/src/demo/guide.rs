//! What the demo prints: what stands there, and what to type to see it.

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};

use super::stage::Stage;

const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const COMMAND: Style = Style::new().bold();

/// The text for this stage.
pub fn text(stage: &Stage) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sluicegate"));
    let programs = program.parent().unwrap_or(Path::new("."));
    fill(&stage.config(), &stage.public_key(), programs, stage.port(), &stage.api())
}

fn fill(config: &Path, key: &Path, programs: &Path, port: u16, api: &str) -> String {
    let (config, key, programs) = (config.display(), key.display(), programs.display());
    let psql = |user: &str| format!("PGPASSWORD={user} psql -h 127.0.0.1 -p {port} -U {user} shop");
    let (alice, dba) = (psql("alice"), psql("dba"));
    format!(
        "
{TITLE}Sluicegate stands between you and a small shop's database.{TITLE:#}
Three policies decide about every statement and every row: pii-mask hides personal data from all but
the group admin; sql-guard refuses DROP, TRUNCATE, and DELETE or UPDATE without a WHERE; and
hold-for-approval has any other DELETE on orders wait until somebody of the group admin agrees.

{TITLE}Connect{TITLE:#} from another terminal, as alice the engineer or as the dba:
  {COMMAND}{alice}{COMMAND:#}
  {COMMAND}{dba}{COMMAND:#}

{TITLE}Try as alice:{TITLE:#}
  SELECT * FROM customers;                         masked, also inside the notes
  SELECT name, tax_number FROM customer_overview;  a view and an alias do not help
  DELETE FROM orders;                              refused, with the reason
  DELETE FROM orders WHERE id = 7;                 waits for the dba; Ctrl-C gives up
  BEGIN; DROP TABLE orders;                        refused as PostgreSQL itself would refuse

{TITLE}Answer as the dba,{TITLE:#} in a third terminal. These two lines first, so that what follows works there:
  {COMMAND}export PATH=\"{programs}:$PATH\"{COMMAND:#}
  {COMMAND}export SLUICEGATE_CONFIG=\"{config}\"{COMMAND:#}

  {COMMAND}sluicegate approvals watch{COMMAND:#}                       what waits, as it comes; or `list`
  {COMMAND}SLUICEGATE_SECRET=dba sluicegate approvals approve ID --as dba{COMMAND:#}
  {COMMAND}SLUICEGATE_SECRET=dba sluicegate approvals deny ID --as dba --note \"not today\"{COMMAND:#}
  ID is what alice's psql shows, or its last four characters. Without SLUICEGATE_SECRET the secret
  is asked for. alice herself cannot approve it. The API at {api} takes
  answers too: with `--url`, or as its /openapi.json says.

{TITLE}Change a rule{TITLE:#} while psql stays open: style = \"partial\" to \"hash\" in
  {COMMAND}{config}{COMMAND:#}
  and ask again. Break something in that file: the old rules stay, and the log here says why.

{TITLE}See what was recorded, and prove it:{TITLE:#}
  {COMMAND}sluicegate sessions list{COMMAND:#}                         or `follow`; `policy status` for the policies
  {COMMAND}sluicegate sessions replay SESSION{COMMAND:#}               as it happened, with its pauses
  {COMMAND}sluicegate sessions export SESSION -o session.jsonl{COMMAND:#}
  {COMMAND}sluicegate sessions verify session.jsonl --key \\
    \"{key}\"{COMMAND:#}
  Change one byte of session.jsonl, and `verify` says in which entry.

Ctrl-C stops everything and removes it."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_a_terminal_and_names_every_path() {
        let config = Path::new("/tmp/sluicegate-demo-a1b2c3/sluicegate.toml");
        let key = Path::new("/tmp/sluicegate-demo-a1b2c3/data/record.pub");
        let programs = Path::new("/srv/somebody/sluicegate/target/debug");
        let text = fill(config, key, programs, 15432, "http://127.0.0.1:65535");
        let text = anstream::adapter::strip_str(&text).to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        }
        for path in [config, key, programs] {
            assert!(text.contains(&path.display().to_string()), "{} is missing:\n{text}", path.display());
        }
    }
}
