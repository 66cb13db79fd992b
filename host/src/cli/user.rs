//! `sluicegate user hash`: turns a secret into the `secret_hash` of a built-in user. The secret is
//! never an argument, because arguments can be seen by everybody on the machine.

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use sluicegate_identity::{MAX_SECRET_BYTES, hash_secret};

use super::print::out;

/// Works on built-in users
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Hashes a secret for `secret_hash`: asks for it twice, or reads one line from standard input
    Hash,
}

/// Prints the hash.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Hash = args.command;
    let secret = if std::io::stdin().is_terminal() { ask()? } else { read()? };
    out(hash_secret(secret)?)?;
    Ok(ExitCode::SUCCESS)
}

fn ask() -> anyhow::Result<SecretString> {
    let prompt =
        |text| rpassword::prompt_password(text).map(SecretString::from).context("the terminal cannot be asked");
    let secret = prompt("Secret: ")?;
    let again = prompt("Once more: ")?;
    if secret.expose_secret() != again.expose_secret() {
        bail!("the two secrets are not the same; run it again");
    }
    Ok(secret)
}

fn read() -> anyhow::Result<SecretString> {
    let limit = u64::try_from(MAX_SECRET_BYTES)?.saturating_add(2);
    let mut text = String::new();
    std::io::stdin().take(limit).read_to_string(&mut text).context("standard input cannot be read as text")?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.contains('\n') {
        bail!("standard input holds more than one line; a secret is one line");
    }
    Ok(SecretString::from(text))
}
