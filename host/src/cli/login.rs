//! `sluicegate login`, `logout` and `token`: a person's login at their company's issuer, kept on their machine, and the token
//! that it gives for scripts.

use std::{
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anstream::eprintln;
use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use sluicegate_admin::{AdminClient, Credentials, LoginIssuer, WhoAmI};
use sluicegate_identity::login::{Granted, Provider};

use super::{
    Output,
    kept::{
        Folder, Kept,
        logins::{Login, key, which},
    },
    print::{BOLD, GOOD, out, printable},
};

/// Logs in at your company's issuer, so that you connect without seeing a token
#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    /// The gateway, `https://HOST:PORT` [env: SLUICEGATE_URL] [default: that of the only login]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The authority that the gateway's certificate comes from, as PEM [default: those that this system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where to log in, if the gateway has several issuers
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Logs in with a code that you type in a browser elsewhere
    #[arg(long)]
    device: bool,
    /// Opens no browser: prints where to go
    #[arg(long)]
    no_browser: bool,
}

/// Forgets a login, and has the issuer forget it if it has a place for that
#[derive(Debug, clap::Args)]
pub struct LogoutArgs {
    /// The gateway [env: SLUICEGATE_URL] [default: that of the only login]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Prints a token that is valid now, for scripts
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// The gateway [env: SLUICEGATE_URL] [default: that of the only login]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How to print it; `json` says when it ends, too
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

/// Logs in.
pub fn login(args: &LoginArgs) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let folder = Folder::open()?;
        let url = which(args.url.as_deref(), &folder)?;
        let ca = match &args.ca {
            Some(ca) => Some(std::path::absolute(ca)?),
            None => folder.login(&url)?.and_then(|login| login.ca),
        };
        let mut gateway = AdminClient::connect_to(&url, ca.as_deref()).await?;
        let LoginIssuer { issuer, client_id, scopes } = choose(gateway.login_issuers().await?, args.issuer.as_deref())?;
        let before = folder.login(&url)?;
        // The gateway says where to log in, and gets what comes of it.
        if let Some(before) = before.filter(|before| (&before.issuer, &before.client_id) != (&issuer, &client_id))
            && args.issuer.is_none()
        {
            bail!(
                "this gateway now says to log in at {} as its client {}, and before it was {} as {}; if that is right, name \
                 the issuer with `--issuer`",
                printable(&issuer),
                printable(&client_id),
                printable(&before.issuer),
                printable(&before.client_id)
            );
        }
        eprintln!("{} will get a token of {} for {}", printable(&url), printable(&issuer), printable(&client_id));
        let provider = Provider::discover(&issuer, &client_id).await?.asking_for(scopes);
        let granted = if args.device { by_device(&provider).await? } else { by_browser(&provider, args).await? };
        // A login that the gateway does not take would only be found out about later.
        gateway.authenticate(&Credentials::Token(granted.id_token.clone()))?;
        let who = gateway.whoami().await.context("the gateway does not take this login")?;
        let mut login = Login {
            ca,
            issuer,
            client_id,
            subject: String::new(),
            id_token: Kept(granted.id_token.clone()),
            refresh_token: None,
            expires_at: 0,
        };
        login.take(granted);
        let lock = tokio::task::block_in_place(|| folder.lock())?;
        let mut logins = folder.logins()?;
        logins.insert(url.clone(), login);
        folder.set_logins(&lock, &logins)?;
        drop(lock);
        eprintln!("{GOOD}logged in{GOOD:#} at {} as {}", printable(&url), named(&who));
        Ok(ExitCode::SUCCESS)
    })
}

/// Forgets a login.
pub fn logout(args: &LogoutArgs) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let folder = Folder::open()?;
        let url = which(args.url.as_deref(), &folder)?;
        let lock = tokio::task::block_in_place(|| folder.lock())?;
        let mut logins = folder.logins()?;
        let Some(login) = logins.remove(&key(&url)) else { bail!("there is no login at {url}") };
        folder.set_logins(&lock, &logins)?;
        drop(lock);
        if let Some(Kept(token)) = &login.refresh_token {
            let forgotten = async { Provider::discover(&login.issuer, &login.client_id).await?.revoke(token).await };
            match forgotten.await {
                Ok(true) => {}
                Ok(false) => eprintln!("the issuer has no place to end a login, so it still knows of it"),
                Err(error) => eprintln!("the issuer still knows of the login: {error}"),
            }
        }
        eprintln!("{GOOD}logged out{GOOD:#} of {}", printable(&url));
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the token.
pub fn token(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let folder = Folder::open()?;
    let url = which(args.url.as_deref(), &folder)?;
    let found = super::runtime()?.block_on(folder.fresh_token(&url))?;
    let token = found.token.expose_secret();
    match args.output {
        Output::Text => out(token)?,
        Output::Json => {
            // As the API has it.
            let expires_at = found.expires_at.saturating_mul(1000);
            out(serde_json::json!({ "token": token, "expires_at": expires_at }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn choose(mut issuers: Vec<LoginIssuer>, wanted: Option<&str>) -> anyhow::Result<LoginIssuer> {
    let urls: Vec<_> = issuers.iter().map(|issuer| printable(&issuer.issuer).to_string()).collect();
    let at = match (wanted, issuers.len()) {
        (_, 0) => bail!("people do not log in at this gateway by an issuer; say who you are with `--as USER`"),
        (None, 1) => Some(0),
        (None, _) => bail!("say where to log in, with `--issuer`: {}", urls.join(", ")),
        (Some(wanted), _) => issuers.iter().position(|issuer| issuer.issuer == wanted),
    };
    match at {
        Some(at) => Ok(issuers.swap_remove(at)),
        None => bail!("people do not log in at this gateway there, but at {}", urls.join(", ")),
    }
}

async fn by_browser(provider: &Provider, args: &LoginArgs) -> anyhow::Result<Granted> {
    let login = provider.browser().await?;
    out(format!("Log in here:\n\n    {BOLD}{}{BOLD:#}\n", login.url()))?;
    if !args.no_browser && has_display() {
        open(&login.local_url());
    }
    eprintln!("waiting for the browser of this machine; where it has none, use `--device` ...");
    Ok(login.finish().await?)
}

async fn by_device(provider: &Provider) -> anyhow::Result<Granted> {
    let login = provider.device().await?;
    let (place, code) = (printable(login.place()), printable(login.code()));
    out(format!("Go to {BOLD}{place}{BOLD:#} and type this code:\n\n    {BOLD}{code}{BOLD:#}\n"))?;
    if let Some(place) = login.place_with_code() {
        out(format!("Or go to {}\n", printable(place)))?;
    }
    eprintln!("waiting until you have ...");
    Ok(login.finish().await?)
}

fn has_display() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Opens a browser, where there is one. Where not, the address is printed anyway.
fn open(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_err() {
        eprintln!("no browser can be opened ({program} is missing): open the address yourself");
    }
}

fn named(who: &WhoAmI) -> String {
    let name = printable(who.user.as_deref().unwrap_or("nobody")).to_string();
    if who.groups.is_empty() { name } else { format!("{name} ({})", printable(&who.groups.join(", "))) }
}
