//! Which gateway is asked, and as whom. Secrets come from the environment or are asked for; they are
//! never arguments, because arguments can be seen by everybody on the machine.

use std::{io::IsTerminal, path::PathBuf};

use anyhow::{Context, bail};
use secrecy::SecretString;
use sluicegate_admin::Credentials;

use super::{
    kept::{Folder, logins::which},
    source::{Source, Way},
};

/// Environment variables.
const URL: &str = "SLUICEGATE_URL";
const SECRET: &str = "SLUICEGATE_SECRET";
const TOKEN: &str = "SLUICEGATE_TOKEN";

/// A command that asks a gateway.
#[derive(Debug, clap::Args)]
pub struct Asking<T: clap::Args> {
    /// What it does.
    #[command(flatten)]
    pub what: T,
    /// Which gateway it asks.
    #[command(flatten)]
    pub access: Access,
}

/// Which gateway, and as whom.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which gateway")]
pub struct Access {
    /// Asks the gateway at this address, `https://HOST:PORT`, instead of the one that runs on the
    /// configuration's `data_dir` [env: SLUICEGATE_URL]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The authority that the gateway's certificate comes from, as PEM [default: those that this system
    /// trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Who you are; the secret is read from SLUICEGATE_SECRET or asked for. Without this, a token is
    /// taken from SLUICEGATE_TOKEN, or from your login (`sluicegate login`)
    #[arg(long = "as", value_name = "USER")]
    asker: Option<String>,
}

/// The configuration's path, and whether the command line names it.
#[derive(Debug, Clone)]
pub struct ConfigPath {
    /// Where it is.
    pub path: PathBuf,
    /// Whether that was said in so many words.
    pub named: bool,
}

/// What a command wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The owner of the data folder needs no name for it.
    Read,
    /// The same again and again, so that a secret is better verified once.
    ReadOn,
    /// What only a gateway that runs knows.
    Ask,
    /// An answer always has somebody's name.
    Answer,
}

impl Access {
    /// Opens what a command reads, or where it answers.
    pub async fn open(&self, config: &ConfigPath, purpose: Purpose) -> anyhow::Result<Source> {
        let way = self.way(config)?;
        let asks_as_somebody = purpose == Purpose::Ask && self.asker.is_some();
        let needed = purpose == Purpose::Answer || asks_as_somebody || matches!(way, Way::Url(..));
        if self.asker.is_some() && !needed {
            anstream::eprintln!(
                "`--as` has no effect: who owns the data folder reads all of it; it is for answers and for `--url`"
            );
        }
        let mut source = match purpose {
            Purpose::Read | Purpose::ReadOn => Source::open(way).await?,
            Purpose::Ask | Purpose::Answer => Source::gateway(way).await?,
        };
        // Who has to wait for a prompt to learn that nobody answers has waited for nothing.
        if needed {
            match self.credentials()? {
                Some(credentials) => source.authenticate(credentials)?,
                None => source.authenticate_by_login().await?,
            }
        }
        if purpose == Purpose::ReadOn {
            source.log_in().await?;
        }
        Ok(source)
    }

    fn way(&self, config: &ConfigPath) -> anyhow::Result<Way> {
        if self.url.is_some() && config.named {
            bail!("`--url` and `--config` name two gateways; leave one of them out");
        }
        // What the command line says counts for more than the environment.
        let url = self.url.clone().or_else(|| variable(URL).filter(|_| !config.named));
        match url {
            Some(url) => {
                let ca = self.ca.clone().or_else(|| self.authority_of_login(&url));
                Ok(Way::Url(url, ca))
            }
            // Somebody's own machine, with a login and without a gateway.
            None if !config.named && !config.path.exists() && only_login().is_some() => {
                let url = only_login().unwrap_or_default();
                let ca = self.ca.clone().or_else(|| self.authority_of_login(&url));
                Ok(Way::Url(url, ca))
            }
            None if self.ca.is_some() => bail!("`--ca` is for a gateway that is asked at its `--url`"),
            None => crate::config::data_dir(&config.path).map(Way::DataDir),
        }
    }

    /// Where the certificate has to come from of a gateway at which there is a login. What is wrong with the login is said
    /// when it is used.
    fn authority_of_login(&self, url: &str) -> Option<PathBuf> {
        Folder::open().ok()?.login(url).ok()??.ca
    }

    /// None where the kept login has to do.
    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let Some(user) = &self.asker else {
            return Ok(variable(TOKEN).map(SecretString::from).map(Credentials::Token));
        };
        let secret = match variable(SECRET) {
            Some(secret) => SecretString::from(secret),
            None if std::io::stdin().is_terminal() => {
                let prompt = format!("Secret of {}: ", super::print::printable(user));
                rpassword::prompt_password(prompt).map(SecretString::from).context("the terminal cannot be asked")?
            }
            None => bail!("the secret of {user} is not known: put it into the environment variable {SECRET}"),
        };
        Ok(Some(Credentials::Secret { user: user.clone(), secret }))
    }
}

/// The gateway at which there is a login, where it is the only one.
fn only_login() -> Option<String> {
    which(None, &Folder::open().ok()?).ok()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
