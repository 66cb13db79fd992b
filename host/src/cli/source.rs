//! Where commands read and answer: a running gateway, or the store of one that does not run.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use sluicegate_admin::{AdminClient, ClientError, Credentials, SessionView};
use sluicegate_core::{
    Approval, ApprovalId, SessionId,
    sessions::{ApprovalFilter, ApprovalPage, ApprovalReader, SessionFilter, SessionPage, SessionReader},
};
use sluicegate_recorder::Store;
use tokio::{
    task::{block_in_place, spawn_blocking},
    time::{sleep, timeout},
};

use super::{kept::Folder, print::time};

/// How long to wait until a gateway that went away is asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sessions or approvals asked for at once.
const PAGE: usize = 200;
/// The HTTP status that says that credentials are not, or no longer, good.
const UNAUTHORIZED: u16 = 401;
/// The HTTP status that says that there is no session token for an issuer's token.
const BAD_REQUEST: u16 = 400;

/// Where a gateway is.
#[derive(Debug, Clone)]
pub enum Way {
    /// On this data folder.
    DataDir(PathBuf),
    /// At this URL; its certificate comes from the authority in this PEM file, if there is one.
    Url(String, Option<PathBuf>),
}

/// What is asked.
pub enum Source {
    /// A gateway.
    Gateway(Box<Gateway>),
    /// The store; no gateway has it open.
    Store(Store),
}

/// A gateway that is asked.
pub struct Gateway {
    way: Way,
    client: AdminClient,
    credentials: Option<Credentials>,
    /// The token that stands for the credentials.
    token: Option<Credentials>,
    /// Whether the credentials are those of a kept login, which gives others when they end.
    by_login: bool,
    /// Whether it was said that the gateway is away.
    away: bool,
}

impl Source {
    /// The gateway, or the store where none runs on a data folder.
    pub async fn open(way: Way) -> anyhow::Result<Self> {
        match Self::gateway(way).await {
            Err(ClientError::NotRunning(data_dir)) => {
                let store = spawn_blocking(move || Store::open_existing(&data_dir)).await?;
                Ok(Self::Store(store?))
            }
            opened => Ok(opened?),
        }
    }

    /// The gateway, which has to run.
    pub async fn gateway(way: Way) -> Result<Self, ClientError> {
        let client = way.connect().await?;
        Ok(Self::Gateway(Box::new(Gateway {
            way,
            client,
            credentials: None,
            token: None,
            by_login: false,
            away: false,
        })))
    }

    /// Says who asks from now on. The store asks nobody who they are.
    pub fn authenticate(&mut self, credentials: Credentials) -> anyhow::Result<()> {
        if let Self::Gateway(gateway) = self {
            gateway.client.authenticate(&credentials)?;
            gateway.credentials = Some(credentials);
        }
        Ok(())
    }

    /// The same with the login that is kept for the gateway's URL.
    pub async fn authenticate_by_login(&mut self) -> anyhow::Result<()> {
        let Self::Gateway(gateway) = self else { return Ok(()) };
        gateway.by_login = true;
        gateway.renew().await.map(drop)
    }

    /// Takes a token for the secret, for what asks again and again: verifying a secret is costly.
    pub async fn log_in(&mut self) -> anyhow::Result<()> {
        let Self::Gateway(gateway) = self else { return Ok(()) };
        gateway.log_in().await
    }

    /// Gives the token back, if there is one. What cannot be given back expires.
    pub async fn leave(self) {
        let Self::Gateway(gateway) = self else { return };
        let Some(token) = gateway.token else { return };
        // A connection of its own: on the other one an answer may still be on its way.
        let left = timeout(PATIENCE, async {
            let mut client = gateway.way.connect().await?;
            client.authenticate(&token)?;
            client.revoke_token().await
        });
        if !matches!(left.await, Ok(Ok(()))) {
            tracing::debug!("the session token could not be given back");
        }
    }

