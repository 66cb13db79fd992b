//! The kept logins, one for each gateway, and the token that is valid now.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sluicegate_identity::login::{Granted, LoginError, Provider};
use tokio::task::spawn_blocking;

use super::{Folder, Kept, Lock};

/// The file.
const FILE: &str = "login.json";
/// Seconds that a token has to hold for; one that holds for less is replaced.
const MARGIN: i64 = 60;

/// The logins, by the gateway's URL.
pub type Logins = BTreeMap<String, Login>;

/// A login at one gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// The authority that the gateway's certificate comes from; none for those that this system trusts.
    pub ca: Option<PathBuf>,
    /// Where the person logged in.
    pub issuer: String,
    /// Who asked, and whom the token is for.
    pub client_id: String,
    /// The issuer's name for the person.
    pub subject: String,
    /// The token that the gateway sees.
    pub id_token: Kept,
    /// What gets the next one.
    pub refresh_token: Option<Kept>,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: i64,
}

/// A token that is valid now.
pub struct Token {
    /// The token.
    pub token: SecretString,
    /// When it ends, in seconds since the Unix epoch.
    pub expires_at: i64,
}

impl Login {
    /// Takes over what the issuer gave.
    pub fn take(&mut self, granted: Granted) {
        self.id_token = Kept(granted.id_token);
        self.refresh_token = granted.refresh_token.map(Kept);
        self.expires_at = granted.expires_at;
        self.subject = granted.subject;
    }

    fn token(&self) -> Token {
        Token { token: self.id_token.0.clone(), expires_at: self.expires_at }
    }
}

impl Folder {
    /// The logins.
    pub fn logins(&self) -> anyhow::Result<Logins> {
        self.read(FILE)
    }

    /// Replaces the logins.
    pub fn set_logins(&self, lock: &Lock, logins: &Logins) -> anyhow::Result<()> {
        self.write(lock, FILE, logins)
    }

    /// The login at this gateway, where there is one.
    pub fn login(&self, url: &str) -> anyhow::Result<Option<Login>> {
        Ok(self.logins()?.remove(&key(url)))
    }

    /// The token for a gateway. One that is about to end is replaced, by one process at a time: what an issuer gives for a
    /// refresh token counts once. Not cancel-safe for that reason.
    pub async fn fresh_token(&self, url: &str) -> anyhow::Result<Token> {
        // Most often it is fresh, and nobody needs to wait for others.
        if let Some(login) = self.login(url)?
            && login.expires_at.saturating_sub(now()) >= MARGIN
        {
            return Ok(login.token());
        }
        let folder = self.clone();
        let lock = spawn_blocking(move || folder.lock()).await??;
        let mut logins = self.logins()?;
        let login = logins
            .get_mut(&key(url))
            .with_context(|| format!("there is no login at {url}: log in with `sluicegate login --url {url}`"))?;
        let left = login.expires_at.saturating_sub(now());
        if left >= MARGIN {
            return Ok(login.token());
        }
        let ended = || format!("the login at {url} has ended: log in again with `sluicegate login --url {url}`");
        let Some(Kept(refresh)) = login.refresh_token.clone() else {
            if left > 0 {
                return Ok(login.token());
            }
            bail!(ended());
        };
        let refreshed = async {
            Provider::discover(&login.issuer, &login.client_id).await?.refresh(&refresh, &login.subject).await
        };
        match refreshed.await {
            Ok(granted) => login.take(granted),
            Err(LoginError::Ended) => bail!(ended()),
            // Where the issuer is away, what is still good does for now.
            Err(LoginError::Ask(_)) if left > 0 => return Ok(login.token()),
            Err(error) => return Err(error.into()),
        }
        let token = login.token();
        self.set_logins(&lock, &logins)?;
        Ok(token)
    }
}

/// What stands for a gateway.
pub fn key(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// Which gateway is meant: the one that is named, on the command line or in SLUICEGATE_URL, or the only one with a login.
pub fn which(named: Option<&str>, folder: &Folder) -> anyhow::Result<String> {
    let from_environment = || std::env::var("SLUICEGATE_URL").ok().filter(|url| !url.is_empty());
    if let Some(url) = named.map(str::to_owned).or_else(from_environment) {
        return Ok(key(&url));
    }
    let mut urls = folder.logins()?.into_keys();
    match (urls.next(), urls.next()) {
        (Some(url), None) => Ok(url),
        (None, _) => bail!("there is no login yet: log in with `sluicegate login --url https://HOST:PORT`"),
        (Some(_), Some(_)) => bail!("there are logins at several gateways: say which with `--url`"),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}
