//! `sluicegate connect`: a client that goes to a target with the kept login, or a local port for clients that go
//! there themselves. Nobody sees a token.

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
};

use anstream::eprintln;
use anyhow::{Context, bail};
use secrecy::SecretString;
use sluicegate_admin::{AdminClient, Credentials};

use super::{
    kept::{Folder, logins::which},
    print::{BOLD, out, printable},
};
use crate::serve::{LocalPort, PROTOCOLS, Protocol, Route};

/// Connects to a target with your login: runs a command, or opens a local port
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The target's name
    target: String,
    /// The gateway [env: SLUICEGATE_URL] [default: that of the only login]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The authority that the gateway's certificate comes from, as PEM [default: that of the login]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The local port to open [default: one that the target keeps]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "command")]
    port: Option<u16>,
    /// A command to run instead, such as `psql`: it finds the way in its environment
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

/// Connects.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::open()?;
    let url = which(args.url.as_deref(), &folder)?;
    let runtime = super::runtime()?;
    let (protocol, route, token) = runtime.block_on(find(args, &folder, &url))?;
    let Some((program, arguments)) = args.command.split_first() else {
        runtime.block_on(super::until_interrupted(serve(args, folder, url, protocol, route)))?;
        return Ok(ExitCode::SUCCESS);
    };
    drop(runtime);
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in (protocol.environment)(&route, &token) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // It takes this process's place, and so its signals, its terminal and its exit code.
    Err(command.exec()).with_context(|| format!("`{}` cannot be run", program.display()))
}

/// The way to the target, as the gateway says it.
async fn find(args: &Args, folder: &Folder, url: &str) -> anyhow::Result<(&'static Protocol, Route, SecretString)> {
    let token = folder.fresh_token(url).await?.token;
    let ca = match &args.ca {
        Some(ca) => Some(std::path::absolute(ca)?),
        None => folder.login(url)?.and_then(|login| login.ca),
    };
    let mut gateway = AdminClient::connect_to(url, ca.as_deref()).await?;
    gateway.authenticate(&Credentials::Token(token.clone()))?;
    let user = gateway.whoami().await?.user.context("the gateway does not say who you are")?;
    let mut targets = gateway.targets().await?;
    let Some(at) = targets.iter().position(|target| target.name == args.target) else {
        let names: Vec<_> = targets.iter().map(|target| printable(&target.name).to_string()).collect();
        let others =
            if names.is_empty() { "you may use none".to_owned() } else { format!("there are {}", names.join(", ")) };
        bail!("there is no target `{}` that you may use; {others}", args.target);
    };
    let target = targets.swap_remove(at);
    let protocol = PROTOCOLS.iter().find(|protocol| protocol.name == target.protocol);
    let protocol = protocol.with_context(|| {
        format!(
            "this version cannot connect to a target that speaks {}: use the gateway's own",
            printable(&target.protocol)
        )
    })?;
    let (host, encrypted) = gateway.place().context("the gateway has no address")?;
    let route = Route { host: host.to_owned(), port: target.port, encrypted, ca, user, target: target.name };
    Ok((protocol, route, token))
}

/// Serves the local port.
async fn serve(
    args: &Args,
    folder: Folder,
    url: String,
    protocol: &'static Protocol,
    route: Route,
) -> anyhow::Result<()> {
    let (listener, password) = folder.local_port(&url, &route.target, args.port).await?;
    let address = listener.local_addr()?;
    let (target, user) = (printable(&route.target).to_string(), printable(&route.user).to_string());
    let token = Arc::new(move || -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> {
        let (folder, url) = (folder.clone(), url.clone());
        Box::pin(async move {
            // In a task of its own, so that a client that hangs up does not lose the next token.
            let fresh = tokio::spawn(async move { folder.fresh_token(&url).await });
            match fresh.await {
                Ok(Ok(fresh)) => Ok(fresh.token),
                Ok(Err(error)) => Err(format!("{error:#}")),
                Err(error) => Err(error.to_string()),
            }
        })
    });
    let tunnel = (protocol.tunnel)(LocalPort { route, listener, password, token })?;
    out(format!("{BOLD}{target}{BOLD:#} is at {address}, for {user}:\n\n    {}\n", printable(&tunnel.usage)))?;
    eprintln!("the password is for this port alone; Ctrl-C closes it");
    tunnel.served.await;
    Ok(())
}