    /// What to do about an error in the middle of asking again and again: waits for a gateway that went
    /// away and logs in anew where that helps, or returns the error.
    pub async fn recover(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        let Self::Gateway(gateway) = self else { return Err(error) };
        match error.downcast_ref() {
            Some(
                ClientError::NotRunning(_)
                | ClientError::Unreachable { .. }
                | ClientError::Connection(_)
                | ClientError::Broken { .. }
                | ClientError::Body(_)
                | ClientError::Timeout,
            ) => {
                if !std::mem::replace(&mut gateway.away, true) {
                    anstream::eprintln!("the gateway does not answer; waiting for it");
                }
                sleep(PATIENCE).await;
                // A client of whose requests one was given up is of no further use.
                if let Ok(client) = gateway.way.connect().await {
                    gateway.client = client;
                    if let Some(credentials) = gateway.token.as_ref().or(gateway.credentials.as_ref()) {
                        gateway.client.authenticate(credentials)?;
                    }
                    gateway.away = false;
                    anstream::eprintln!("the gateway answers again");
                }
                Ok(())
            }
            Some(ClientError::Problem(problem)) if problem.status == UNAUTHORIZED && gateway.token.is_some() => {
                gateway.log_in().await
            }
            Some(ClientError::Problem(problem)) if problem.status == UNAUTHORIZED && gateway.by_login => {
                // The very token that was refused would be refused again.
                if gateway.renew().await? { Ok(()) } else { Err(error) }
            }
            _ => Err(error),
        }
    }

    /// The gateway that is asked, for what only a gateway that runs can do.
    pub fn client(&mut self) -> anyhow::Result<&mut AdminClient> {
        match self {
            Self::Gateway(gateway) => Ok(&mut gateway.client),
            Self::Store(_) => bail!("no gateway runs; start it with `sluicegate serve`"),
        }
    }

    /// A page of sessions.
    pub async fn sessions(&mut self, filter: &SessionFilter) -> anyhow::Result<SessionPage> {
        match self {
            Self::Gateway(gateway) => Ok(gateway.client.sessions(filter).await?),
            Self::Store(store) => Ok(block_in_place(|| store.list(filter))?),
        }
    }

    /// A session with its entries from this number on; an error where there is no such session.
    pub async fn session(&mut self, id: SessionId, from: u64) -> anyhow::Result<SessionView> {
        let view = match self {
            Self::Gateway(gateway) => gateway.client.session(id, from).await?,
            Self::Store(store) => block_in_place(|| {
                let Some(summary) = store.summary(id)? else {
                    let Some(at) = store.removed(id)? else { return Ok(None) };
                    bail!("retention removed the session {id} at {}", time(at));
                };
                let page = store.entries(id, from).context("the session cannot be read")?;
                anyhow::Ok(Some(SessionView { summary, entries: page.entries, next: page.next }))
            })?,
        };
        view.with_context(|| no_such_session(id))
    }

    /// Writes a session's export.
    pub async fn export(&mut self, id: SessionId, to: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::Gateway(gateway) => {
                let export = gateway.client.export(id).await?;
                let mut export = export.with_context(|| no_such_session(id))?;
                while let Some(bytes) = export.chunk().await? {
                    to.write_all(&bytes)?;
                }
                Ok(())
            }
            Self::Store(store) => block_in_place(|| {
                let mut next = Some(0);
                let mut any = false;
                while let Some(from) = next {
                    let page = store.export(id, from)?;
                    any |= !page.lines.is_empty();
                    for line in page.lines {
                        to.write_all(line.as_bytes())?;
                        to.write_all(b"\n")?;
                    }
                    next = page.next;
                }
                if any { Ok(()) } else { bail!(no_such_session(id)) }
            }),
        }
    }

    /// The public key with which exports are verified, as PEM.
    pub async fn public_key(&mut self) -> anyhow::Result<String> {
        match self {
            Self::Gateway(gateway) => Ok(gateway.client.record_key().await?),
            Self::Store(store) => Ok(store.public_key()),
        }
    }

    /// A page of approvals.
    pub async fn approvals(&mut self, filter: &ApprovalFilter) -> anyhow::Result<ApprovalPage> {
        match self {
            Self::Gateway(gateway) => Ok(gateway.client.approvals(filter).await?),
            Self::Store(store) => Ok(block_in_place(|| store.list_approvals(filter))?),
        }
    }

    /// One approval, if there is one that may be seen.
    pub async fn approval(&mut self, id: ApprovalId) -> anyhow::Result<Option<Approval>> {
        match self {
            Self::Gateway(gateway) => Ok(gateway.client.approval(id).await?),
            Self::Store(store) => Ok(block_in_place(|| store.approval(id))?),
        }
    }

    /// How the policies stand, one object for each module.
    pub async fn policies(&mut self) -> anyhow::Result<Vec<serde_json::Value>> {
        match self {
            Self::Gateway(gateway) => Ok(gateway.client.policies().await?),
            Self::Store(_) => bail!("no gateway runs here, so no policy is in force"),
        }
    }

    /// Approves or denies.
    pub async fn answer(&mut self, id: ApprovalId, approved: bool, note: &str) -> anyhow::Result<Approval> {
        match self {
            Self::Gateway(gateway) => Ok(gateway.client.answer(id, approved, note).await?),
            Self::Store(_) => bail!("no gateway runs here, so nothing waits for an answer"),
        }
    }
}

/// Asks for page after page, each older than the last item of the one before, until so many items are there.
/// Returns them with the `next` of the last page.
pub async fn pages<T, I: Copy>(
    wanted: usize,
    mut before: Option<I>,
    mut page: impl AsyncFnMut(Option<I>, usize) -> anyhow::Result<(Vec<T>, Option<I>)>,
) -> anyhow::Result<(Vec<T>, Option<I>)> {
    let mut found = Vec::new();
    loop {
        let (items, next) = page(before, PAGE.min(wanted - found.len())).await?;
        found.extend(items);
        if next.is_none() || found.len() >= wanted {
            return Ok((found, next));
        }
        before = next;
    }
}

impl Way {
    async fn connect(&self) -> Result<AdminClient, ClientError> {
        match self {
            Self::DataDir(data_dir) => AdminClient::connect(data_dir).await,
            Self::Url(url, ca) => AdminClient::connect_to(url, ca.as_deref()).await,
        }
    }
}

impl Gateway {
    async fn log_in(&mut self) -> anyhow::Result<()> {
        let Some(credentials @ Credentials::Secret { .. }) = &self.credentials else { return Ok(()) };
        self.client.authenticate(credentials)?;
        let token = match self.client.create_token().await {
            // The secret is an issuer's token, and quickly verified.
            Err(ClientError::Problem(problem)) if problem.status == BAD_REQUEST => return Ok(()),
            created => Credentials::Token(created?.token),
        };
        self.client.authenticate(&token)?;
        self.token = Some(token);
        Ok(())
    }
}

impl Gateway {
    /// Takes the token that the kept login gives now. Says whether it is another one.
    async fn renew(&mut self) -> anyhow::Result<bool> {
        let Way::Url(url, _) = &self.way else { bail!("an answer needs a name: say who you are with `--as USER`") };
        let folder = Folder::open()?;
        if folder.login(url)?.is_none() {
            bail!(
                "say who you are: log in with `sluicegate login --url {url}`, or `--as USER` with the secret in \
                 SLUICEGATE_SECRET or at the prompt, or a token in SLUICEGATE_TOKEN"
            );
        }
        let token = folder.fresh_token(url).await?.token;
        let is_other = match &self.credentials {
            Some(Credentials::Token(known)) => known.expose_secret() != token.expose_secret(),
            _ => true,
        };
        let credentials = Credentials::Token(token);
        self.client.authenticate(&credentials)?;
        self.credentials = Some(credentials);
        Ok(is_other)
    }
}

fn no_such_session(id: SessionId) -> String {
    format!("there is no session {id}; `sluicegate sessions list` shows those there are")
}
